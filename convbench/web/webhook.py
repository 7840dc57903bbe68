"""Sends a message to a webhook: one signed POST of JSON, as Standard Webhooks (standardwebhooks.com) has it.

It connects to the address that was checked, and not to the name again. It follows no redirect, uses no proxy, reads
nothing but the status of the answer, and ends after a time in any case.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import ssl
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection, responses

from convbench.actions.notices import SECRET_BEGINNING
from convbench.version import __version__
from convbench.web.addresses import Target, addresses, target

#: Seconds until a connection must be there, and until the whole answer must be.
CONNECT_S, TOTAL_S = 5.0, 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one try. `reason` says why it failed; `is_final` is whether another try has no use."""

    arrived: bool
    reason: str = ""
    is_final: bool = False


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature of a message: `v1,` and the HMAC-SHA256 of its id, time and body in base64."""
    key = base64.b64decode(secret.removeprefix(SECRET_BEGINNING))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def post(
    url: str,
    secret: str,
    message_id: str,
    body: bytes,
    *,
    allowed: Collection[str] = (),
    context: ssl.SSLContext | None = None,
) -> Outcome:
    """Send a message once. `allowed` are hosts whose addresses need not be public; `context` checks certificates.

    Raises RequestError for a URL or a host that messages may not go to.
    """
    to, timestamp = target(url), int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": f"convbench/{__version__}",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret, message_id, timestamp, body),
    }
    connection = _Pinned(to, addresses(to.host, to.port, allowed), context or ssl.create_default_context())
    over = threading.Timer(TOTAL_S, connection.abort)
    over.daemon = True
    over.start()
    try:
        connection.request("POST", to.path, body, headers)
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return Outcome(arrived=False, reason=_reason(error, has_ended=connection.is_aborted))
    finally:
        over.cancel()
        connection.close()
    return _outcome(status)


def _outcome(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(arrived=True)
    said = f"it answered {status} {responses.get(status, '')}".rstrip()
    if 300 <= status < 400:
        said += ", and redirects are not followed"
    return Outcome(arrived=False, reason=said, is_final=status == HTTPStatus.GONE)


def _reason(error: Exception, *, has_ended: bool) -> str:
    """Why there is no answer, without anything that the other side has sent."""
    if has_ended or isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no encrypted connection: {error.reason or 'TLS failed'}"
    if isinstance(error, OSError):
        return f"no connection: {error.strerror or type(error).__name__}"
    return f"its answer is not HTTP: {type(error).__name__}"


class _Pinned(HTTPSConnection):
    """A connection to one of some addresses, with the certificate of the host's name."""

    def __init__(self, to: Target, found: list[str], context: ssl.SSLContext) -> None:
        super().__init__(to.host, to.port, timeout=CONNECT_S, context=context)
        self._found, self._checked = found, context
        self.is_aborted = False

    def connect(self) -> None:
        """Connect to the first address that answers."""
        for place, address in enumerate(self._found):
            try:
                plain = socket.create_connection((address, self.port), CONNECT_S)
                break
            except OSError:
                if place == len(self._found) - 1:
                    raise
        plain.settimeout(TOTAL_S)
        secure = self._checked.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = secure  # before the handshake, so that it can be aborted meanwhile
        secure.do_handshake()

    def abort(self) -> None:
        """End it, whatever it waits for."""
        self.is_aborted = True
        with suppress(OSError, AttributeError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # that of TLS would wait for the other side
