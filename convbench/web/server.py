"""Starts a service and stops it: the database, the runner of jobs, the server, in this order and back."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn

from convbench.actions import kept_changes
from convbench.actions.jobs import now
from convbench.errors import RequestError
from convbench.store import Store
from convbench.store.backup import copy_before_upgrade
from convbench.store.tokens import Tokens
from convbench.web.app import application
from convbench.web.connections import Connection, allow_many
from convbench.web.feed import Feed
from convbench.web.logs import log_to_standard_error, logger
from convbench.web.notifier import Notifier
from convbench.web.pages import Pages
from convbench.web.priority import lower_this_thread
from convbench.web.retention import Retention
from convbench.web.runner import Runner
from convbench.web.settings import Settings
from convbench.web.state import Service

#: Seconds that answers under way may take when the service stops.
STOP_S = 5


def serve(settings: Settings, *, started: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `started` is called with the address once it listens.

    Raises RequestError where the address cannot be used, and where others would reach a service without any token.
    """
    with contextlib.ExitStack() as stack:
        copy = copy_before_upgrade(settings.db)
        store = stack.enter_context(Store.create(settings.db))
        refuse_open(store, settings)
        listening = stack.enter_context(contextlib.closing(_listening(settings)))
        log_to_standard_error()
        feed, pages = Feed(), Pages(store, settings.db, keep_in=kept_changes.FOLDER)
        stack.callback(pages.close)
        trusted = partial(pages.check_trusted, trust_modules=settings.trust_modules)
        runner = (
            Runner(store, feed, pages, db=settings.db, settings=settings, schedule_check=trusted)
            if settings.measures
            else None
        )
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{port}{settings.root_path}"
        notifier = Notifier(store, settings, address=address)
        service = Service(settings=settings, store=store, pages=pages, feed=feed, runner=runner, notifier=notifier)
        stack.callback(service.kept.close)
        if runner is not None:
            runner.start()
            stack.callback(runner.stop)
        notifier.start()
        stack.callback(notifier.stop)
        if settings.deletes:
            retention = Retention(store, settings)
            retention.start()
            stack.callback(retention.stop)
        allow_many()
        lower_this_thread()  # after the runner: what it measures keeps its priority
        config = uvicorn.Config(
            application(service),
            root_path=settings.root_path,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=STOP_S,
            timeout_keep_alive=30,
            http=Connection,
        )
        started(f"{address}/")
        if copy is not None:
            logger.info("the tables were upgraded; a copy is kept", extra={"facts": {"copy": str(copy)}})
        logger.info("the service starts", extra={"facts": {"host": host, "port": port, "database": store.place}})
        _Server(config, feed).run(sockets=[listening])
        logger.info("the service stops")


def refuse_open(store: Store, settings: Settings) -> None:
    """Raise RequestError where others than this machine's user would reach a service that has no token."""
    if not settings.is_local and not Tokens(store).any_valid(now()):
        raise RequestError(
            f"--host {settings.host} lets others reach the service, and there is no token",
            hint="create one first: `convbench token create admin --scope admin`",
        )


def _listening(settings: Settings) -> socket.socket:
    try:
        info = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # With its protocol: asyncio sets TCP_NODELAY only then. Without it each answer would wait 40 ms for the client.
        made = socket.socket(*info[:3])
    except OSError as error:
        raise RequestError(f"--host {settings.host}: {error.strerror or error}") from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(info[4])
        made.listen(1024)
    except OSError as error:
        made.close()
        raise RequestError(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}",
            hint="another service may run there; --port takes another one",
        ) from error
    return made


class _Server(uvicorn.Server):
    """A server that ends the streams of events when it stops, and ends without a signal of its own."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop: what is measured is interrupted and stored, and goes on when the service comes back."""
        self._feed.close()
        self.should_exit = True
