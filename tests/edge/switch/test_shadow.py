"""Requests of the old version, put to the new one too."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.errors import GateError
from edge.hosts.memory import Behaviour, MemoryHost
from edge.hosts.port import Instance, InstanceId, Observed
from edge.messages.desired import Module, Update
from edge.switch.shadow import FILE, capture_arguments, run_shadow
from tests.edge.switch.device import answers

MODULE = Module("digits", "digits:2", "sha256:2", update=Update(shadow_s=2.0))


@pytest.fixture
def host() -> Iterator[MemoryHost]:
    made = MemoryHost({"new": Behaviour(score=answers('{"y": [1.0]}'))})
    made.prepare("new", lambda: False)
    made.start(Instance(InstanceId("digits", "next"), "new"))
    yield made
    made.close()


@pytest.fixture
def new(host: MemoryHost) -> Observed:
    return host.list()[0]


class Traffic:
    """What the old version captures while the shadow run looks: ``lines`` at its first pause."""

    def __init__(self, folder: Path, lines: list[str]) -> None:
        self.now = 0.0
        self.path = folder / FILE
        self._lines = lines

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        with self.path.open("a") as file:
            file.writelines(f"{line}\n" for line in self._lines)
        self._lines = []
        self.now += 0.5


def line(answer: Any, status: int = 200, **changed: Any) -> str:
    found = {"status": status, "route": "/score", "input": {"json": {"data": [1]}},
             "output": {"json": answer}}  # fmt: skip
    return json.dumps({**found, **changed})


def shadow(folder: Path, new: Observed, lines: list[str]) -> tuple[int, int]:
    traffic = Traffic(folder, lines)
    return run_shadow(MODULE, new, folder, lambda: None, traffic.clock, traffic.pause)


def test_answers_that_agree_pass(tmp_path: Path, new: Observed) -> None:
    assert shadow(tmp_path, new, [line({"y": [1.00001]})] * 10) == (10, 10)


def test_answers_that_differ_too_often_do_not_pass(tmp_path: Path, new: Observed) -> None:
    lines = [line({"y": [1.0]})] * 8 + [line({"y": [2.0]})] * 2
    with pytest.raises(GateError, match="8 of 10 answers agree") as error:
        shadow(tmp_path, new, lines)
    assert error.value.check == "shadow"


def test_what_was_captured_before_does_not_count(tmp_path: Path, new: Observed) -> None:
    (tmp_path / FILE).write_text(f"{line([9])}\n" * 10)
    assert shadow(tmp_path, new, [line({"y": [1.0]})] * 5) == (5, 5)


def test_without_traffic_there_is_nothing_to_say(tmp_path: Path, new: Observed) -> None:
    assert shadow(tmp_path, new, []) == (0, 0)


@pytest.mark.parametrize(
    "odd",
    [
        "", "no JSON", "[]", "[" * 100_000, '{"status": 200}', line(1, status=500),
        line(1, route="/v2/models/x/infer"), line(1, input={"base64": "AA==", "truncated": True}),
        line(1, output={"content_type": "x", "streamed": True}), line(1, input=None),
    ],
)  # fmt: skip
def test_lines_that_cannot_be_compared_are_passed_over(
    odd: str, tmp_path: Path, new: Observed
) -> None:
    assert shadow(tmp_path, new, [odd, line({"y": [1.0]}), odd]) == (1, 1)


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, _link])
def test_what_a_module_puts_in_place_of_the_file_stops_nothing(
    make: Callable[[Path], None], tmp_path: Path, new: Observed
) -> None:
    traffic = Traffic(tmp_path, [])
    made = False

    def check() -> None:
        nonlocal made
        if not made:
            make(tmp_path / FILE)
            made = True

    def pause(seconds: float) -> None:
        traffic.now += 1.0

    assert run_shadow(MODULE, new, tmp_path, check, traffic.clock, pause) == (0, 0)


def test_a_module_with_a_shadow_run_captures_its_requests_where_it_sees_the_folder() -> None:
    folder = Path("/state/capture")
    assert capture_arguments("docker", None) == ()
    assert capture_arguments("process", folder)[:2] == ("--capture", f"/state/capture/{FILE}")
    assert capture_arguments("docker", folder)[:2] == (
        "--capture", f"/run/inferry-capture/{FILE}",
    )  # fmt: skip
