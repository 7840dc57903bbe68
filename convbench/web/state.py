"""What the routes of a service share, and how they get it."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from convbench.actions.jobs import Checked
from convbench.errors import RequestError
from convbench.store.channels import Channels
from convbench.store.deliveries import Deliveries
from convbench.store.jobs import Jobs
from convbench.store.schedules import Schedules
from convbench.store.store import Store
from convbench.store.tokens import Tokens
from convbench.units import line
from convbench.web.feed import Feed
from convbench.web.kept import Kept
from convbench.web.metrics import Metrics
from convbench.web.notifier import Notifier
from convbench.web.pages import Pages
from convbench.web.problems import in_words_of_the_api
from convbench.web.runner import Runner
from convbench.web.settings import Settings

if TYPE_CHECKING:
    from convbench.web.answers_jobs import CaptureRequest


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service. `runner` is None where it measures nothing itself, `notifier` where it sends no messages."""

    settings: Settings
    store: Store
    pages: Pages
    feed: Feed
    runner: Runner | None
    notifier: Notifier | None = None
    metrics: Metrics = field(default_factory=Metrics)

    @cached_property
    def kept(self) -> Kept:
        """Answers that are kept while nothing changes."""
        return Kept(self.store)

    @property
    def jobs(self) -> Jobs:
        """The jobs in its database."""
        return Jobs(self.store)

    @property
    def schedules(self) -> Schedules:
        """The schedules in its database."""
        return Schedules(self.store)

    @property
    def channels(self) -> Channels:
        """The channels in its database."""
        return Channels(self.store)

    @property
    def deliveries(self) -> Deliveries:
        """The messages in its database."""
        return Deliveries(self.store)

    def trusted(self, text: str) -> Checked:
        """What a sweep would measure; RequestError where this service must not measure it."""
        return self.pages.check_trusted(text, trust_modules=self.settings.trust_modules)

    def captured(self, asked: CaptureRequest) -> str:
        """The sweep that measures a model; RequestError where this service must not import it, or it fails."""
        if not self.settings.trust_modules:
            raise RequestError(
                f"the model {line(asked.model, most=100)} is code, which this service does not run",
                hint="start the service with --trust-modules if everybody with the scope `submit` may run code there",
            )
        try:
            return self.pages.captured(asked.request(), asked.budget)
        except RequestError as error:
            raise in_words_of_the_api(error) from None

    @property
    def tokens(self) -> Tokens:
        """The tokens in its database."""
        return Tokens(self.store)

    @property
    def host(self) -> str:
        """The name of its host, as jobs and schedules name it."""
        return socket.gethostname()

    def job_changed(self, job_id: str) -> None:
        """Wake what waits for a job: its streams, and the runner."""
        self.feed.notify(job_id)
        if self.runner is not None:
            self.runner.wake()

    def message_due(self) -> None:
        """Wake what sends messages: one is due now."""
        if self.notifier is not None:
            self.notifier.wake()


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


#: The parameter by which a route gets the service.
TheService = Annotated[Service, Depends(_service)]
