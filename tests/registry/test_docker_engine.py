"""The Docker Engine: what a container may do, how it ends, and what its errors say."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.docker_engine import DockerEngine, Finished, Limits, connect
from registry.engine_output import MAX_OUTPUT_BYTES, ContainerOutput, followed
from registry.errors import CancelledError, EngineError
from registry.platforms import Platform
from tests.engine import Engine

LIMITS = Limits(timeout_s=60)


def never() -> bool:
    return False


def ignored(line: str) -> None:
    del line


@pytest.fixture
def docker(engine: Engine) -> Iterator[DockerEngine]:
    del engine  # skips without one
    connected = connect()
    yield connected
    connected.close()
    gc.collect()  # a socket that was left open fails this test and no other


def python(docker: DockerEngine, image: str, code: str, limits: Limits = LIMITS) -> Finished:
    command = ["python3", "-c", code]
    return docker.run(image, command, limits=limits, on_line=ignored, is_cancelled=never)


def is_gone(engine: Engine) -> bool:
    """Whether there is no container with this test's name among its arguments; others may run."""
    found = engine.run("ps", "--all", "--no-trunc", "--format", "{{.Command}}")
    return engine.owner not in found


# Finding one


def test_no_engine_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(EngineError, match=r"no Docker Engine answers: .*[Cc]onnection refused"):
        connect()


@pytest.mark.parametrize(
    "host", ["unix:///nowhere.sock", "nonsense", "tcp://", "ssh://nowhere.invalid", "ftp://x"]
)
def test_a_host_that_is_none_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(EngineError) as caught:
        connect()
    assert "\n" not in str(caught.value)
    gc.collect()


def test_an_engine_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(EngineError, match="no Docker Engine answers"):
            connect(1)
        assert time.monotonic() - started < 20
    gc.collect()


def test_another_program_is_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    try:
        port = server.stdout.readline().split()[5]
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        with pytest.raises(EngineError, match="no Docker Engine answers"):
            connect()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    gc.collect()


def test_the_sdk_is_loaded_for_an_engine_only() -> None:
    code = "import sys, registry.docker_engine; print('docker' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "False"


def test_an_engine_says_what_it_is(docker: DockerEngine) -> None:
    assert docker.is_local()
    assert docker.platform() == Platform((os.uname().machine == "aarch64" and "arm64") or "amd64")


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("tcp://127.0.0.1:2375", True),
        ("tcp://localhost:2375", True),
        ("tcp://[::1]:2375", True),
        ("tcp://10.0.0.1:2375", False),
        ("ssh://user@build", False),
        ("unix:///x.sock", True),
    ],
)
def test_an_engine_elsewhere_sees_no_files_of_here(
    docker: DockerEngine, monkeypatch: pytest.MonkeyPatch, host: str, is_local: bool
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert docker.is_local() == is_local


# Running


def test_a_container_may_do_little(docker: DockerEngine, engine: Engine, engine_base: str) -> None:
    code = f"# {engine.owner}"
    code += """
import os, socket
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["CapEff"], 16), int(status["CapBnd"], 16), int(status["NoNewPrivs"]))
print([name for _, name in socket.if_nameindex()])
open("/tmp/x", "w").write("1")
for path in ("/x", "/var/x", "/opt/x"):
    try: open(path, "w")
    except OSError as error: print(error.errno)
"""
    finished = python(docker, engine_base, code)
    assert finished == Finished(0, "0 0 1\n['lo']\n30\n30\n30\n")
    assert is_gone(engine)


def test_limits_hold(docker: DockerEngine, engine_base: str) -> None:
    small = Limits(timeout_s=60, memory_bytes=64 * 1024**2, processes=20, tmpfs_bytes=1024**2)
    hungry = python(docker, engine_base, "x = bytearray(500_000_000)", small)
    assert (hungry.exit_code, hungry.is_out_of_memory) == (137, True)
    forking = "import os\nfor _ in range(100):\n    if not os.fork(): os.read(0, 1)"
    assert "BlockingIOError" in python(docker, engine_base, forking, small).output
    writing = "open('/tmp/x', 'wb').write(bytes(2_000_000))"
    assert "No space left" in python(docker, engine_base, writing, small).output


def test_one_that_does_not_end_is_killed_and_heard(
    docker: DockerEngine, engine: Engine, engine_base: str
) -> None:
    code = "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
    code += f"print('last words', flush=True)\ntime.sleep(600) # {engine.owner}"
    finished = python(docker, engine_base, code, Limits(timeout_s=1.5))
    assert finished == Finished(137, "last words\n", is_timed_out=True)
    assert is_gone(engine)


def test_one_that_is_cancelled_is_gone(
    docker: DockerEngine, engine: Engine, engine_base: str
) -> None:
    lines: list[str] = []
    command = ["python3", "-uc", "import time; print('up'); time.sleep(600)", engine.owner]
    with pytest.raises(CancelledError):
        docker.run(
            engine_base,
            command,
            limits=LIMITS,
            on_line=lines.append,
            is_cancelled=lambda: bool(lines),
        )
    assert lines == ["up"]
    assert is_gone(engine)


def test_an_error_of_who_listens_leaves_no_container(
    docker: DockerEngine, engine: Engine, engine_base: str
) -> None:
    def broken(line: str) -> None:
        raise ZeroDivisionError

    command = ["python3", "-uc", "import time; print('up'); time.sleep(600)", engine.owner]
    with pytest.raises(ZeroDivisionError):
        docker.run(engine_base, command, limits=LIMITS, on_line=broken, is_cancelled=never)
    assert is_gone(engine)


def test_output_without_end_is_kept_in_part(docker: DockerEngine, engine_base: str) -> None:
    code = "import sys\nfor n in range(40): sys.stdout.write('x' * 100_000)\nprint('end')"
    finished = python(docker, engine_base, code)
    assert finished.output.endswith("xend\n")
    assert len(finished.output) <= MAX_OUTPUT_BYTES


def test_mounts_are_seen_and_not_changed(
    docker: DockerEngine, engine_base: str, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("inside")
    finished = docker.run(
        engine_base,
        ["-c", "echo $(cat /in/f); : > /in/f"],
        entrypoint=["/bin/sh"],
        limits=LIMITS,
        mounts={tmp_path: "/in"},
        on_line=ignored,
        is_cancelled=never,
    )
    assert "inside\n" in finished.output
    assert finished.exit_code != 0
    assert (tmp_path / "f").read_text() == "inside"


def test_what_cannot_start_says_why(docker: DockerEngine, engine: Engine, engine_base: str) -> None:
    for image, command, says in (
        (engine_base, ["/nowhere", engine.owner], "no such file"),
        ("inferry-test/none:1", [engine.owner], "No such image"),
    ):
        with pytest.raises(EngineError, match=says) as caught:
            docker.run(image, command, limits=LIMITS, on_line=ignored, is_cancelled=never)
        assert "\n" not in str(caught.value)
    assert is_gone(engine)


# Building


def built(
    docker: DockerEngine, engine: Engine, context: Path, dockerfile: str, lines: list[str]
) -> str:
    tag = engine.tag()
    made = docker.build(
        context, dockerfile, Platform(), tag=tag, on_line=lines.append, is_cancelled=never
    )
    assert docker.image_id(tag) == made
    return tag


def test_a_dockerfile_is_built_with_its_context(
    docker: DockerEngine, engine: Engine, engine_base: str, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/f").write_text("in the image")
    lines: list[str] = []
    dockerfile = f"FROM {engine_base}\nCOPY a /a\nRUN echo ran\n"
    tag = built(docker, engine, tmp_path, dockerfile, lines)
    assert "ran" in lines
    assert python(docker, tag, "print(open('/a/f').read())").output == "in the image\n"
    docker.remove(tag)
    assert docker.image_id(tag) is None
    docker.remove(tag)


def test_removing_what_only_names_the_base_keeps_the_base(
    docker: DockerEngine, engine: Engine, engine_base: str, tmp_path: Path
) -> None:
    docker.remove(built(docker, engine, tmp_path, f"FROM {engine_base}", []))
    assert docker.image_id(engine_base) is not None


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("RUN exit 3", r"at Step 2/2 : RUN exit 3: .*code: 3"),
        ("COPY nothing /x", "at Step 2/2 : COPY nothing /x: "),
        ("COPY ../../etc/passwd /x", "at Step 2/2"),
        ("NONSENSE", "unknown instruction: NONSENSE"),
        ("RUN --mount=type=secret,id=x true", "mount"),
    ],
)
def test_a_build_that_fails_names_its_step(
    docker: DockerEngine, engine: Engine, engine_base: str, tmp_path: Path, lines: str, says: str
) -> None:
    with pytest.raises(EngineError, match=says) as caught:
        built(docker, engine, tmp_path, f"FROM {engine_base}\n{lines}\n", [])
    assert "\n" not in str(caught.value)


def test_a_build_is_cancelled_in_the_middle_of_a_step(
    docker: DockerEngine, engine: Engine, engine_base: str, tmp_path: Path
) -> None:
    lines: list[str] = []
    started = time.monotonic()
    with pytest.raises(CancelledError):
        docker.build(
            tmp_path,
            f"FROM {engine_base}\nRUN echo up; sleep 100\n",
            Platform(),
            tag=engine.tag(),
            on_line=lines.append,
            is_cancelled=lambda: "up" in lines,
        )
    assert time.monotonic() - started < 60
    assert docker.platform()  # the connection is good for more


def test_a_context_that_breaks_off_builds_nothing(
    docker: DockerEngine, engine: Engine, engine_base: str
) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        docker.build(
            broken(),
            f"FROM {engine_base}",
            Platform(),
            tag=engine.tag(),
            on_line=ignored,
            is_cancelled=never,
        )


# Output


def test_lines_are_whole_and_bounded() -> None:
    lines: list[str] = []
    output = ContainerOutput(lines.append)
    for chunk in (b"a", b"b\r\nc\xff", b"\n", b"x" * 10_000, b"\n", b"rest"):
        output.take(chunk)
    output.close()
    assert [lines[0], lines[1], lines[3]] == ["ab", "c\ufffd", "rest"]
    assert lines[2] == "x" * len(lines[2])
    assert len(lines[2]) <= 4096


def test_what_is_followed_ends_with_its_error() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    heard = followed(items(), [], never)
    assert next(heard) == 1
    with pytest.raises(ZeroDivisionError):
        next(heard)
