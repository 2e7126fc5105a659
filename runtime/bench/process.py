"""The process that sends: locust with locustfile.py, from its start to its end.

samples = run(plan, report=Path("report.html"), on_samples=draw)

It is a process of its own as gevent changes Python's modules, and as it needs a core for itself.
Ctrl-C ends it, and ``run`` returns what it had counted by then.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from runtime.bench.plan import Plan, write_plan
from runtime.bench.sample import Sample, decoded
from runtime.errors import LoadTestError, NoLocustError

USERS_FILE = Path(__file__).with_name("locustfile.py")
LOOK_EVERY_S = 0.1
START_S = 60.0
"""For Python to load locust, on a machine that is busy."""
END_S = 15.0
"""For its report, after the last answer."""
HURRY_S = 5.0
"""For what is on its way, after Ctrl-C."""
WORDS = 500


class Interrupt:
    """Set by the first Ctrl-C or SIGTERM within the block; a second one does what it always does.
    Where it is no main thread, nothing is caught."""

    def __init__(self) -> None:
        self.is_set = False


def require_locust() -> None:
    """Raises NoLocustError. locust itself is not imported: it would change this process."""
    if importlib.util.find_spec("locust") is None:
        raise NoLocustError(
            "locust is not installed, and a load test needs it: pip install 'inferry[bench]'"
        )


def run(
    plan: Plan,
    *,
    report: Path | None = None,
    on_samples: Callable[[Sequence[Sample]], None] = lambda samples: None,
) -> tuple[list[Sample], bool]:
    """What was counted, and whether the plan was carried out to its end. ``report``: a file for
    locust's own page; ``on_samples`` is called with all samples so far, a few times a second.
    Raises NoLocustError, LoadTestError."""
    require_locust()
    folder = Path(tempfile.mkdtemp(prefix="inferry-bench-"))
    try:
        write_plan(plan, folder / "plan")
        (folder / "samples").touch(0o600)
        with _interrupts() as interrupt, (folder / "log").open("wb") as log:
            process = _started(plan, folder, report, log.fileno())
            try:
                is_whole = _followed(process, plan, folder / "samples", interrupt, on_samples)
            finally:
                _ended(process)
        samples = _read(folder / "samples")
        if is_whole and process.returncode != 0:
            raise LoadTestError(f"locust ended with {process.returncode}: {_words(folder / 'log')}")
        if not samples and is_whole:
            raise LoadTestError(f"locust sent nothing: {_words(folder / 'log')}")
        return samples, is_whole
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(plan: Plan, folder: Path, report: Path | None, log: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "locust", "--locustfile", str(USERS_FILE), "--headless"]
    command += ["--users", f"{plan.users}", "--spawn-rate", f"{plan.users}", "--only-summary"]
    command += ["--loglevel", "WARNING", "--stop-timeout", f"{plan.timeout_s:g}"]
    command += ["--exit-code-on-error", "0"]
    if report is not None:
        command += ["--html", str(report.absolute())]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # a terminal's Ctrl-C is this process's to pass on
    )


def _environment(folder: Path) -> dict[str, str]:
    """Without what would change locust's behaviour: its variables, and its file in the home."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LOCUST_")}
    return {
        **kept,
        "HOME": str(folder),
        "PYTHONUSERBASE": site.getuserbase(),
        "INFERRY_BENCH_PLAN": str(folder / "plan"),
        "INFERRY_BENCH_SAMPLES": str(folder / "samples"),
    }


def _followed(
    process: subprocess.Popen[bytes],
    plan: Plan,
    path: Path,
    interrupt: Interrupt,
    on_samples: Callable[[Sequence[Sample]], None],
) -> bool:
    """Until it ends. False: it was interrupted. Raises LoadTestError."""
    deadline_s = time.monotonic() + START_S + plan.duration_s + plan.timeout_s + END_S
    known = 0
    while process.poll() is None:
        if interrupt.is_set:
            return False
        if time.monotonic() > deadline_s:
            raise LoadTestError("locust did not end in time")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_EVERY_S)
        samples = _read(path)
        if len(samples) > known:
            known = len(samples)
            on_samples(samples)
    return not interrupt.is_set


def _ended(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(HURRY_S)
    process.kill()
    process.wait()


def _read(path: Path) -> list[Sample]:
    found = (decoded(line) for line in path.read_bytes().splitlines(keepends=True))
    return [sample for sample in found if sample is not None]


def _words(log: Path) -> str:
    """The last that it said: the cause is there."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return " ".join(" ".join(lines[-3:]).split())[-WORDS:] or "it said nothing"


@contextlib.contextmanager
def _interrupts() -> Iterator[Interrupt]:
    found = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(_number: int, _frame: object) -> None:
        found.is_set = True
        restore()

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield found
    finally:
        restore()
