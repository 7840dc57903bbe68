"""The page of notifications as views: channels without their secrets, and what became of their messages."""

from __future__ import annotations

from dataclasses import dataclass

from convbench import units
from convbench.model.notice import PAUSES_S, Channel, ChannelService, Delivery, DeliveryState, NoticeKind
from convbench.report.pages.rendering import when

#: The kinds in words.
KINDS = {
    NoticeKind.CHANGE: "confirmed changes",
    NoticeKind.FAILURE: "failures of schedules",
    NoticeKind.SILENCE: "silent machines",
}
_SERVICES = {ChannelService.WEBHOOK: "webhook", ChannelService.APPRISE: "mail or chat"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    """A channel in a table. `url` is the part without secrets."""

    id: str
    name: str
    service: str
    url: str
    kinds: str
    chosen: frozenset[str]
    made: str


def channel_row(one: Channel) -> ChannelRow:
    """A channel as a row."""
    return ChannelRow(
        id=one.id,
        name=one.name,
        service=_SERVICES[one.service],
        url=one.shown_url,
        chosen=frozenset(kind.value for kind in one.kinds),
        kinds=", ".join(text for kind, text in KINDS.items() if kind in one.kinds),
        made=f"{when(one.made_at)} by {one.made_by}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A message in a table. `next` says when it is sent, or when it ended."""

    id: str
    channel: str
    made: str
    state: str
    is_failed: bool
    notices: str
    tries: str
    next: str
    reason: str


def delivery_row(one: Delivery) -> DeliveryRow:
    """A message as a row."""
    return DeliveryRow(
        id=one.id,
        channel=one.channel,
        made=when(one.made_at),
        state="given up" if one.state is DeliveryState.FAILED else one.state.value,
        is_failed=one.state is DeliveryState.FAILED,
        notices=units.plural(one.notices, "event"),
        tries=f"{units.count(one.tries)} of {units.count(len(PAUSES_S) + 1)}" if one.tries else "",
        next=when(one.ended_at) if one.ended_at else f"due {when(one.due_at)}",
        reason=one.reason or "",
    )
