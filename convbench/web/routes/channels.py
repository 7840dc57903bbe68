"""Channels of notifications: make one, list them, change, test or delete one; their messages; the page of both."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse

from convbench.actions import notices
from convbench.actions.jobs import now
from convbench.errors import RequestError
from convbench.model.notice import CHOSEN_KINDS, ChannelService, NoticeKind
from convbench.web import addresses, chat
from convbench.web.access import Admin, Reader
from convbench.web.answers_channels import (
    ChannelAnswer,
    ChannelChange,
    ChannelRequest,
    DeliveryAnswer,
    MadeMessage,
    NewChannel,
)
from convbench.web.routes.jobs import MOST_KEY
from convbench.web.state import Service, TheService
from convbench.web.views import channels as views
from convbench.web.views import frame

router = APIRouter(tags=["notifications"])
page_router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ChannelId = Annotated[str, Path(min_length=1, max_length=100, description="The channel's id.")]


@router.get("/channels")
def list_channels(service: TheService, admin: Admin) -> list[ChannelAnswer]:
    """List channels by name, without their secrets."""
    return [ChannelAnswer.of(channel) for channel in service.channels.list()]


@router.post("/channels", status_code=HTTPStatus.CREATED)
def make(service: TheService, admin: Admin, request: Request, body: ChannelRequest) -> NewChannel:
    """Make a channel. The answer has the secret that signs its messages, which is shown this once."""
    _check(service, body.service, body.url, body.kinds)
    made = notices.make(
        service.store, body.name, body.service, body.url, body.kinds, by=admin.name, at=datetime.now(UTC)
    )
    request.state.target = f"{made.id}, {made.name}"
    return NewChannel(**ChannelAnswer.of(made).model_dump(), secret=made.secret)


def _check(service: Service, kind: ChannelService, url: str | None, kinds: Collection[NoticeKind] | None) -> None:
    if kinds is not None and NoticeKind.TEST in kinds:
        raise RequestError("a test is no kind to choose", hint="every channel can be tested")
    if url is None:
        return
    if kind is ChannelService.WEBHOOK:
        addresses.check_literal(addresses.target(url).host, service.settings.webhook_hosts)
    else:
        chat.check(url)


@router.patch("/channels/{channel_id}")
def change(
    service: TheService, admin: Admin, request: Request, channel_id: ChannelId, body: ChannelChange
) -> ChannelAnswer:
    """Change a channel. Messages that wait go to its new URL. 409 where another channel has the name."""
    _check(service, service.channels.get(channel_id).service, body.url, body.kinds)
    found = notices.change(service.store, channel_id, name=body.name, url=body.url, kinds=body.kinds)
    request.state.target = f"{found.id}, {found.name}"
    return ChannelAnswer.of(found)


@router.delete("/channels/{channel_id}", status_code=HTTPStatus.NO_CONTENT)
def delete(service: TheService, admin: Admin, channel_id: ChannelId) -> None:
    """Delete a channel with its messages."""
    service.channels.delete(channel_id)


@router.post("/channels/{channel_id}/test", status_code=HTTPStatus.CREATED)
def test(service: TheService, admin: Admin, request: Request, channel_id: ChannelId) -> MadeMessage:
    """Send a test message to a channel."""
    made = service.channels.test(channel_id, by=admin.name, at=now())
    request.state.target = f"{channel_id}, {made}"
    service.message_due()
    return MadeMessage(id=made)


@router.get("/deliveries")
def list_deliveries(
    service: TheService,
    admin: Admin,
    channel: Annotated[
        str | None, Query(min_length=1, max_length=100, description="Only of this channel's id.")
    ] = None,
    before: Annotated[int | None, Query(ge=1, le=MOST_KEY, description="The last key of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[DeliveryAnswer]:
    """List messages to channels, the newest first."""
    found = service.deliveries.list(channel_id=channel, before=before, most=limit)
    return [DeliveryAnswer.of(one) for one in found]


@router.post("/deliveries/{delivery_id}/again")
def again(
    service: TheService, admin: Admin, delivery_id: Annotated[str, Path(min_length=1, max_length=100)]
) -> DeliveryAnswer:
    """Send a message that was given up once more, with the same id."""
    found = service.deliveries.again(delivery_id, now())
    service.message_due()
    return DeliveryAnswer.of(found)


@page_router.get("/notifications")
def notifications(service: TheService, reader: Reader, request: Request) -> str:
    """Show channels and their last messages to an administrator, and to anybody what they are for."""
    context: dict[str, object] = {"channels": [], "deliveries": []}
    if "admin" in reader.scopes:
        context["channels"] = [views.channel_row(one) for one in service.channels.list()]
        context["deliveries"] = [views.delivery_row(one) for one in service.deliveries.list()]
    return frame.page(
        request,
        "service_notifications.html.j2",
        title="Notifications",
        reader=reader.name,
        scopes=reader.scopes,
        kinds=[(kind.value, views.KINDS[kind]) for kind in CHOSEN_KINDS],
        **context,
    )
