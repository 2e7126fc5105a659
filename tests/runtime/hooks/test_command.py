"""Real programs, some of which mean no good."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from runtime.hooks.answer import Result
from runtime.hooks.command import Command, run
from tests.runtime.deployments.waiting import eventually

BOUND_S = 15.0
ENVIRON = {"PATH": os.environ["PATH"], "INFERRY_SCALE_TO_REPLICAS": "3"}


def program(text: str, *arguments: str, stdin: bytes = b"", may_veto: bool = False) -> Command:
    return Command(
        arguments=(sys.executable, "-S", "-c", text, *arguments),
        stdin=stdin,
        environ=ENVIRON,
        may_veto=may_veto,
    )


def is_there(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def test_it_finds_the_change_on_stdin_and_in_its_environment(tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = (
        "import json, os, sys; open(sys.argv[1], 'w').write(json.dumps([sys.stdin.read(),"
        " dict(os.environ), sys.argv[2:], os.getcwd(), os.getsid(0) == os.getpid()]))"
    )
    found = run(program(text, str(out), "$(id)", "; true", stdin=b'{"v": 1}'), 60)
    assert found.result is Result.OK
    stdin, environ, arguments, folder, is_leader = json.loads(out.read_text())
    assert stdin == '{"v": 1}'
    assert environ["INFERRY_SCALE_TO_REPLICAS"] == "3"
    assert set(environ) <= {*ENVIRON, "LC_CTYPE", "PWD"}
    assert arguments == ["$(id)", "; true"]  # no shell has seen them
    assert folder == "/"
    assert is_leader


@pytest.mark.parametrize(
    ("status", "may_veto", "result"),
    [
        (0, True, Result.OK),
        (75, True, Result.NOT_NOW),
        (75, False, Result.FAILED),
        (1, True, Result.FAILED),
    ],
)
def test_what_its_exit_code_means(status: int, may_veto: bool, result: Result) -> None:
    found = run(program(f"print('a\\nb'); raise SystemExit({status})", may_veto=may_veto), 60)
    assert found.result is result
    assert found.said.endswith("a | b")


def test_a_signal_that_ended_it_is_said() -> None:
    found = run(program("import os; os.kill(os.getpid(), 9)"), 60)
    assert (found.result, found.said) == (Result.FAILED, "signal 9 ended it")


@pytest.mark.parametrize("path", ["/no/such/program", "/etc", "/etc/passwd"])
def test_a_program_that_cannot_be_started_is_a_failure(path: str) -> None:
    found = run(Command(arguments=(path,), stdin=b"", environ={}), 60)
    assert found.result is Result.FAILED
    assert "it cannot be started" in found.said


@pytest.mark.slow
def test_one_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "if child: open(sys.argv[1], 'w').write(f'{os.getpid()} {child}')\n"
        "print('here', flush=True)\n"
        "time.sleep(600)\n"
    )
    began_s = time.monotonic()
    found = run(program(text, str(pids)), 2.0)
    assert time.monotonic() - began_s < BOUND_S
    assert found.result is Result.TIMEOUT
    assert found.said == "it did not end in time, and was killed: here | here"
    for pid in map(int, pids.read_text().split()):
        eventually(lambda pid=pid: not is_there(pid), 10)  # type: ignore[misc]


def test_one_that_ends_leaves_no_child_and_is_not_waited_for_by_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = (
        "import os, sys, time\n"
        "child = os.fork()\n"
        "if not child: time.sleep(600)\n"
        "open(sys.argv[1], 'w').write(str(child))\n"
    )
    found = run(program(text, str(pids)), 60)
    assert found.result is Result.OK
    assert found.took_s < BOUND_S
    eventually(lambda: not is_there(int(pids.read_text())), 45)


@pytest.mark.slow
def test_a_gigabyte_of_output_is_no_gigabyte_here() -> None:
    text = "import os\nwhile True: os.write(1, b'\\x1b[31m\\xff' * 16384)"
    found = run(program(text), 1.0)
    assert found.result is Result.TIMEOUT
    assert found.said.isprintable()
    assert len(found.said) < 400


@pytest.mark.slow
def test_one_that_closes_its_output_is_waited_for_without_haste() -> None:
    found = run(program("import os, time\nos.close(1); os.close(2)\ntime.sleep(0.3)"), 60)
    assert found.result is Result.OK
    assert found.took_s >= 0.3


def test_one_that_reads_nothing_holds_up_nobody() -> None:
    found = run(program("", stdin=b"x" * 1_000_000), 60)
    assert found.result is Result.OK


@pytest.mark.slow
def test_when_the_controller_ends_it_has_a_moment() -> None:
    ending = threading.Event()
    timer = threading.Timer(0.2, ending.set)
    timer.start()
    try:
        found = run(program("import time; time.sleep(600)"), 300, ending.is_set)
    finally:
        timer.join()
    assert found.result is Result.TIMEOUT
    assert found.took_s < BOUND_S


def children() -> set[int]:
    """Of this process, those that nobody has waited for included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def files() -> set[str]:
    return {
        os.readlink(f"/proc/self/fd/{number}")
        for number in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{number}")
    }


def test_no_zombie_and_no_file_is_left() -> None:
    before, opened = children(), files()
    for _ in range(3):
        run(program(""), 60)
    eventually(lambda: not children() - before, 45)
    eventually(lambda: not {each for each in files() - opened if "pipe:" in each}, 45)
