"""Sends the messages that wait for channels, tries again what failed, and looks for hosts that went silent.

Each message is claimed before it is sent and ended after it. Of several services on one database, each sends what it
has claimed. A service that is killed in between has its message sent again, with the same id.
"""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from convbench.actions import notices, silence
from convbench.actions.jobs import now
from convbench.errors import ConvbenchError, StoreError
from convbench.model.notice import ChannelService, Outgoing
from convbench.store.channels import Channels
from convbench.store.deliveries import Deliveries
from convbench.store.store import Store
from convbench.store.writer import Writer
from convbench.web import chat, webhook
from convbench.web.helper import Helper
from convbench.web.logs import logger
from convbench.web.priority import lower_this_thread
from convbench.web.settings import Settings
from convbench.web.webhook import Outcome

#: Seconds between two looks for messages that are due, and for silent hosts and old messages.
LOOK_S, WATCH_S = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class _Ended:
    """What became of a message, while the database does not take it."""

    message: Outgoing
    outcome: Outcome


class Notifier:
    """Sends messages from `start` until `stop`, in a thread of its own."""

    def __init__(
        self, store: Store, settings: Settings, *, address: str | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        """`address` is where readers reach the service, unless the settings say so. `context` checks certificates."""
        self._store, self._settings, self._context = store, settings, context
        self._channels, self._deliveries = Channels(store), Deliveries(store)
        self._address = settings.public_url or address or f"http://{settings.host}:{settings.port}{settings.root_path}"
        self.owner = Writer.of_this_process()
        self._chat = Helper(most_bytes=chat.MOST_BYTES)
        self._wake = threading.Event()
        self._stopping = False
        self._ended: list[_Ended] = []
        self._watched_at: datetime | None = None
        self._thread = threading.Thread(target=self._loop, name="notifier", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look for messages now: somebody asked for one."""
        self._wake.set()

    def stop(self) -> None:
        """End; a message that is being sent is ended first."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._chat.close()

    def send_due(self, at: str) -> int:
        """Send what is due, the longest overdue first; returns the number of tries."""
        self._store_ends()
        tries = 0
        while not self._stopping and (message := self._deliveries.claim(self.owner, at)) is not None:
            self._ended.append(_Ended(message, self._outcome(message)))
            self._store_ends()
            tries += 1
        return tries

    def watch(self, at: datetime) -> None:
        """Announce who went silent; let messages of services that ended wait again; delete old ones."""
        if self._deliveries.recover(now()):
            logger.info("messages of a service that had ended are sent again")
        if self._channels.list():
            silence.announce(self._store, at)
            self._deliveries.prune(now())

    def _loop(self) -> None:
        lower_this_thread()
        while not self._stopping:
            try:
                at = datetime.now(UTC)
                if self._watched_at is None or not 0 <= (at - self._watched_at).total_seconds() < WATCH_S:
                    self.watch(at)
                    self._watched_at = at
                self.send_due(now())
                self._chat.rest()
            except StoreError as error:
                logger.warning("messages cannot be sent now", extra={"facts": {"error": error.message}})
            except Exception:
                logger.exception("a fault while messages were sent")
            self._wake.wait(LOOK_S)
            self._wake.clear()

    def _outcome(self, message: Outgoing) -> Outcome:
        channel, allowed = message.channel, self._settings.webhook_hosts
        try:
            said = notices.message(message, self._address)
            if channel.service is ChannelService.WEBHOOK:
                return webhook.post(
                    channel.url, channel.secret or "", message.id, said.body, allowed=allowed, context=self._context
                )
            outcome: Outcome = self._chat.call(
                chat.send, channel.url, said.title, said.text, allowed, timeout_s=chat.SEND_S
            )
            return outcome
        except ConvbenchError as error:
            return Outcome(arrived=False, reason=error.message)
        except Exception as error:  # a fault must not leave the message claimed; its text may hold the URL
            return Outcome(arrived=False, reason=f"a fault of the service: {type(error).__name__}")

    def _store_ends(self) -> None:
        """Store what became of messages; what cannot be stored stays for the next time."""
        while self._ended:
            message, outcome = self._ended[0].message, self._ended[0].outcome
            if outcome.arrived:
                self._deliveries.sent(message, self.owner, now())
            else:
                self._deliveries.failed(message, self.owner, now(), outcome.reason, is_final=outcome.is_final)
            self._ended.pop(0)
            facts = {"delivery": message.id, "channel": message.channel.id, "arrived": outcome.arrived}
            logger.info("a message was tried", extra={"facts": facts | {"reason": outcome.reason or None}})
