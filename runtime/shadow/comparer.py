"""``python -m runtime.shadow.comparer FOLDER NAME DESCRIPTOR``: the mirror's child.

It gets exchanges over the descriptor, puts their requests to the shadows, compares the answers and
counts. It may take its time, and may die: the mirror goes on, and starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import functools
import hashlib
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import uvloop

from runtime.balance.mirror import copies_socket
from runtime.shadow import page
from runtime.shadow.asking import Asking, NoAnswerError
from runtime.shadow.comparison import compared, excerpt
from runtime.shadow.counts import Counts, Difference
from runtime.shadow.names import counts_file, counts_socket, lock_file
from runtime.shadow.records import LENGTH, NUMBER, Answer, Dropped, Exchange, Finish, unframed
from scoring.watching.comparison import Comparison, Verdict

AT_ONCE = 32
"""Copies that a shadow has at a time."""
ANSWER_S = 70.0
SAVE_S = 2.0
LOCK_S = 5.0
SMALL_BYTES = 16 * 1024
"""Larger answers are compared on a thread, so that times stay true."""
MOST_SHADOWS = 8
MOST_HEAD_BYTES = 4096
PAGE_S = 5.0
SWITCH_S = 0.0005
"""Threads take turns so often, or a comparison would make the shadow look slow. For the same reason
this process is not a nicer one than the mirror, which times the primary."""


class Comparer:
    """Of one service. ``counts``: to go on with, by shadow."""

    def __init__(self, service: str, counts: dict[str, Counts], asking: Asking) -> None:
        self.service, self.counts = service, counts
        self.is_changed = False
        self._asking = asking
        self._places = asyncio.Semaphore(AT_ONCE)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="compare")

    async def take(self, exchange: Exchange) -> None:
        """One request's copies, one after the other. Raises nothing but that it was cancelled."""
        for at, shadow in enumerate(exchange.shadows):
            try:
                async with self._places:
                    await self._copy(shadow, exchange)
            except asyncio.CancelledError:
                for each in exchange.shadows[at:]:
                    self.drop(each, "lost")
                raise

    def drop(self, shadow: str, reason: str, count: int = 1) -> None:
        """Copies that were not made."""
        self._of(shadow).drop(reason, count)
        self.is_changed = True

    async def _copy(self, shadow: str, exchange: Exchange) -> None:
        primary, counts = exchange.answer, self._of(shadow)
        self.is_changed = True
        try:
            answer = await self._asking.ask(shadow, exchange, ANSWER_S)
            found = await self._compared(exchange.target, primary, answer)
        except NoAnswerError as error:
            if error.is_absent:
                counts.drop("absent")
            else:
                counts.fail(str(error))
        except Exception as error:
            # A bug of ours must not stay in the mirror's hands for ever.
            counts.fail(f"it could not be compared: {type(error).__name__}")
        else:
            counts.add(found, primary.seconds, answer.seconds)
            if found.verdict in (Verdict.DIFFERENT, Verdict.ERROR):
                counts.keep(_difference(exchange, answer, found))

    async def _compared(self, target: bytes, primary: Answer, answer: Answer) -> Comparison:
        if len(primary.body) + len(answer.body) <= SMALL_BYTES:
            return compared(target, primary, answer)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, compared, target, primary, answer)

    def _of(self, shadow: str) -> Counts:
        found = self.counts.get(shadow)
        if found is None:
            if len(self.counts) >= MOST_SHADOWS:
                del self.counts[next(iter(self.counts))]  # the one that came first
            found = self.counts[shadow] = Counts(since=_now())
        return found


def _difference(exchange: Exchange, answer: Answer, found: Comparison) -> Difference:
    return Difference(
        _now(),
        found.text[:200],
        hashlib.sha256(exchange.body).hexdigest(),
        excerpt(exchange.answer),
        excerpt(answer),
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def read_frames(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, comparer: Comparer
) -> None:
    """Until the mirror is finished (then all is done first) or is gone."""
    tasks: set[asyncio.Task[None]] = set()

    def done(number: int, task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if not writer.is_closing():
            writer.write(NUMBER.pack(number))

    while True:
        try:
            (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            frame = unframed(await reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return
        match frame:
            case Exchange():
                task = asyncio.create_task(comparer.take(frame))
                tasks.add(task)
                task.add_done_callback(functools.partial(done, frame.number))
            case Dropped(shadow, reason, count):
                comparer.drop(shadow, reason, count)
            case Finish():
                if tasks:
                    await asyncio.wait(tasks)
                return


async def serve_page(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, comparer: Comparer
) -> None:
    """One request, one answer."""
    with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        async with asyncio.timeout(PAGE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ")
            if method == "GET":
                writer.write(page.answer(comparer.service, comparer.counts, target))
                await writer.drain()
    writer.close()


def save(path: Path, data: bytes) -> None:
    """Old or new, whenever the machine stops."""
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def loaded(path: Path) -> dict[str, Counts]:
    """What was saved; nothing where that is damaged."""
    try:
        return page.decoded(path.read_bytes())
    except (OSError, msgspec.MsgspecError, ValueError):
        return {}


async def keep_saving(path: Path, comparer: Comparer) -> None:
    """Again and again."""
    while True:
        await asyncio.sleep(SAVE_S)
        if comparer.is_changed:
            comparer.is_changed = False
            try:
                await asyncio.to_thread(save, path, page.encoded(comparer.counts))
            except OSError as error:
                print(f"counts cannot be kept: {error.strerror}", file=sys.stderr, flush=True)


async def main(service: str, descriptor: int) -> None:
    """In HAProxy's folder."""
    path = Path(counts_file(service))
    asking = Asking(copies_socket(service))
    comparer = Comparer(service, loaded(path), asking)
    link = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_connection(sock=link, limit=1 << 20)
    name = counts_socket(service)
    new = f"{name}.new"
    server = await asyncio.start_unix_server(
        lambda r, w: serve_page(r, w, comparer), new, limit=MOST_HEAD_BYTES
    )
    os.rename(new, name)
    saving = asyncio.create_task(keep_saving(path, comparer))
    try:
        await read_frames(reader, writer, comparer)
    finally:
        saving.cancel()
        save(path, page.encoded(comparer.counts))
        writer.close()
        server.close()
        asking.close()


def alone(service: str, timeout_s: float) -> int:
    """The descriptor that holds the lock. One before this may be about to end. Raises SystemExit
    where it does not."""
    descriptor = os.open(lock_file(service), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SystemExit("another comparer counts for this service") from None
            time.sleep(0.02)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    # What ends the mirror does not end this at once: it has something to finish.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    sys.setswitchinterval(SWITCH_S)
    held = alone(sys.argv[2], LOCK_S)
    uvloop.run(main(sys.argv[2], int(sys.argv[3])))
    os.close(held)
