"""Sends a message to mail or chat by the package apprise, in a process beside the service that has a time limit.

Of apprise's services those are allowed that bring a message to people. Programs of this machine and a plain POST are
not, nor are options that read a file. Its URLs hold secrets, so no error repeats one.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Collection
from urllib.parse import parse_qsl, urlsplit

from convbench.actions.notices import LONGEST_URL
from convbench.errors import RequestError
from convbench.web.addresses import addresses
from convbench.web.webhook import Outcome

#: Services whose server apprise knows.
_HOSTED = ("discord", "gchat", "pover", "slack", "tgram", "wxteams", "zulip")
#: Services whose server the URL names, by the attribute of apprise that has it.
_OWN = {"mailto": "smtp_host", "mailtos": "smtp_host"} | dict.fromkeys(
    ("gotifys", "matrixs", "mmosts", "ntfys", "rockets", "signals", "workflows"), "host"
)
#: Options of a URL that read a file or another address, or that change what the service decides.
_REFUSED = frozenset(("attach", "attach-as", "cto", "pgp", "pgpprv", "pgppub", "redirect", "rto", "template", "verify"))
#: Seconds that one message may take, and the memory of the process that sends, bytes.
SEND_S, MOST_BYTES = 30.0, 2**30
#: Maximum number of characters of a text to a chat; services cut longer ones.
_LONGEST_TEXT = 3000


def check(url: str) -> str:
    """The kind of service that an apprise URL names; RequestError where it is not allowed or apprise is missing."""
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if len(url) > LONGEST_URL or not url.isprintable() or scheme not in {*_HOSTED, *_OWN}:
        raise RequestError(
            "this is no apprise URL of mail or chat",
            hint=f"it begins with one of {', '.join(sorted({*_HOSTED, *_OWN}))}",
        )
    refused = sorted({name.lower() for name, _ in parse_qsl(urlsplit(url).query)} & _REFUSED)
    if refused:
        raise RequestError(f"the URL has an option that is not allowed: {', '.join(refused)}", hint="leave it out")
    if importlib.util.find_spec("apprise") is None:
        raise RequestError("mail and chat need the Python package 'apprise'", hint="pip install 'convbench[notify]'")
    return scheme


def send(url: str, title: str, text: str, allowed: Collection[str]) -> Outcome:
    """Send a message once, in the process for it."""
    scheme = check(url)
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # its messages may hold parts of the URL
    asset = apprise.AppriseAsset(
        http_redirects=False, allow_templates=False, storage_mode="memory", secure_logging=True, app_id="convbench"
    )
    sender = apprise.Apprise(asset=asset)
    if not sender.add(url):
        return Outcome(arrived=False, reason="apprise does not understand the URL", is_final=True)
    if scheme in _OWN:
        host = getattr(sender[0], _OWN[scheme], None)
        if host:  # ntfy without one means ntfy.sh
            addresses(str(host), 443, allowed)
    try:
        arrived = bool(sender.notify(title=_plain(title), body=_plain(text[:_LONGEST_TEXT]), body_format="text"))
    except Exception as error:  # its text may hold the URL
        return Outcome(arrived=False, reason=f"apprise failed: {type(error).__name__}")
    return Outcome(arrived=arrived, reason="" if arrived else f"{scheme} did not take it")


_CALLS = re.compile(r"[@<]")


def _plain(text: str) -> str:
    """The text without mentions of people or teams: a label of a case is a stranger's word."""
    return _CALLS.sub("\\g<0>\N{ZERO WIDTH SPACE}", text)
