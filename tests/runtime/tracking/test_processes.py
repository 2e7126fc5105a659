"""Processes: many that write at once, killed ones, forked ones, and ones that just end."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from registry.tracking import Tracking
from registry.tracking.records import DEAD
from tests.runtime.tracking.scripts import run_script, start

WRITER = """
import sys
from runtime.tracking import Run
with Run("digits", name=sys.argv[1], outputs=None) as run:
    for number in range(3000):
        run.log("loss", number)
        run.log("own " + sys.argv[1], number)
        if number % 500 == 0:
            assert run.flush()
"""
SHARED = """
import sys
from runtime.tracking import Run
run = Run.get(sys.argv[1])
for number in range(2000):
    run.log("shared", number)
    if number % 100 == 0:
        run.log_row("rows", writer=sys.argv[2], number=number)
assert run.flush()
"""
KILLED = """
import itertools, os, sys
from runtime.tracking import Run
run = Run("digits", name=sys.argv[1], outputs=None)
print(run.id, flush=True)
for number in itertools.count(1):
    for _ in range(50):
        run.log("loss", number)
    run.log_list("list", [number])
    if number % int(sys.argv[2]) == 0 and run.flush():
        os.write(1, b"%d\\n" % number)
"""


@pytest.mark.slow
def test_eight_writers_lose_nothing(tracking: Tracking, tmp_path: Path) -> None:
    writers = [start(WRITER, tmp_path, str(n)) for n in range(8)]
    for writer in writers:
        _, err = writer.communicate(timeout=120)
        assert (writer.returncode, err) == (0, "")
    runs = tracking.runs.search(limit=50).runs
    assert sorted(run.number for run in runs) == list(range(1, 9))
    for run in runs:
        assert run.status == "finished"
        for key in ("loss", f"own {run.name}"):
            values = [point.value for point in tracking.metrics.history(run.id, key)]
            assert values == [float(n) for n in range(3000)]
            assert sum(p.count for p in tracking.metrics.chart(run.id, key, 50)) == 3000


@pytest.mark.slow
def test_eight_writers_of_one_run_lose_nothing(tracking: Tracking, tmp_path: Path) -> None:
    run = tracking.runs.create("digits")
    writers = [start(SHARED, tmp_path, run.id, str(n)) for n in range(8)]
    for writer in writers:
        _, err = writer.communicate(timeout=120)
        assert (writer.returncode, err) == (0, "")
    points = tracking.metrics.history(run.id, "shared")
    expected = [float(n) for n in range(2000) for _ in range(8)]
    assert sorted(point.value for point in points) == expected
    assert [point.step for point in points] == list(range(16_000))
    assert len(tracking.metrics.values(run.id, "rows")) == 160


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_what_was_acknowledged_before_a_kill_is_there_and_the_run_has_failed(
    tracking: Tracking, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    process = start(KILLED, tmp_path, str(seed), str(rng.choice([1, 3, 20])))
    with process:
        assert process.stdout is not None
        id = process.stdout.readline().strip()
        acknowledged = int(process.stdout.readline())  # it is in full flight
        time.sleep(rng.random() * 0.3)  # at any moment: this waits for nothing
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        process.wait(timeout=20)
    acknowledged = max([acknowledged, *map(int, rest.split("\n")[:-1])])
    values = [point.value for point in tracking.metrics.history(id, "loss")]
    whole, some = divmod(len(values), 50)
    assert whole >= acknowledged
    assert values == [float(1 + n // 50) for n in range(whole * 50 + some)]
    lists = [value.document for value in tracking.metrics.values(id, "list")]
    assert lists == [f"[{n + 1}]" for n in range(len(lists))]
    assert len(lists) >= acknowledged
    found = tracking.runs.get(id)
    assert (found.status, found.cause, found.name) == ("failed", DEAD, str(seed))
    assert found.ended_ms is not None
    assert found.ended_ms >= found.started_ms
    assert not list((tracking.root / "runs").iterdir())
    sums = tracking.metrics.latest(id)["loss"]
    assert (sums.count, sums.max) == (len(values), max(values))


def test_a_script_that_just_ends_ends_its_run(tracking: Tracking, tmp_path: Path) -> None:
    code = 'from runtime.tracking import Run\nRun("digits").log("loss", 1)\n'
    assert run_script(code, tmp_path) == ("", "")
    _, err = run_script(
        code + "run = Run('digits')\nrun.log('a', 1)\nraise ValueError('bad')\n", tmp_path
    )
    assert "ValueError: bad" in err
    found = [tracking.runs.get(f"digits:{n}") for n in (1, 3)]
    assert [(run.status, run.cause) for run in found] == [
        ("finished", None),
        ("failed", "ValueError: bad"),
    ]
    assert found[0].metrics["loss"].value == 1.0
    assert found[1].metrics["a"].value == 1.0


def test_a_forked_worker_logs_and_does_not_end_the_run(tracking: Tracking, tmp_path: Path) -> None:
    code = """
import multiprocessing
from runtime.tracking import Run
def work(number):
    run.log("worker", number)
if __name__ == "__main__":
    run = Run("digits")
    run.log("parent", 1)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(n,)) for n in range(3)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    print(run.record().status)
    run.end()
"""
    assert run_script(code, tmp_path) == ("running\n", "")
    run = tracking.runs.get("digits:1")
    assert run.status == "finished"
    assert sorted(p.value for p in tracking.metrics.history(run.id, "worker")) == [0.0, 1.0, 2.0]
    assert run.metrics["parent"].count == 1


def test_a_child_that_outlives_a_killed_script_does_not_keep_it_alive(
    tracking: Tracking, tmp_path: Path
) -> None:
    code = """
import os, signal, sys, time
from runtime.tracking import Run
run = Run("digits")
run.flush()
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.close(1); os.close(2)
    os.write(writer, b"x")
    time.sleep(60)
    os._exit(0)
os.read(reader, 1)
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    out, _ = run_script(code, tmp_path)
    try:
        assert tracking.runs.get("digits:1").status == "failed"
    finally:
        os.kill(int(out), signal.SIGKILL)


def test_a_script_of_a_submitted_run_finds_it_by_its_environment(
    tracking: Tracking, tmp_path: Path
) -> None:
    run = tracking.runs.create("digits")
    code = """
from runtime.tracking import Run
run = Run.get_context()
run.log("loss", 0.5)
print(run.id)
"""
    environment = {"INFERRY_RUN": run.id, "INFERRY_WORKSPACE": str(tracking.root)}
    assert run_script(code, Path("/"), **environment) == (f"{run.id}\n", "")
    assert tracking.runs.get(run.id).metrics["loss"].value == 0.5


def test_a_clock_that_is_set_moves_neither_metrics_nor_the_end(
    tracking: Tracking, tmp_path: Path
) -> None:
    code = """
import time
from runtime.tracking import Run
with Run("digits") as run:
    run.log("a", 1)
    real = time.time_ns
    time.time_ns = lambda: real() - 3_600_000_000_000
    time.time = lambda: real() / 1e9 + 7200
    run.log("a", 2)
    run.flush()
"""
    assert run_script(code, tmp_path) == ("", "")
    run = tracking.runs.get("digits:1")
    first, second = tracking.metrics.history(run.id, "a")
    assert run.started_ms <= first.at_ms <= second.at_ms
    assert run.ended_ms is not None
    assert second.at_ms <= run.ended_ms < run.started_ms + 60_000


def test_importing_it_is_light(tmp_path: Path) -> None:
    code = """
import sys
from runtime.tracking import Run
heavy = {"numpy", "onnx", "onnxruntime", "starlette", "uvicorn", "httpx", "cryptography", "docker",
         "click", "rich", "yaml", "msgspec", "asyncio", "concurrent", "multiprocessing"}
print(sorted(heavy & set(sys.modules)))
"""
    assert run_script(code, tmp_path) == ("[]\n", "")


@pytest.mark.slow
def test_forks_in_the_middle_of_writing_lose_nothing_and_harm_no_database(
    tracking: Tracking, tmp_path: Path
) -> None:
    code = """
import os
from runtime.tracking import Run
run = Run("digits", outputs=None)
children = []
for _ in range(20):
    for number in range(500):
        run.log("parent", number)
    child = os.fork()
    if child == 0:
        for number in range(50):
            run.log("child", number)
        os._exit(0 if run.flush() else 1)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children] == [0] * 20)
run.end()
"""
    assert run_script(code, tmp_path) == ("True\n", "")
    run = tracking.runs.get("digits:1")
    assert {key: metric.count for key, metric in run.metrics.items()} == {
        "child": 1000,
        "parent": 10_000,
    }
    values = [point.value for point in tracking.metrics.history(run.id, "parent")]
    assert values == [float(n) for n in range(500)] * 20
    with tracking.database.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_fork_waits_for_a_transaction_of_another_thread(
    tracking: Tracking, tmp_path: Path
) -> None:
    code = """
import os, threading
from registry.tracking import Tracking
tracking = Tracking.open(".inferry")
is_open, may_end, order = threading.Event(), threading.Event(), []
def work():
    with tracking.database.write():
        is_open.set()
        may_end.wait(60)
        order.append("transaction")
thread = threading.Thread(target=work)
thread.start()
is_open.wait(60)
threading.Timer(0.2, may_end.set).start()
child = os.fork()
if child == 0:
    os._exit(0 if order == ["transaction"] else 1)
print(os.waitpid(child, 0)[1])
thread.join()
"""
    assert run_script(code, tmp_path) == ("0\n", "")
