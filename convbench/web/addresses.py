"""Which URLs and addresses messages may go to: https on the public internet, and hosts that the service's user allows.

A message must not reach what only this machine reaches: its own ports, its network, the metadata of a cloud.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from convbench.actions.notices import LONGEST_URL
from convbench.errors import RequestError

#: The addresses of IPv6 that stand for one of IPv4 in their last 32 bits (RFC 6052, RFC 8215).
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


class UnreachableError(RequestError):
    """A host that messages may not go to, or that has no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL for a POST: the host as DNS and certificates name it, its port, and the path with the query."""

    host: str
    port: int
    path: str


def target(url: str) -> Target:
    """The parts of a webhook's URL. Raises RequestError where it is not https, or has what it must not have.

    The message does not repeat the URL, which may hold a secret.
    """
    try:
        if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        if not host or parts.fragment:
            raise ValueError
        host.encode("idna")
    except (ValueError, UnicodeError):
        raise RequestError(
            "this is not the URL of a webhook", hint="like https://example.org/hooks/convbench"
        ) from None
    if parts.scheme != "https":
        raise RequestError("a webhook's URL begins with https://", hint="its receiver needs a certificate")
    if parts.username is not None or parts.password is not None:
        raise RequestError(
            "a webhook's URL holds no user and no password", hint="the signature says who sends the message"
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host=host, port=443 if port is None else port, path=path)


def check_literal(host: str, allowed: Collection[str]) -> None:
    """Raise UnreachableError where a host is an address, or a name of this machine, that messages may not go to."""
    if host.lower() == "localhost" or _address(host) is not None:
        addresses(host, 443, allowed)


def addresses(host: str, port: int, allowed: Collection[str]) -> list[str]:
    """The addresses of a host that messages may go to; UnreachableError where one of them is not public.

    What is connected to must be one of these addresses, and not the name: a name may lead elsewhere a moment later.
    Any address of a host in `allowed` is right.
    """
    literal = _address(host)
    try:
        if literal is not None:
            found = [str(literal)]
        else:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(str(info[4][0]) for info in infos))
    except (OSError, UnicodeError):
        raise UnreachableError(f"{host} has no address") from None
    if host.lower() not in {name.lower() for name in allowed}:
        for one in found:
            if not is_public(ip_address(one.partition("%")[0])):
                raise UnreachableError(
                    f"{host} has the address {one}, which is not public",
                    hint=f"start the service with --allow-webhook-host {host} to allow it",
                )
    return found


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public internet, and if it stands for another one, that one too."""
    if isinstance(address, IPv6Address):
        if any(address in network for network in _TRANSLATED):
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None
