"""Sends the messages that wait for channels, tries again what failed, and looks for hosts that went silent.

Each message is claimed before it is sent and ended after it. Of several services on one database, each sends what it
has claimed. A service that is killed in between has its message sent again, with the same id. Several channels are
served at once, so that a slow receiver does not delay the others; a channel gets one message after another.
"""

from __future__ import annotations

import ssl
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from convbench.actions import notices, silence
from convbench.actions.jobs import now
from convbench.errors import ConvbenchError, StoreError
from convbench.model.notice import PAUSES_S, ChannelService, Outgoing
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
#: No pause of a message is longer: one that is due later has its time from a clock that was wrong.
AHEAD = timedelta(seconds=2 * max(PAUSES_S))
#: Messages that are sent at the same time. Those to mail and chat have a process each while they are sent.
MOST_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class _Ended:
    """What became of a message, while the database does not take it."""

    message: Outgoing
    outcome: Outcome


class Notifier:
    """Sends messages from `start` until `stop`, in threads of its own."""

    def __init__(
        self, store: Store, settings: Settings, *, address: str | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        """`address` is where readers reach the service, unless the settings say so. `context` checks certificates."""
        self._store, self._settings, self._context = store, settings, context
        self._channels, self._deliveries = Channels(store), Deliveries(store)
        self._address = settings.public_url or address or f"http://{settings.host}:{settings.port}{settings.root_path}"
        self.owner = Writer.of_this_process()
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="sender")
        #: What sends a message, by the id of its channel, until it is stored what became of it.
        self._sending: dict[str, Future[None]] = {}
        #: The processes that send to mail and chat, by the id of the channel.
        self._chats: dict[str, Helper] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._ended: deque[_Ended] = deque()
        self._watched_at: datetime | None = None
        self._thread = threading.Thread(target=self._loop, name="notifier", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look for messages now: somebody asked for one."""
        self._wake.set()

    def stop(self) -> None:
        """End; messages that are being sent are ended first."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._pool.shutdown()
        with suppress(StoreError):  # the next service sends them again, with the same ids
            self._store_ends()
        for helper in self._chats.values():
            helper.close()

    def begin_due(self, at: str) -> int:
        """Begin to send what is due, the longest overdue first; returns the number of messages.

        What became of earlier ones is stored first.
        """
        self._store_ends()
        begun, ahead = 0, (datetime.now(UTC) + AHEAD).isoformat(timespec="microseconds")
        while not self._stopping and len(self._sending) < MOST_AT_ONCE:
            message = self._deliveries.claim(self.owner, at, busy=self._sending.keys(), ahead=ahead)
            if message is None:
                break
            self._sending[message.channel.id] = self._pool.submit(self._send, message)
            begun += 1
        return begun

    def wait(self) -> None:
        """Return once what is being sent has ended."""
        wait(self._sending.values())

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
                self.begin_due(now())
                self._rest()
            except StoreError as error:
                logger.warning("messages cannot be sent now", extra={"facts": {"error": error.message}})
            except Exception:
                logger.exception("a fault while messages were sent")
            self._wake.wait(LOOK_S)
            self._wake.clear()

    def _rest(self) -> None:
        """End the processes that nothing has needed for a while."""
        for channel_id in [one for one in list(self._chats) if one not in self._sending]:
            self._chats[channel_id].rest()
            if not self._chats[channel_id].is_running:
                del self._chats[channel_id]

    def _send(self, message: Outgoing) -> None:
        self._ended.append(_Ended(message, self._outcome(message)))
        self._wake.set()

    def _outcome(self, message: Outgoing) -> Outcome:
        channel, allowed = message.channel, self._settings.webhook_hosts
        try:
            said = notices.message(message, self._address)
            if channel.service is ChannelService.WEBHOOK:
                return webhook.post(
                    channel.url, channel.secret or "", message.id, said.body, allowed=allowed, context=self._context
                )
            helper = self._chats.setdefault(channel.id, Helper(most_bytes=chat.MOST_BYTES))
            outcome: Outcome = helper.call(
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
            self._ended.popleft()
            self._sending.pop(message.channel.id).result()
            facts = {"delivery": message.id, "channel": message.channel.id, "arrived": outcome.arrived}
            logger.info("a message was tried", extra={"facts": facts | {"reason": outcome.reason or None}})
