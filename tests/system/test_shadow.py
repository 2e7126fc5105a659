"""A shadow beside a real server: what it counts, and that it never touches the reply."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from scoring.watching.shadow import ROOM
from tests.system.hostile_server import GOOD, GOOD_ANSWER, Running
from tests.system.watched import (
    INFER,
    counter,
    is_ready,
    refusal,
    replies,
    script_bundle,
    serving,
    times_model,
    wait_until,
)

pytestmark = pytest.mark.slow

ECHO = "def init(): pass\ndef run(data): return {'said': data}\n"
SLOW = "import time\ndef init(): pass\ndef run(data):\n    time.sleep(600)\n"
DEADLY = "import os\ndef init(): pass\ndef run(data):\n    os._exit(9)\n"
OTHER = "def init(): pass\ndef run(data): return {'said': data + '!'}\n"


def shadowed(running: Running, verdict: str = "") -> float:
    """Of all processes; of one verdict, or of all."""
    labels = {"verdict": verdict} if verdict else {}
    return counter(running, "inferry_shadowed_total", **labels)


def infer(running: Running, model: str) -> None:
    url = f"{running.url}/v2/models/{model}/infer"
    assert httpx.post(url, content=INFER, trust_env=False).status_code == 200


def test_equal_and_different_answers_are_counted_and_the_client_sees_the_first(
    tmp_path: Path,
) -> None:
    model = times_model(tmp_path / "m.onnx", 2.0)
    same, other = times_model(tmp_path / "s.onnx", 2.0), times_model(tmp_path / "o.onnx", -2.0)
    with serving(tmp_path, model, "--processes", "2", "--shadow", same) as running:
        for _ in range(10):
            assert running.score(GOOD).json() == GOOD_ANSWER
        infer(running, "m")
        wait_until(lambda: shadowed(running) == 11)
        assert shadowed(running, "equal") == 11
        assert counter(running, "inferry_shadow_duration_ratio_count") == 11
        assert counter(running, "inferry_answered_total", model="m") == 11
        assert counter(running, "inferry_answered_total") == 11  # the shadow's are not answers
    with serving(tmp_path, model, "--shadow", other) as running:
        assert running.score(GOOD).json() == GOOD_ANSWER
        wait_until(lambda: shadowed(running, "different") == 1)
        assert counter(running, "inferry_shadow_disagreeing_rows_total") == 2
        assert counter(running, "inferry_shadow_difference_sum") == 400  # 200 and -200
        assert "shadow: different: y: other numbers, by 400 at most" in running.log.read_text()


def test_a_server_with_a_shadow_answers_byte_by_byte_the_same(tmp_path: Path) -> None:
    model, other = times_model(tmp_path / "m.onnx", 2.0), times_model(tmp_path / "o.onnx", 3.0)
    with serving(tmp_path, model) as running:
        plain = replies(running, "m")
    with serving(tmp_path, model, "--shadow", other) as running:
        assert replies(running, "m") == plain
        wait_until(lambda: shadowed(running) == 4)  # those with a 200
        assert shadowed(running, "different") == 3
        assert shadowed(running, "equal") == 1  # zeros


def test_only_the_share_is_mirrored(tmp_path: Path) -> None:
    model = times_model(tmp_path / "m.onnx", 2.0)
    options = ("--shadow", model, "--shadow-share", "0")
    with serving(tmp_path, model, *options) as running:
        for _ in range(10):
            running.score(GOOD)
        assert shadowed(running) == 0


def test_a_slow_shadow_is_dropped_from_and_holds_nobody_up(tmp_path: Path) -> None:
    script = script_bundle(tmp_path / "echo", ECHO)
    slow = script_bundle(tmp_path / "slow", SLOW)
    count = ROOM + 20
    with serving(tmp_path, script, "--shadow", slow, "--drain-s", "5") as running:
        with httpx.Client(base_url=running.url, trust_env=False, timeout=20) as client:
            for number in range(count):
                answer = client.post("/score", content=str(number).encode())
                assert answer.json() == {"said": str(number)}
        assert shadowed(running, "dropped") == shadowed(running) == count - ROOM
    assert running.process.returncode == 0  # it ends in its time, too


def test_a_shadow_that_dies_hurts_nobody(tmp_path: Path) -> None:
    script = script_bundle(tmp_path / "echo", ECHO)
    deadly = script_bundle(tmp_path / "deadly", DEADLY)
    with serving(tmp_path, script, "--shadow", deadly) as running:
        for number in range(6):
            answer = running.score(str(number).encode())
            assert answer.json() == {"said": str(number)}
            wait_until(lambda done=number + 1: shadowed(running) == done)  # type: ignore[misc]
        assert shadowed(running, "error") == 6
        assert counter(running, "inferry_restarts_total") == 0
        assert counter(running, "inferry_failed_total") == 0
        assert is_ready(running)


def test_scripts_are_compared_by_what_their_answers_mean(tmp_path: Path) -> None:
    script = script_bundle(tmp_path / "echo", ECHO)
    as_text = "import json\ndef init(): pass\ndef run(data): return json.dumps({'said': data})\n"
    for name, code, verdict in (
        ("other", OTHER, "different"),
        ("spaced", ECHO.replace("{'said'", "{ 'said'"), "equal"),
        ("text", as_text, "different"),
    ):
        shadow = script_bundle(tmp_path / name, code)
        with serving(tmp_path, script, "--shadow", shadow) as running:
            assert running.score(b"1").json() == {"said": "1"}
            wait_until(lambda: shadowed(running) == 1)
            assert shadowed(running, verdict) == 1, name


def test_a_killed_process_comes_back_without_a_shadow_that_is_gone(tmp_path: Path) -> None:
    model, shadow = times_model(tmp_path / "m.onnx", 2.0), times_model(tmp_path / "s.onnx", 2.0)
    with serving(tmp_path, model, "--processes", "1", "--shadow", shadow) as running:
        running.score(GOOD)
        shadow.unlink()
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
        (child,) = children.read_text().split()
        os.kill(int(child), signal.SIGKILL)
        wait_until(lambda: "this process serves without it: the shadow" in running.log.read_text())
        wait_until(lambda: is_ready(running))  # it says so first, and loads the model then
        assert running.score(GOOD).json() == GOOD_ANSWER


@pytest.mark.parametrize(
    ("width", "output", "said"),
    [
        (5, "y", "the input 'x' is float32 [N,4] in the model and float32 [N,5] in the shadow"),
        (4, "z", "the model has the output 'y', the shadow has none of that name"),
    ],
)
def test_a_shadow_that_does_not_fit_is_refused_with_both_names(
    tmp_path: Path, width: int, output: str, said: str
) -> None:
    model = times_model(tmp_path / "m.onnx", 2.0)
    shadow = times_model(tmp_path / "s.onnx", 2.0, width=width, output=output)
    error = refusal(tmp_path, model, "--shadow", shadow)
    assert f"error: the shadow '{shadow}' cannot be used: it does not fit 'm': {said}" in error


def test_a_shadow_that_does_not_load_is_refused(tmp_path: Path) -> None:
    model = times_model(tmp_path / "m.onnx", 2.0)
    script = script_bundle(tmp_path / "script", ECHO)
    (tmp_path / "bad.onnx").write_bytes(b"bad")
    broken = script_bundle(tmp_path / "broken", "def init(): 1 / 0\ndef run(data): pass\n")
    for what, shadow, said in (
        (model, tmp_path / "none.onnx", "there is no file or folder"),
        (model, tmp_path / "bad.onnx", "cannot be used"),
        (model, script, "it is a score.py, but a model is served"),
        (script, model, "it is a model, but a score.py is served"),
        (script, broken, "cannot be used"),
    ):
        error = refusal(tmp_path, what, "--shadow", shadow)
        assert f"the shadow '{shadow}'" in error
        assert said in error
