"""The pool on real worker processes."""

from __future__ import annotations

import asyncio
import os
import signal
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from scoring.errors import RunTimeoutError, ScoringError, ScriptLoadError, WorkerDiedError
from scoring.script import frames
from scoring.script.script_engine import ScriptEngine
from scoring.script.script_request import ScriptReply, ScriptRequest
from scoring.script.worker_link import Answers

pytestmark = pytest.mark.slow

JSON = ("content-type", "application/json")
PID = "import os\ndef init():\n    pass\ndef run(data):\n    return os.getpid()\n"
DIES = """
    import ctypes, os, signal, sys, time
    def init():
        pass
    def run(data):
        if data == "exit":
            os._exit(7)
        if data == "segfault":
            ctypes.string_at(0)
        if data == "hold":
            sum(range(10 ** 11))  # one C call: the alarm's Python handler cannot run
        if data == "child":
            if os.fork() == 0:
                return "the child's answer"
            os.wait()
        if data == "slow":
            time.sleep(20)
        return data
"""


class Pool:
    """A started engine."""

    def __init__(self, engine: ScriptEngine) -> None:
        self.engine = engine
        self.changes = 0

    def run(self, *bodies: str) -> asyncio.Future[Answers]:
        """Start a batch."""
        answers: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        head = frames.ScoreRequest("POST", "/score", "", [JSON])
        self.engine.run([ScriptRequest(head, body.encode()) for body in bodies], answers.set_result)
        return answers

    async def answer(self, body: str) -> ScriptReply | ScoringError:
        """The answer to one request."""
        [answer] = await self.run(body)
        return answer

    async def text(self, body: str) -> str:
        """The body that answers one request."""
        answer = await self.answer(body)
        assert isinstance(answer, ScriptReply), answer
        assert isinstance(answer.body, bytes)
        return answer.body.decode()

    def changed(self) -> None:
        """on_change."""
        self.changes += 1

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait for a state of the engine."""
        while not is_true():
            await asyncio.sleep(0.01)


def _is_left(group: int) -> bool:
    """Whether a process of this group runs still; a container may have nobody to reap a zombie."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False


Scene = Callable[[Pool], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Runs a scene with an engine on a script, then looks for what it left behind."""

    async def run(script: str, scene: Scene, workers: int, timeout_ms: int) -> None:
        (tmp_path / "score.py").write_text(textwrap.dedent(script))
        environ = {
            **os.environ,
            "AML_APP_ROOT": str(tmp_path),
            "AZUREML_ENTRY_SCRIPT": "score.py",
            "SCORING_TIMEOUT_MS": str(timeout_ms),
            "ORT_DISABLE_TELEMETRY": "1",
        }
        engine = ScriptEngine(environ, workers=workers, timeout_ms=timeout_ms)
        pool = Pool(engine)
        pids: list[int] = []
        try:
            async with asyncio.timeout(60):
                await engine.start(pool.changed)
                pids = engine.pids
                await scene(pool)
                pids += engine.pids
        finally:
            await engine.close()
        async with asyncio.timeout(45):
            while any(_is_left(pid) for pid in pids):  # SIGKILL takes a moment
                await asyncio.sleep(0.01)

    def start(script: str, scene: Scene, *, workers: int = 1, timeout_ms: int = 60_000) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(script, scene, workers, timeout_ms))

    return start


def test_two_workers_run_side_by_side(play: Play) -> None:
    async def scene(pool: Pool) -> None:
        assert (pool.engine.slots, pool.engine.ready) == (2, True)
        assert pool.engine.script is not None
        assert pool.engine.script.mode == "json-string"
        answers = await asyncio.gather(pool.text("x"), pool.text("x"))
        assert sorted(map(int, answers)) == sorted(pool.engine.pids)

    play(PID, scene, workers=2)


def test_a_batch_goes_to_one_worker(play: Play) -> None:
    async def scene(pool: Pool) -> None:
        answers = await pool.run(*"abcde")
        assert len({answer.body for answer in answers if isinstance(answer, ScriptReply)}) == 1
        assert len(answers) == 5

    play(PID, scene, workers=2)


@pytest.mark.parametrize(("body", "how"), [("exit", "code 7"), ("segfault", "SIGSEGV")])
def test_a_worker_that_dies_fails_its_request_and_is_replaced(
    play: Play, caplog: pytest.LogCaptureFixture, body: str, how: str
) -> None:
    async def scene(pool: Pool) -> None:
        [before] = pool.engine.pids
        assert isinstance(await pool.answer(body), WorkerDiedError)
        assert (pool.engine.slots, pool.engine.ready) == (0, False)
        assert await pool.text("next") == '"next"'  # waits inside the engine
        assert pool.engine.pids != [before]
        assert pool.engine.restarts == 1

    play(DIES, scene)
    assert how in caplog.text
    assert "1 request" in caplog.text


def test_what_a_batch_has_finished_before_the_death_is_answered(play: Play) -> None:
    async def scene(pool: Pool) -> None:
        answers = await pool.run("a", "exit", "b")
        assert [type(answer) for answer in answers] == [
            ScriptReply,
            WorkerDiedError,
            WorkerDiedError,
        ]

    play(DIES, scene)


def test_a_worker_killed_while_idle_costs_no_request(play: Play) -> None:
    async def scene(pool: Pool) -> None:
        for _ in range(2):
            [pid] = pool.engine.pids
            os.kill(pid, signal.SIGKILL)
            assert await pool.text("x") == '"x"'  # sent to the dead one, then to its successor

    play(DIES, scene)


def test_a_worker_that_ignores_its_alarm_is_killed_at_once(play: Play) -> None:
    async def scene(pool: Pool) -> None:
        assert isinstance(await pool.answer("hold"), RunTimeoutError)
        assert await pool.text("next") == '"next"'

    play(DIES, scene, timeout_ms=100)


def test_a_forked_child_never_answers(play: Play) -> None:
    async def scene(pool: Pool) -> None:
        pids = pool.engine.pids
        for _ in range(3):
            assert await pool.text("child") == '"child"'
        assert pool.engine.pids == pids

    play(DIES, scene)


def test_a_stream_takes_the_slot_until_its_end(play: Play) -> None:
    script = """
        from azureml.contrib.services.aml_response import AMLResponse
        def init():
            pass
        def run(data):
            return AMLResponse((part for part in ["one", "two", "three"] * 50_000), 200)
    """

    async def scene(pool: Pool) -> None:
        reply = await pool.answer("x")
        assert isinstance(reply, ScriptReply)
        assert not isinstance(reply.body, bytes)
        assert (pool.engine.slots, pool.engine.ready) == (0, True)
        waiting = pool.run("y")
        changes = pool.changes
        assert b"".join([part async for part in reply.body]) == b"onetwothree" * 50_000
        [second] = await waiting
        assert pool.changes > changes
        assert isinstance(second, ScriptReply)
        pids = pool.engine.pids
        await second.body.aclose()  # type: ignore[union-attr]
        await pool.until(lambda: pool.engine.slots == 1)
        assert pool.engine.pids != pids

    play(script, scene)


def test_a_script_that_fails_to_load_again_is_broken_until_it_loads(
    play: Play, tmp_path: Path
) -> None:
    script = f"""
        import os, pathlib
        def init():
            if pathlib.Path({str(tmp_path)!r}, "gone").exists():
                raise RuntimeError("the model is gone")
        def run(data):
            os._exit(1)
    """

    async def scene(pool: Pool) -> None:
        (tmp_path / "gone").touch()
        assert isinstance(await pool.answer("x"), WorkerDiedError)
        refused = await pool.answer("y")
        assert (
            str(refused)
            == pool.engine.broken
            == ("the scoring script fails to load; see the server's log")
        )
        assert str(await pool.answer("z")) == pool.engine.broken  # at once
        (tmp_path / "gone").unlink()
        await pool.until(lambda: pool.engine.broken is None and pool.engine.ready)

    play(script, scene)


def test_the_first_failure_to_load_is_raised(play: Play) -> None:
    async def scene(pool: Pool) -> None:
        raise AssertionError("not reached")

    with pytest.raises(ScriptLoadError, match=r"init\(\) raised ZeroDivisionError"):
        play("def init():\n    1 / 0\ndef run(data):\n    pass", scene, workers=2)


def test_an_exit_while_loading_says_how(play: Play) -> None:
    async def scene(pool: Pool) -> None:
        raise AssertionError("not reached")

    script = "import os\ndef init():\n    os._exit(9)\ndef run(data):\n    pass"
    with pytest.raises(ScriptLoadError, match="exited with code 9 while it loaded"):
        play(script, scene)


def test_closing_answers_all_and_ends_what_the_script_has_started(play: Play) -> None:
    script = """
        import subprocess, time
        def init():
            subprocess.Popen(["sleep", "1000"], close_fds=False)
        def run(data):
            time.sleep(20)
    """

    async def scene(pool: Pool) -> None:
        running, waiting = pool.run("a"), pool.run("b")
        await asyncio.sleep(0.1)
        await pool.engine.close()
        for answers in (running, waiting):
            assert [str(answer) for answer in await answers] == ["the server has stopped"]

    play(script, scene)


NUMPY = """
    import os
    import numpy as np
    from inference_schema.schema_decorators import input_schema
    from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
    def init():
        pass
    @input_schema("data", NumpyParameterType(np.array([[1.0, 2.0]])))
    def run(data):
        if FAILS:
            os._exit(3)
        return data.sum(axis=1).tolist()
"""


def test_a_batch_is_merged_where_the_worker_says_so(play: Play) -> None:
    async def scene(pool: Pool) -> None:
        assert pool.engine.merging.allowed
        answers = await pool.run('{"data": [[1, 2]]}', '{"data": [[3, 4], [5, 6]]}')
        assert [getattr(answer, "body", None) for answer in answers] == [b"[3.0]", b"[7.0, 11.0]"]

    play(NUMPY.replace("FAILS", "False"), scene, workers=2)


def test_a_worker_that_dies_of_the_proof_is_replaced_by_one_that_does_not_try(play: Play) -> None:
    async def scene(pool: Pool) -> None:
        assert not pool.engine.merging.allowed
        assert "while run() was tried on its sample, the worker exited" in str(pool.engine.merging)
        assert await pool.text('{"data": [[1, 2]]}') == "[3.0]"

    play(NUMPY.replace("FAILS", "data[0, 0] != 1"), scene, workers=2)
