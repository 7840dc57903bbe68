"""Channels as verbs: make one, have it get a test; and the text of a message, made of its notices."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from convbench import units
from convbench.actions.schedules import text_of
from convbench.errors import RequestError
from convbench.model.notice import Channel, ChannelService, Notice, NoticeKind, Outgoing
from convbench.store.channels import Channels
from convbench.store.store import Store
from convbench.units import line

#: Maximum number of characters of a channel's name and of its URL.
LONGEST_NAME, LONGEST_URL = 100, 2000
#: Notices that one message spells out, and changed cases of each.
MOST_SHOWN, MOST_CASES = 20, 5
#: Characters of a text that a message takes from elsewhere: a label, a name, a reason.
_LONGEST_TEXT = 200
#: Random bytes of a webhook's secret, and how it begins (Standard Webhooks, standardwebhooks.com).
SECRET_BYTES, SECRET_BEGINNING = 32, "whsec_"


def make(
    store: Store, name: str, service: ChannelService, url: str, kinds: Collection[NoticeKind], *, by: str, at: datetime
) -> Channel:
    """Store a channel, whose URL is checked. A webhook gets the secret that signs its messages.

    Raises RequestError for a name that cannot be, and ConflictError for one that another channel has.
    """
    made = Channel(
        id=f"c{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(6)}",
        name=_checked_name(name),
        service=service,
        url=url,
        secret=_new_secret() if service is ChannelService.WEBHOOK else None,
        kinds=frozenset(kinds),
        made_at=text_of(at),
        made_by=by,
    )
    Channels(store).add(made)
    return made


def change(
    store: Store,
    channel_id: str,
    *,
    name: str | None = None,
    url: str | None = None,
    kinds: Collection[NoticeKind] | None = None,
) -> Channel:
    """Change what is given of a channel; its URL is checked, and its secret stays. What waits goes to the new URL.

    Raises ChannelNotFoundError, RequestError for a name that cannot be, and ConflictError for that of another channel.
    """
    return Channels(store).change(
        channel_id,
        name=None if name is None else _checked_name(name),
        url=url,
        kinds=None if kinds is None else frozenset(kinds),
    )


def _checked_name(name: str) -> str:
    plain = line(" ".join(name.split()))
    if not plain or len(plain) > LONGEST_NAME:
        raise RequestError(f"a channel's name has 1 to {LONGEST_NAME} characters")
    return plain


def _new_secret() -> str:
    return SECRET_BEGINNING + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


# ---- what a message says


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A notice in words: a title, lines of text, and where a browser shows more."""

    kind: NoticeKind
    at: str
    title: str
    lines: Sequence[str]
    link: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message: its title, its text, and the same as JSON."""

    title: str
    text: str
    body: bytes


def message(outgoing: Outgoing, address: str) -> Message:
    """The message of these notices. Links begin with `address`, where readers reach the service."""
    shown = [announcement(notice, address.rstrip("/")) for notice in outgoing.notices[:MOST_SHOWN]]
    left = len(outgoing.notices) - len(shown)
    title = (
        shown[0].title if len(outgoing.notices) == 1 else f"convbench: {units.plural(len(outgoing.notices), 'event')}"
    )
    parts = ["\n".join(([] if one.title == title else [one.title]) + [*one.lines, one.link]) for one in shown]
    if left:
        parts.append(f"and {units.plural(left, 'more event')}")
    text = "\n\n".join(parts)
    document = {
        "type": "convbench.notices",
        "timestamp": outgoing.made_at,
        "data": {"title": title, "text": text, "left_out": left, "notices": [_json(one) for one in shown]},
    }
    return Message(title=title, text=text, body=json.dumps(document, ensure_ascii=True).encode())


def _json(one: Announcement) -> dict[str, object]:
    facts = {"kind": one.kind.value, "at": one.at, "title": one.title, "link": one.link}
    return {**facts, "text": "\n".join(one.lines), "facts": dict(one.data)}


def announcement(notice: Notice, address: str) -> Announcement:
    """A notice in words."""
    data = json.loads(notice.data)
    title, lines, path = _WORDS[notice.kind](data)
    return Announcement(
        kind=notice.kind,
        at=notice.at,
        title=_short(title),
        lines=[_short(text) for text in lines],
        link=f"{address}{path}",
        data=data,
    )


def _change(data: Mapping[str, Any]) -> tuple[str, list[str], str]:
    cases = [
        f"{one['verdict']}, {units.change(one['ratio'])} ({units.change(one['low'])} to {units.change(one['high'])}): "
        f"{one['label']}"
        for one in data["changes"][:MOST_CASES]
    ]
    left = sum(data["counts"].values()) - len(cases)
    more = [f"and {units.plural(left, 'more changed case')}"] if left > 0 else []
    path = f"/runs/{quote(data['run_id'])}"
    if data["base_id"]:
        path = f"/compare?{urlencode({'base': data['base_id'], 'new': data['run_id']})}"
    return f"{data['sweep_name']}: {data['verdict']} against {data['baseline']}", [data["text"], *cases, *more], path


def _failure(data: Mapping[str, Any]) -> tuple[str, list[str], str]:
    if "job_id" in data:
        return f"{data['sweep_name']}: the job of a schedule failed", [data["reason"]], f"/jobs/{quote(data['job_id'])}"
    title = f"{data['schedule']}: no job for {data['due_at']}"
    return title, [data["reason"]], f"/schedules/{quote(data['schedule_id'])}"


def _silence(data: Mapping[str, Any]) -> tuple[str, list[str], str]:
    if "back_at" in data:
        return f"{data['host']} is back", [f"It measured again at {data['back_at']}."], "/jobs"
    lines = [f"It has not taken a job of the schedule {data['schedule']}, and gave no sign since {data['since']}."]
    return f"{data['host']} is silent", lines, f"/jobs/{quote(data['job_id'])}"


def _test(data: Mapping[str, Any]) -> tuple[str, list[str], str]:
    return "convbench: a test", [f"{data['by']} asked for this message. The channel works."], "/notifications"


_WORDS: Mapping[NoticeKind, Callable[[Mapping[str, Any]], tuple[str, list[str], str]]] = {
    NoticeKind.CHANGE: _change,
    NoticeKind.FAILURE: _failure,
    NoticeKind.SILENCE: _silence,
    NoticeKind.TEST: _test,
}


def _short(text: str) -> str:
    """A text from elsewhere on one line, without control characters."""
    return line(" ".join(text.split()), most=_LONGEST_TEXT)
