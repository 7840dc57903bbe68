"""What the API takes and returns of channels and their messages, as models of pydantic. No answer has a secret URL."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field

from convbench.actions.notices import LONGEST_NAME, LONGEST_URL
from convbench.model.notice import CHOSEN_KINDS, Channel, ChannelService, Delivery, DeliveryState, NoticeKind
from convbench.web.answers import Given

_Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
_Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST_URL,
        description="Of a webhook, an https URL; of mail and chat, a URL of apprise. It is not shown again.",
    ),
]
_Kinds = Annotated[
    list[NoticeKind],
    Field(min_length=1, description="Confirmed changes, failures of schedules, machines that went silent."),
]


class ChannelRequest(Given):
    """Where notifications are to go."""

    name: _Name
    service: ChannelService = ChannelService.WEBHOOK
    url: _Url
    kinds: _Kinds = Field(default=list(CHOSEN_KINDS))


class ChannelChange(Given):
    """What is to be different of a channel; what is left out stays as it is. A webhook stays one, with its secret."""

    name: _Name | None = None
    url: _Url | None = None
    kinds: _Kinds | None = None


class ChannelAnswer(BaseModel):
    """A channel without its secrets: `url` is its beginning alone."""

    id: str
    name: str
    service: ChannelService
    url: str
    kinds: list[NoticeKind]
    made_at: str
    made_by: str

    @classmethod
    def of(cls, channel: Channel) -> Self:
        """The answer for a channel."""
        plain = {name: getattr(channel, name) for name in ("id", "name", "service", "made_at", "made_by")}
        return cls(**plain, url=channel.shown_url, kinds=sorted(channel.kinds))


class NewChannel(ChannelAnswer):
    """A new channel with the secret that signs its messages, which is shown this once; null for mail and chat."""

    secret: str | None


class MadeMessage(BaseModel):
    """The message that a test has made; the list of deliveries says what becomes of it."""

    id: str


class DeliveryAnswer(BaseModel):
    """A message to a channel. Times are ISO 8601 in UTC; `tries` counts, and `reason` says why the last one failed.

    `due_at` is when it is sent or tried again. `notices` counts what the message says.
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

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """The answer for a message."""
        return cls(**{name: getattr(delivery, name) for name in cls.model_fields})
