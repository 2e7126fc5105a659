"""The Link over MQTT 5: connects, and connects again after each loss, for ever.

link = MqttLink(LinkConfig(client="press-7", host="hub.example", tls=Tls(...)))
link.start(subscriptions=[...], on_message=inbox.put, on_connected=wake)
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence

from edge.errors import LinkError
from edge.link.backoff import Backoff
from edge.link.connection import ANSWER_S, Connection, Use, words_of
from edge.link.port import Message, OnConnected, OnMessage
from edge.link.settings import LinkConfig, Tls

__all__ = ["ANSWER_S", "LinkConfig", "MqttLink", "Tls"]
log = logging.getLogger(__name__)
END_S = 0.5
"""For its thread, after the connection's end; only the look-up of a name takes longer, and that is
not waited for."""
REFUSED_WAIT_S = 60.0
"""Up to so much more after a refusal: nothing changes by asking again soon."""


class MqttLink:
    """``is_clock_right``: whether dates of certificates can be judged by this machine's clock; a
    device that thinks it is 1970 checks all but these."""

    def __init__(
        self,
        config: LinkConfig,
        *,
        is_clock_right: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.config = config
        self.last_error: str | None = None
        self.connections = 0
        self._is_clock_right = is_clock_right
        self._clock = clock
        self._draw = draw
        self._stopped = threading.Event()
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        state = "connected" if self.is_connected else f"not connected: {self.last_error}"
        return f"MqttLink({self.config.client} at {self.config.host}:{self.config.port}, {state})"

    @property
    def is_connected(self) -> bool:
        connection = self._connection
        return connection is not None and connection.is_ready.is_set()

    def start(
        self,
        *,
        subscriptions: Sequence[str],
        on_message: OnMessage,
        on_connected: OnConnected,
        will: Message | None = None,
    ) -> None:
        with self._lock:
            if self._thread is not None or self._stopped.is_set():
                raise LinkError("this link was started before")
            self._thread = threading.Thread(
                target=self._run,
                args=(Use(tuple(subscriptions), on_message, on_connected, will),),
                name="link",
                daemon=True,
            )
            self._thread.start()

    def publish(self, message: Message) -> bool:
        connection = self._connection
        return connection is not None and connection.publish(message) is not None

    def stop(self, last: Message | None = None) -> None:
        self._stopped.set()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None:
            return
        connection = self._connection
        if connection is not None:
            connection.leave(last)
        thread.join(END_S)

    def _run(self, use: Use) -> None:
        config = self.config
        backoff = Backoff(config.min_wait_s, config.max_wait_s)
        wait_s = self._draw() * config.min_wait_s
        while not self._stopped.wait(wait_s):
            started = self._clock()
            error, was_ready, is_refused = self._connect(use)
            uptime_s = self._clock() - started
            backoff = backoff.lost(uptime_s) if was_ready else backoff.failed()
            wait_s = backoff.wait_s(self._draw)
            if is_refused:
                wait_s += REFUSED_WAIT_S * self._draw()
            if not self._stopped.is_set():
                self._say(error, wait_s, is_news=was_ready)

    def _connect(self, use: Use) -> tuple[str, bool, bool]:
        """One connection, from its begin to its end: why it ended, whether it was of use, and
        whether it was refused. Never raises: the thread must live."""
        try:
            connection = Connection(self.config, use, self._is_clock_right())
        except (OSError, ValueError) as error:
            return f"certificate or key: {words_of(error)}", False, True
        self._connection = connection
        try:
            if self._stopped.is_set():  # by a stop that could not see this connection yet
                return "the link was ended", False, False
            return connection.run(self._stopped)
        except Exception as error:  # paho's or the caller's mistake
            log.exception("link: unexpected")
            return words_of(error), connection.is_ready.is_set(), False
        finally:
            was_ready = connection.is_ready.is_set()
            connection.close()
            self._connection = None
            if was_ready:
                self.connections += 1

    def _say(self, error: str, wait_s: float, *, is_news: bool) -> None:
        """The same trouble once, until a connection was made."""
        if is_news or error != self.last_error:
            config = self.config
            log.warning(
                "link: broker %s:%d: %s; next attempt in %.0f s",
                config.host, config.port, error, wait_s,
            )  # fmt: skip
        self.last_error = error
