"""Supervised processes: the conformance suite, and what only they have."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.errors import HostError
from edge.hosts.boot import boot_id
from edge.hosts.port import Instance, InstanceId, ModuleHost, Slot
from edge.hosts.processes import ProcessHost, chosen_cpus, python_here
from edge.hosts.run_folder import RunFolder
from edge.messages.desired import Limits
from tests.edge.hosts.conformance import (
    Asking,
    Confinement,
    Conformance,
    ask,
    begin,
    find,
    link,
    no,
    wait_answering,
    wait_ended,
    wait_for,
)
from tests.edge.hosts.images import FakeStock
from tests.ports import free_port

HERE = f"/usr/bin/python3.{sys.version_info[1]}"


class ProcessPlace:
    """A folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stock = FakeStock(root / "stock", HERE)
        self.host: ModuleHost = ProcessHost(root / "processes", self.stock, log_bytes=64 * 1024)

    @property
    def bundles(self) -> Path:
        return self.stock.folder / "bundles"

    def image(self, answer: str = "", *, exit_code: int | None = None) -> str:
        return self.stock.add(
            {"answer": answer, "exit_code": exit_code, "is_stubborn": answer == "stubborn"}
        )

    def bundle(self, answer: str) -> str:
        return self.stock.bundle(self.image(answer)).name

    def reopened(self) -> ModuleHost:
        return ProcessHost(self.root / "processes", self.stock)

    def id(self, module: str = "digits", slot: Slot = "live") -> InstanceId:
        return InstanceId(module, slot)

    def run(self, id: InstanceId) -> RunFolder:
        return RunFolder(self.root / "processes" / "run" / f"{id.module}.{id.slot}")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[ProcessPlace]:
    place = ProcessPlace(tmp_path)
    yield place
    for seen in place.host.list():
        place.host.stop(seen.id, grace_s=0)


class TestProcesses(Conformance, Confinement):
    """The suite."""


STARTER = """
import sys
from pathlib import Path
from edge.hosts.boot import boot_id
from edge.hosts.port import Instance, InstanceId
from edge.hosts.processes import ProcessHost
from tests.edge.hosts.images import FakeStock
root = Path(sys.argv[1])
stock = FakeStock(root / "stock", sys.argv[2])
host = ProcessHost(root / "processes", stock)
digest = stock.add({"answer": "killed", "exit_code": None, "is_stubborn": False})
host.prepare(digest, lambda: False)
id = InstanceId("digits", "live")
print("ready", flush=True)
for n in range(1000):
    host.start(Instance(id, digest, env={"N": str(n)}))
"""


def marked(place: ProcessPlace) -> list[int]:
    """All processes that carry the mark of an instance of this place."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(place.root).encode() in (
                (entry / "environ").read_bytes()
            ):
                found.append(int(entry.name))
    return found


def test_an_agent_killed_at_any_moment_leaves_no_unknown_process(place: ProcessPlace) -> None:
    for moment_s in (0.0, 0.013, 0.031, 0.052, 0.077, 0.101):
        agent = subprocess.Popen(
            [sys.executable, "-c", STARTER, str(place.root), HERE],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        )
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"ready\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            agent.wait(moment_s)
        agent.kill()
        agent.wait()
        agent.stdout.close()
        for seen in place.reopened().list():
            place.host.stop(seen.id, grace_s=0)
        assert wait_for(lambda: place.host.list() == [])
        assert wait_for(lambda: marked(place) == [])


def test_a_module_goes_with_its_launcher_and_starts_again(place: ProcessPlace) -> None:
    digest = place.image("one")
    begin(place, digest)
    port = wait_answering(place, place.id()).port
    ask(port, "leave")
    record = place.run(place.id()).record()
    assert record is not None
    os.kill(record.launcher, signal.SIGKILL)
    seen = wait_ended(place, place.id())
    assert (seen.exit_code, seen.is_out_of_memory) == (None, False)
    place.host.start(Instance(place.id(), digest))
    assert ask(wait_answering(place, place.id()).port) == "one"
    place.host.stop(place.id(), grace_s=0)
    assert wait_for(lambda: marked(place) == [])


def test_what_a_module_has_started_ends_with_it(place: ProcessPlace) -> None:
    begin(place, place.image())
    port = wait_answering(place, place.id()).port
    ask(port, "leave")
    assert len(marked(place)) == 2
    ask(port, "end?0")
    assert wait_ended(place, place.id()).exit_code == 0
    assert marked(place) == []


def test_what_it_has_started_counts_also_when_it_has_left(place: ProcessPlace) -> None:
    begin(place, place.image(), limits=Limits(memory_bytes=96 * 2**20))
    ask(wait_answering(place, place.id()).port, f"hide?{150 * 2**20}")
    assert wait_ended(place, place.id()).is_out_of_memory
    assert wait_for(lambda: marked(place) == [])


def test_what_others_could_read_of_an_instance_has_none_of_its_environment(
    place: ProcessPlace,
) -> None:
    begin(place, place.image(), env={"TOKEN": "secret-of-this-module"})
    wait_answering(place, place.id())
    folder = place.run(place.id()).path
    having = []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            if b"secret-of-this-module" in (folder / name).read_bytes():
                having.append((name, (folder / name).stat().st_mode & 0o77))
    assert having == [("spec.json", 0)]


def test_a_launcher_that_was_stopped_keeps_no_module_from_being_ended(place: ProcessPlace) -> None:
    begin(place, place.image())
    wait_answering(place, place.id())
    record = place.run(place.id()).record()
    assert record is not None
    os.kill(record.launcher, signal.SIGSTOP)
    place.host.stop(place.id(), grace_s=0.1)
    assert wait_for(lambda: marked(place) == [])


def test_what_forks_and_ends_all_the_time_ends_with_it_too(place: ProcessPlace) -> None:
    begin(place, place.image())
    ask(wait_answering(place, place.id()).port, "hop?8")
    place.host.stop(place.id(), grace_s=0)
    assert marked(place) == []


def test_what_it_prints_is_bounded_on_disk(place: ProcessPlace) -> None:
    begin(place, place.image())
    port = wait_answering(place, place.id()).port
    for n in range(200):
        ask(port, f"say?{n:05}{'x' * 1000}")
    folder = place.run(place.id()).path
    wait_for(lambda: place.host.logs(place.id(), 1).startswith("00199"))
    assert sum(path.stat().st_size for path in folder.glob("log*")) <= 64 * 1024
    lines = place.host.logs(place.id(), 30).splitlines()
    assert [line[:5] for line in lines] == [f"{n:05}" for n in range(170, 200)]


def test_an_image_for_another_python_says_so(tmp_path: Path) -> None:
    for path, said in (
        ("/usr/bin/python3.4", "needs Python 3.4"),
        ("/bin/python3", "which Python"),
    ):
        stock = FakeStock(tmp_path / "stock", path)
        host = ProcessHost(tmp_path / "processes", stock)
        with pytest.raises(HostError, match=said):
            host.prepare(stock.add({}), no)


def test_a_damaged_record_is_no_instance(place: ProcessPlace) -> None:
    begin(place, place.image(exit_code=1))
    wait_ended(place, place.id())
    folder = place.run(place.id()).path
    for name in ("record.json", "end.json"):
        (folder / name).write_bytes(b"\0" * 40)
    assert wait_ended(place, place.id()).exit_code is None
    (folder / "spec.json").write_bytes(b"")
    assert find(place.host, place.id()) is None
    place.host.stop(place.id())
    assert not folder.exists()


def test_what_ended_with_an_earlier_boot_did_not_end_by_itself(place: ProcessPlace) -> None:
    begin(place, place.image(exit_code=0))
    assert wait_ended(place, place.id()).exit_code == 0
    path = place.run(place.id()).path / "spec.json"
    path.write_bytes(path.read_bytes().replace(boot_id().encode(), b"another"))
    assert wait_ended(place, place.id()).exit_code is None


def test_a_module_runs_and_can_be_stopped_also_when_nothing_can_be_written(
    place: ProcessPlace,
) -> None:
    folder = place.run(place.id()).path
    for name in ("log", ".record.json", ".end.json"):  # in the way, as a full disk would be
        (folder / name).mkdir(parents=True)
    digest = place.image("one")
    port = free_port()
    begin(place, digest, port=port)
    assert ask(wait_answering(place, place.id()).port) == "one"
    place.host.reload(place.id())
    place.host.stop(place.id(), grace_s=5)
    assert place.host.list() == []
    assert wait_for(lambda: marked(place) == [])


@pytest.mark.parametrize("module", ["", "../../etc", "a/b", ".hidden"])
def test_a_name_cannot_lead_outside(place: ProcessPlace, module: str) -> None:
    with pytest.raises(HostError, match="cannot name a module"):
        place.host.stop(place.id(module))


def test_a_program_that_cannot_be_run_is_named_and_not_listed(
    place: ProcessPlace, tmp_path: Path
) -> None:
    digest = place.image()
    place.host.prepare(digest, no)
    bundles = tmp_path / "gone"
    bundles.mkdir()
    with pytest.raises(HostError, match="No such file"):
        place.host.start(Instance(place.id(), digest, bundle=bundles))
    assert place.host.list() == []


def test_its_memory_and_cpus_are_bounded(place: ProcessPlace) -> None:
    begin(place, place.image(), limits=Limits(memory_bytes=2**28, cpus=0.5))
    port = wait_answering(place, place.id()).port
    own = sorted(os.sched_getaffinity(0))
    assert len(ask(port, "affinity")) == min(1, len(own))
    record = place.run(place.id()).record()
    assert record is not None
    limits = Path(f"/proc/{record.pid}/limits").read_text()
    assert str(2 * 2**28 + 64 * 2**20) in limits


def test_modules_begin_at_different_cpus() -> None:
    assert chosen_cpus("a", None, [0, 1]) is None
    assert chosen_cpus("a", 2, [0, 1]) is None
    assert {tuple(chosen_cpus(name, 1, [0, 1, 2]) or ()) for name in "abcdefgh"} == {
        (0,),
        (1,),
        (2,),
    }
    assert chosen_cpus("a", 1.2, [4, 5, 6]) is not None


def test_the_real_server_serves_a_bundle_and_reloads_it_without_a_failed_request(
    place: ProcessPlace,
) -> None:
    def bundle(answer: str) -> str:
        folder = place.stock.bundle(place.stock.add({"answer": answer}, kind="bundle"))
        (folder / "code").mkdir()
        (folder / "code/score.py").write_text(
            f"def init(): ...\ndef run(data): return {answer!r}\n"
        )
        about = {"schema_version": 1, "name": "b", "version": 1, "engine": "script"}
        more = {"entry_script": "score.py", "models": []}
        (folder / "bundle.json").write_text(json.dumps(about | more))
        return folder.name

    link(place.bundles, bundle("old"))
    digest = place.stock.add({}, kind="bundle")
    begin(place, digest, bundle=place.bundles, args=("--keep-alive-s", "5"))
    seen = wait_answering(place, place.id())
    assert ask(seen.port) == "old"
    with Asking(seen.port) as asking:
        link(place.bundles, bundle("new"))
        place.host.reload(place.id())
        wait_for(lambda: asking.answers[-1:] == ["new"])
    assert (asking.errors, set(asking.answers)) == ([], {"old", "new"})
    place.host.stop(place.id(), grace_s=5)
    assert marked(place) == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Other users may look into it; those of ``tmp_path`` are shut."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def other_user(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Who can run this Python, and is not root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if Path(HERE).exists():
        monkeypatch.setattr(sys, "base_prefix", "/usr")  # a Python in root's home is of no use
    nobody = pwd.getpwnam("nobody")
    try:
        subprocess.run([python_here(), "-c", ""], user=nobody.pw_uid, check=True)
    except PermissionError:
        pytest.skip("other users cannot run this Python")
    return nobody.pw_uid, nobody.pw_gid


@pytest.mark.root
def test_the_processes_of_one_module_are_none_of_anothers(
    open_folder: Path, other_user: tuple[int, int]
) -> None:
    """The kernel counts those of a user, and all modules have one."""
    place = ProcessPlace(open_folder)
    place.host = ProcessHost(open_folder / "processes", place.stock, user=other_user)
    ids = [place.id(name) for name in ("one", "two")]
    try:
        for id in ids:
            begin(place, place.image(), module=id.module, limits=Limits(processes=20))
        ports = [wait_answering(place, id).port for id in ids]
        with ThreadPoolExecutor() as pool:
            assert list(pool.map(lambda port: ask(port, "fork?14"), ports)) == [14, 14]
    finally:
        for id in ids:
            place.host.stop(id, grace_s=0)


@pytest.mark.root
def test_it_runs_as_the_user_that_is_configured(
    open_folder: Path, other_user: tuple[int, int]
) -> None:
    user = other_user
    place = ProcessPlace(open_folder)
    place.host = ProcessHost(open_folder / "processes", place.stock, user=user)
    try:
        begin(place, place.image())
        port = wait_answering(place, place.id()).port
        status = ask(port, "status")
        assert status["Uid"].split() == [str(user[0])] * 4
        assert status["Gid"].split() == [str(user[1])] * 4
        assert status["Groups"].split() == []
        assert int(status["CapEff"], 16) == 0
        assert ask(port, f"write?{open_folder}/stolen") == "PermissionError"
        assert ask(port, f"write?{place.run(place.id()).room}/tmp/own") == "written"
    finally:
        place.host.stop(place.id(), grace_s=0)
