"""Processes that serve FPGA images: what they know of the board, and with whose rights they run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import HostError
from edge.hosts.board import check_root, with_board
from edge.hosts.port import Instance, InstanceId
from edge.hosts.processes import ProcessHost
from tests.edge.hosts.conformance import ask, find, no, wait_answering
from tests.edge.hosts.images import SERVER, FakeStock
from tests.edge.hosts.test_processes import ProcessPlace

ID = InstanceId("digits", "live")
PLAIN = Instance(ID, "sha256:" + "0" * 64)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessPlace]:
    """Of this device's own Python, whose server is the fake one."""
    package = tmp_path / "python" / "scoring"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_bytes(SERVER.read_bytes())
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    for name in [name for name in os.environ if name.startswith(("INFERRY_FPGA", "PYNQ"))]:
        monkeypatch.delenv(name)
    place = ProcessPlace(tmp_path)
    yield place
    for seen in place.host.list():
        place.host.stop(seen.id, grace_s=0)


def _begin(place: ProcessPlace, digest: str, env: Mapping[str, str] | None = None) -> int | None:
    place.host.prepare(digest, no)
    place.host.start(Instance(ID, digest, env=env or {}))
    return wait_answering(place, ID).port


def test_the_agent_says_which_board_and_the_module_has_the_last_word(
    place: ProcessPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_FPGA_BOARD", "local")
    monkeypatch.setenv("INFERRY_FPGA_PYTHON", sys.executable)
    monkeypatch.setenv("XILINX_XRT", "/usr")
    monkeypatch.setenv("AWS_SECRET", "hunter2")
    port = _begin(
        place, place.stock.add({}, kind="fpga"), {"INFERRY_FPGA_BOARD": "emulated", "TZ": "UTC"}
    )
    env = ask(port, "/env")
    assert env["INFERRY_FPGA_BOARD"] == "emulated"
    assert env["INFERRY_FPGA_PYTHON"] == sys.executable
    assert (env["XILINX_XRT"], env["TZ"]) == ("/usr", "UTC")
    assert "AWS_SECRET" not in env


def test_other_modules_hear_nothing_of_the_board(
    place: ProcessPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_FPGA_BOARD", "local")
    port = _begin(place, place.stock.add({}, kind="bundle"), {"LD_LIBRARY_PATH": "/nowhere"})
    env = ask(port, "/env")
    assert "INFERRY_FPGA_BOARD" not in env
    assert env["LD_LIBRARY_PATH"] == "/nowhere"


def test_a_restarted_agent_finds_it_and_starts_it_anew_only_for_another_board(
    place: ProcessPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_FPGA_BOARD", "local")
    digest = place.stock.add({"answer": "one"}, kind="fpga")
    _begin(place, digest)
    first = find(place.host, ID)
    place.host = place.reopened()
    place.host.start(Instance(ID, digest))
    assert find(place.host, ID) == first
    monkeypatch.setenv("INFERRY_FPGA_BOARD", "emulated")
    place.host = place.reopened()
    assert find(place.host, ID) == first
    place.host.start(Instance(ID, digest))
    second = wait_answering(place, ID)
    assert first is not None
    assert second.started_at_s != first.started_at_s
    assert ask(second.port, "/env")["INFERRY_FPGA_BOARD"] == "emulated"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_runs_as_the_agent_does_and_the_log_says_so(
    place: ProcessPlace, caplog: pytest.LogCaptureFixture
) -> None:
    place.host = ProcessHost(place.root / "processes", place.stock, user=(10001, 10001))
    with caplog.at_level(logging.INFO, "edge.hosts.processes"):
        port = _begin(place, place.stock.add({}, kind="fpga"))
    assert ask(port, "/status")["Uid"].split() == ["0"] * 4
    assert [record.getMessage() for record in caplog.records] == [
        "digits/live runs as the agent's own user: it needs the board"
    ]
    assert ask(port, "/status")["NoNewPrivs"] == "1"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_would_be_root_is_not_started_with_the_code_of_others(place: ProcessPlace) -> None:
    digest = place.stock.add({}, kind="fpga")
    with pytest.raises(HostError, match="as a board needs it, and so cannot have LD_PRELOAD"):
        _begin(place, digest, {"LD_PRELOAD": "/tmp/evil.so"})
    assert find(place.host, ID) is None


@pytest.mark.parametrize(
    "name",
    [
        *("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "PYTHONPATH", "PYTHONHOME"),
        *("PYTHONSTARTUP", "PYTHONSAFEPATH", "PATH", "HOME", "TMPDIR", "CXX", "GCONV_PATH"),
        *(
            "GLIBC_TUNABLES",
            "INFERRY_CACHE",
            "inferry_x",
            "X INFERRY_A",
            "INFERRY_A\nLD_PRELOAD",
            "",
        ),
    ],
)
def test_an_environment_that_loads_other_code_is_refused(name: str) -> None:
    with pytest.raises(HostError, match="cannot have"):
        check_root(replace(PLAIN, env={name: "x", "INFERRY_FPGA_BOARD": "emulated"}))


@pytest.mark.parametrize(
    "argument", ["--capture", "--capture=/etc/cron.d/x", "--shadow", "--shad=/x", "--ca"]
)
def test_arguments_that_write_or_serve_something_else_are_refused(argument: str) -> None:
    with pytest.raises(HostError, match="cannot have --"):
        check_root(replace(PLAIN, args=("--threads", "2", argument)))


def test_what_a_server_needs_is_not_refused() -> None:
    env = {"INFERRY_FPGA_BOARD": "simulated", "OMP_NUM_THREADS": "1", "TZ": "UTC", "LC_ALL": "C"}
    check_root(replace(PLAIN, env=env, args=("--threads", "2", "--cors-origins", "*")))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_an_interpreter_that_others_could_change_is_refused(tmp_path: Path) -> None:
    open_folder, own = tmp_path / "open", tmp_path / "own"
    for folder in (open_folder, own):
        folder.mkdir()
        (folder / "python3").touch(0o755)
    open_folder.chmod(0o777)
    link = own / "link"
    link.symlink_to(open_folder / "python3")
    given = own / "given"
    given.touch(0o755)
    os.chown(given, 10001, 10001)
    for program in (open_folder / "python3", link, given, own / "nothing", Path("python3")):
        with pytest.raises(HostError, match="others than root can change"):
            check_root(replace(PLAIN, env={"INFERRY_FPGA_PYTHON": str(program)}))
    check_root(replace(PLAIN, env={"INFERRY_FPGA_PYTHON": "/bin/sh"}))


def test_only_words_about_the_board_go_on_from_the_agent() -> None:
    own = {"INFERRY_FPGA_BOARD": "a", "INFERRY_BASE": "b", "PYNQ_JUPYTER": "c", "BOARD": "Pynq-Z2",
           "BOARDS": "d", "PATH": "/bin"}  # fmt: skip
    found = with_board(replace(PLAIN, env={"BOARD": "other"}), own)
    assert found.env == {"INFERRY_FPGA_BOARD": "a", "PYNQ_JUPYTER": "c", "BOARD": "other"}
    assert PLAIN.env == {}


def test_an_image_for_a_board_needs_no_container(tmp_path: Path) -> None:
    stock = FakeStock(tmp_path / "stock")
    host = ProcessHost(tmp_path / "processes", stock)
    digest = stock.add({}, kind="fpga")
    host.prepare(digest, no)
    again = ProcessHost(tmp_path / "processes", stock)
    assert again._trees.is_fpga(digest)
    assert not again._trees.is_fpga("sha256:" + "1" * 64)
    for record in (tmp_path / "processes" / "images").iterdir():
        record.unlink()
    assert again._trees.is_fpga(digest)
