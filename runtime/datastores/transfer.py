"""Many files from one ``Files`` to another: compared first, refused as a whole where something
else is there, then sent, several at once.

report = transfer(source, target, pairs, replace=False)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event, Lock
from typing import TypeVar

from runtime.datastores.comparing import Verdict
from runtime.datastores.errors import ClashError, StoppedError, UnsafePathError
from runtime.datastores.paths import check_path, shown, some
from runtime.datastores.patience import WAITS_S, Patience
from runtime.datastores.port import Files
from runtime.datastores.sending import Pair, Sender

R = TypeVar("R")
AT_ONCE = 4
GRACE_S = 3.0
OnProgress = Callable[[int, int], None]
"""Bytes done, of how many."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a transfer did: the paths that were written, and those that were there already."""

    sent: tuple[str, ...]
    kept: tuple[str, ...]
    size_bytes: int
    """Of what was written."""


def transfer(
    source: Files,
    target: Files,
    pairs: Sequence[Pair],
    *,
    replace: bool = False,
    on_progress: OnProgress | None = None,
    stop: Event | None = None,
    waits_s: Sequence[float] = WAITS_S,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Copy them. Each file is whole at its path or not there; when this raises, those that were
    done stay, and the next transfer keeps them. Ctrl-C ends it in the same way. Raises
    DatastoreErrors; ClashError before anything is written."""
    check_pairs(pairs)
    stop = stop or Event()
    sender = Sender(
        source, target, stop=stop, clock=clock, patience=lambda: Patience(stop.wait, waits_s)
    )

    def hang_up() -> None:
        source.close()
        target.close()

    verdicts = _in_threads(pairs, sender.verdict, stop, hang_up)
    wanted = to_send(pairs, verdicts, replace=replace)
    total = sum(pair.item.size_bytes for pair in wanted)
    progress = _Progress(on_progress, total)

    def send(pair: Pair) -> None:
        sender.send(pair, replace=replace, on_bytes=progress.of(pair.path))

    _in_threads(wanted, send, stop, hang_up)
    sent = {pair.path for pair in wanted}
    kept = tuple(pair.path for pair in pairs if pair.path not in sent)
    return Report(tuple(pair.path for pair in wanted), kept, total)


def check_pairs(pairs: Iterable[Pair]) -> None:
    """Whether all these paths can be files of one folder. Raises UnsafePathError. Pure."""
    paths = {check_path(pair.path) for pair in pairs}
    for path in paths:
        above = path
        while "/" in above:
            above = above.rpartition("/")[0]
            if above in paths:
                raise UnsafePathError(
                    f"{shown(above)} is a file, and {shown(path)} wants it to be a folder; a folder"
                    " cannot hold both"
                )


def to_send(
    pairs: Sequence[Pair], verdicts: Sequence[Verdict | None], *, replace: bool
) -> list[Pair]:
    """Those that the target lacks. Raises ClashError where it has others. Pure."""
    others = [p.path for p, verdict in zip(pairs, verdicts, strict=True) if verdict == "other"]
    if others and not replace:
        raise ClashError(
            f"there with other content: {some(others)}; nothing was written; --overwrite replaces"
            f" {'them' if len(others) > 1 else 'it'}",
            others,
        )
    return [p for p, verdict in zip(pairs, verdicts, strict=True) if verdict != "same"]


def _in_threads(
    pairs: Sequence[Pair], act: Callable[[Pair], R], stop: Event, hang_up: Callable[[], None]
) -> list[R]:
    """``act`` on each, AT_ONCE at a time; the results in order. The first error ends it, and so
    does Ctrl-C: ``stop`` is set, and what is under way cleans up after itself; what waits for a
    server for longer than GRACE_S has its connection ended under it."""
    results: dict[int, R] = {}
    rest = iter(enumerate(pairs))
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="datastore") as pool:
        running: dict[Future[R], int] = {}
        try:
            while True:
                while len(running) < 2 * AT_ONCE and (following := next(rest, None)) is not None:
                    running[pool.submit(act, following[1])] = following[0]
                if not running:
                    break
                done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    results[running.pop(future)] = future.result()
                if stop.is_set():
                    raise StoppedError("the transfer was stopped")
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            if wait(running, timeout=GRACE_S).not_done:
                hang_up()
            raise
    return [results[number] for number in range(len(pairs))]


class _Progress:
    """Adds up what the threads say."""

    def __init__(self, on_progress: OnProgress | None, total_bytes: int) -> None:
        self._on_progress = on_progress
        self._total_bytes = total_bytes
        self._done: dict[str, int] = {}
        self._sum = 0
        self._lock = Lock()

    def of(self, path: str) -> Callable[[int], None]:
        """What is called with the bytes done of this file."""

        def on_bytes(done_bytes: int) -> None:
            with self._lock:
                self._sum += done_bytes - self._done.get(path, 0)
                self._done[path] = done_bytes
                if self._on_progress is not None:
                    self._on_progress(self._sum, self._total_bytes)

        return on_bytes
