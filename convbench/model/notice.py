"""Notifications of the service: where they go, what they say, and what became of each message. Frozen data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit


class NoticeKind(StrEnum):
    """What happened. A channel gets the kinds that its maker chose, and tests."""

    CHANGE = "change"  # cases of a schedule changed, and the change was confirmed
    FAILURE = "failure"  # a schedule's job failed, or could not be queued
    SILENCE = "silence"  # a host does not take the jobs of its schedules, or does so again
    TEST = "test"  # somebody asked for a message


#: The kinds that a channel may get.
CHOSEN_KINDS = (NoticeKind.CHANGE, NoticeKind.FAILURE, NoticeKind.SILENCE)


class ChannelService(StrEnum):
    """How a message goes out: by a signed POST of JSON, or by the package apprise to mail and chat."""

    WEBHOOK = "webhook"
    APPRISE = "apprise"


class DeliveryState(StrEnum):
    """The state of a message to a channel."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


#: Seconds after each failed try until the next one; after as many tries and one more, a message is given up.
PAUSES_S = (5.0, 60.0, 600.0, 3600.0, 6 * 3600.0)
#: Seconds in which further notices join a message that waits, so that a channel gets one message for all of them.
GATHER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where notices go. `url` and `secret` are never shown again; `secret` signs the messages of a webhook."""

    id: str
    name: str
    service: ChannelService
    url: str = field(repr=False)
    secret: str | None = field(repr=False)
    kinds: frozenset[NoticeKind]
    made_at: str
    made_by: str

    @property
    def shown_url(self) -> str:
        """The part of the URL that holds no secret: `https://example.org/...`, or `slack://...`."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/..." if self.service is ChannelService.WEBHOOK else _masked(self.url)


def _masked(url: str) -> str:
    return f"{url.partition('://')[0]}://..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to announce. `subject` is unique to the event, so it is announced once. `data` is JSON, by kind."""

    at: str
    kind: NoticeKind
    subject: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message to a channel. Times are ISO 8601 in UTC; `id` stays over all tries, and `notices` counts what it says.

    `due_at` is when it is sent, or tried again. `reason` says why the last try failed.
    """

    key: int
    id: str
    channel_id: str
    channel: str
    state: DeliveryState
    made_at: str
    due_at: str
    tries: int
    notices: int
    ended_at: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message that this service has claimed, with all that is needed to send it. `tries` counts earlier ones."""

    key: int
    id: str
    made_at: str
    tries: int
    channel: Channel
    notices: Sequence[Notice]
