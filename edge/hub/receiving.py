"""What devices say, group by group: read, one transaction for all of it, then what follows.

A message that cannot be taken is counted, by its reason, and left out; the others of its group are
stored. When the database cannot be written, the whole group is dropped, and not acknowledged.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edge import topics
from edge.errors import EdgeError, HubError, InvalidMessageError
from edge.hub import batch, command_queue, devices, ingest
from edge.hub.batch import RefusedError
from edge.hub.counters import Counters
from edge.hub.database import Database, changes
from edge.hub.inbox import Inbox, Parcel
from edge.hub.outbound import Outbound
from edge.messages import codec
from edge.messages.commands import Reply
from edge.messages.reported import Reported
from edge.messages.status import Status

log = logging.getLogger(__name__)
GROUP_BYTES = 16 * 1024 * 1024
GROUP_PARCELS = 1_000
GROUP_PLAIN_BYTES = 64 * 1024 * 1024
"""Inflated: what a group may take of memory."""
SEEN_EVERY_MS = 10_000
"""How exactly the database knows when a device was heard."""
PAUSE_S = 1.0
"""After a failed write."""
Said = Status | Reported | Reply
_KINDS: dict[str, type[Said]] = {
    topics.STATUS: Status,
    topics.REPORTED: Reported,
    topics.REPLY: Reply,
}


@dataclass(slots=True)
class _Group:
    """Of parcels that could be read."""

    heard: list[ingest.Heard] = field(default_factory=list)
    said: list[tuple[Parcel, Said]] = field(default_factory=list)
    echoes: dict[str, int | None] = field(default_factory=dict)
    births: list[tuple[str, str, dict[int, int], bool]] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)
    """Counter and kind of each thing said."""
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    """Within the transaction: reason, device and words."""


class Receiving:
    """``run`` is a thread's, the only one that stores what devices say."""

    def __init__(
        self,
        database: Database,
        inbox: Inbox,
        outbound: Outbound,
        counters: Counters,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._inbox = inbox
        self._outbound = outbound
        self._counters = counters
        self._now_ms = now_ms
        self._known: set[str] = set()
        self._known_count: int | None = None
        self._seen_ms: dict[str, int] = {}
        self._connection: sqlite3.Connection | None = None
        self.is_failing = False
        """Whether the last write failed."""

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Until it is stopped and the inbox is empty."""
        try:
            while True:
                group = self._inbox.take(GROUP_BYTES, GROUP_PARCELS, timeout_s=0.5)
                if group:
                    self.receive(group)
                elif is_stopped():
                    return
                if self.is_failing and not is_stopped():
                    time.sleep(PAUSE_S)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def receive(self, parcels: list[Parcel]) -> None:
        """One group, to its end. Raises nothing: what goes wrong is counted and logged."""
        left = parcels
        while left:
            group, count = self._read(left)
            self._receive(left[:count], group)
            left = left[count:]

    def _receive(self, parcels: list[Parcel], group: _Group) -> None:
        began = time.perf_counter()
        try:
            if self._connection is None:
                self._connection = self._database.connect()
            with self._database.writer(self._connection) as connection:
                stored = self._store(connection, group)
        except HubError as error:  # full, busy: nothing can be stored now
            self.close()
            self.is_failing = True
            self._counters.add("failed_total", "commit")
            self._counters.add("dropped_total", "commit", len(parcels))
            log.error("what devices sent could not be stored, and is not acknowledged: %s", error)
            return
        except Exception:  # of one message that no check foresaw: the others must not suffer
            if len(parcels) == 1:
                self._counters.add("refused_total", "unforeseen")
                log.exception("refused of %s", parcels[0].device)
            else:
                for parcel in parcels:
                    self.receive([parcel])
            return
        self.is_failing = False
        self._counters.add("commit_seconds_total", "", time.perf_counter() - began)
        self._counters.add("commits_total")
        self._tell(group, stored)

    def _read(self, parcels: list[Parcel]) -> tuple[_Group, int]:
        """Those that can be read, and how many were looked at: not all when they inflate to much,
        as a few kilobytes may."""
        group, size = _Group(), 0
        for number, parcel in enumerate(parcels, 1):
            try:
                if parcel.kind == topics.TELEMETRY:
                    plain = batch.inflate(parcel.payload)
                    size += len(plain)
                    found = ingest.Heard(parcel.device, parcel.payload, batch.parse(plain))
                    group.heard.append(found)
                    group.echoes[parcel.device] = parcel.echo_ms
                elif parcel.payload:  # an empty one is a retained message that was taken away
                    group.said.append((parcel, _read_said(parcel)))
            except RefusedError as error:
                self._refuse(error.reason, parcel.device, str(error))
            if size >= GROUP_PLAIN_BYTES:
                return group, number
        return group, len(parcels)

    def _store(self, connection: sqlite3.Connection, group: _Group) -> ingest.Stored:
        now_ms = self._now_ms()
        self._look_who_is_known(connection)
        for parcel, said in group.said:
            if self._is_known(parcel.device, group):
                try:
                    self._keep(connection, parcel, said, now_ms, group)
                except RefusedError as error:
                    group.refused.append((error.reason, parcel.device, str(error)))
        heard = [one for one in group.heard if self._is_known(one.device, group)]
        for device in {one.device for one in heard}:
            if now_ms - self._seen_ms.get(device, 0) >= SEEN_EVERY_MS:
                self._seen_ms[device] = now_ms
                devices.keep_seen(connection, device, now_ms)
        return ingest.store(connection, heard, now_ms)

    def _keep(
        self,
        connection: sqlite3.Connection,
        parcel: Parcel,
        said: Said,
        now_ms: int,
        group: _Group,
    ) -> None:
        if isinstance(said, Status):
            is_new = devices.keep_status(connection, said, parcel.payload, now_ms)
            if is_new and said.online:
                streams = ingest.known_streams(connection, said.device, said.life)
                group.births.append((said.device, said.life, streams, parcel.is_retained))
                group.echoes[said.device] = parcel.echo_ms
        elif isinstance(said, Reported):
            is_new = devices.keep_reported(connection, said, parcel.payload, now_ms)
        else:
            is_new = command_queue.keep_reply(connection, parcel.device, said, now_ms)
        group.kept.append(("messages_total" if is_new else "stale_total", parcel.kind))

    def _tell(self, group: _Group, stored: ingest.Stored) -> None:
        for (device, life), streams in stored.acks.items():
            self._outbound.ack(device, life, streams, group.echoes.get(device))
        for device, life, streams, is_retained in group.births:
            self._outbound.ack(device, life, streams, group.echoes.get(device))
            if not is_retained:
                self._send_open_commands(device)
        for name, kind in group.kept:
            self._counters.add(name, kind)
        for reason, device, words in (*group.refused, *stored.refused):
            self._refuse(reason, device, words)
        for name, amount in (
            ("batches_total", len(group.heard)),
            ("records_total", stored.records),
            ("repeated_records_total", stored.repeated),
            ("stored_bytes_total", stored.size_bytes),
            ("lost_records_total", stored.lost),
            ("holes_total", stored.holes),
        ):
            self._counters.add(name, "", amount)

    def _send_open_commands(self, device: str) -> None:
        try:
            with self._database.reader() as connection:
                ids = command_queue.open_commands(connection, self._now_ms(), device)
        except EdgeError as error:
            log.error("commands for %s could not be read: %s", device, error)
        else:
            self._outbound.publish_commands(ids, again=True)

    def _look_who_is_known(self, connection: sqlite3.Connection) -> None:
        count = changes(connection)["devices"]
        if count != self._known_count:
            self._known = devices.names(connection)
            self._known_count = count
            self._seen_ms = {name: at for name, at in self._seen_ms.items() if name in self._known}

    def _is_known(self, device: str, group: _Group) -> bool:
        if device in self._known:
            return True
        group.refused.append(("unknown device", device, "it is not enrolled here"))
        return False

    def _refuse(self, reason: str, device: str, words: str) -> None:
        self._counters.add("refused_total", reason)
        log.info("refused of %s: %s", device, words[:200])


def _read_said(parcel: Parcel) -> Said:
    try:
        said = codec.decode(parcel.payload, _KINDS[parcel.kind])
    except InvalidMessageError as error:
        raise RefusedError("malformed", str(error)) from error
    if isinstance(said, Status | Reported):
        if said.device != parcel.device:
            raise RefusedError("device", f"it speaks for {ascii(said.device)[:70]}")
        numbers = (said.epoch, said.number if isinstance(said, Reported) else 0)
        if not all(0 <= number <= devices.MAX_NUMBER for number in numbers):
            raise RefusedError("numbers", "its epoch or number cannot be")
    return said
