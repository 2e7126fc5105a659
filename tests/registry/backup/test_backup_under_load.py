"""A backup of a workspace that others write and purge, and one that is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import Workspace
from registry.backup import back_up, restore, verify
from registry.errors import RegistryError, TargetError
from tests.registry.store_check import downloaded

BACKUPS = 6


class Writers:
    """Threads that register, delete, log and purge, each with a workspace of its own, until they
    are to stop. Nothing may fail."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        self.rounds = 0
        self.failed: list[BaseException] = []
        self._stopping = threading.Event()
        works = (self._register, self._register_and_delete, self._log, self._purge)
        self._threads = [threading.Thread(target=self._loop, args=(each,)) for each in works]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)

    def wait_for(self, rounds: int) -> None:
        """Until they have done so many."""
        deadline = time.monotonic() + 60
        while self.rounds < rounds and not self.failed:
            assert time.monotonic() < deadline
            self._stopping.wait(0.002)

    def _loop(self, work: Callable[[Workspace, int], None]) -> None:
        workspace = Workspace.open(self._root)
        number = 0
        try:
            while not self._stopping.is_set():
                work(workspace, number := number + 1)
                self.rounds += 1
        except BaseException as error:
            self.failed.append(error)

    def _register(self, workspace: Workspace, number: int) -> None:
        path = self._folder / "kept.txt"
        path.write_bytes(b"kept %d" % (number % 7) * 1000)
        workspace.models.register(path, name="kept")
        if number > 5:
            workspace.models.delete(f"kept:{number - 5}")

    def _register_and_delete(self, workspace: Workspace, number: int) -> None:
        path = self._folder / "gone.txt"
        path.write_bytes(b"gone %d" % (number % 3) * 1000)
        made = workspace.models.register(path, name="gone")
        workspace.models.delete(made.reference)

    def _log(self, workspace: Workspace, number: int) -> None:
        run = workspace.tracking.runs.create("train")
        workspace.tracking.runs.log(run.id, points=[("loss", 0.5, step, 1) for step in range(50)])
        workspace.tracking.files.put(run.id, "note.txt", [b"%d" % number])

    def _purge(self, workspace: Workspace, number: int) -> None:
        workspace.purge()


def test_whatever_the_copied_database_names_is_in_the_backup(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    backup = tmp_path / "backup"
    with Writers(workspace.root, tmp_path) as writers:
        for number in range(BACKUPS):
            seen = writers.rounds
            target = backup if number % 2 else tmp_path / "backup.tar"
            back_up(workspace.root, target, keep=BACKUPS)
            writers.wait_for(seen + 4)
    assert writers.failed == []
    for target in (backup, tmp_path / "backup.tar"):
        verified = verify(target)
        assert verified.damaged == ()
        for id in verified.snapshots:
            root = tmp_path / f"{target.name}-{id}"
            restore(target, root, snapshot=id)
            restored = Workspace.open(root)
            for model in restored.models.list():
                assert downloaded(restored, model.reference)
            runs = restored.tracking.runs.search().runs
            for run in runs:
                for file in restored.tracking.files.list(run.id):
                    assert restored.tracking.files.read(run.id, file.path)
            assert restored.purge().blobs == 0
    assert list((workspace.root / "leases").iterdir()) == []


def dying(what: str, at: int, work: Callable[[], object]) -> bool:
    """Runs ``work`` in a child that kills itself at the ``at``-th call of ``os.<what>``; whether it
    came so far."""
    child = os.fork()
    if child == 0:
        calls = 0
        real = getattr(os, what)

        def call(*arguments: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        setattr(os, what, call)
        try:
            work()
        except BaseException:
            os._exit(2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize(
    ("form", "what"),
    [("backup", "replace"), ("backup", "fsync"), ("backup", "unlink"), ("backup.tar", "replace"),
     ("backup.tar", "fsync")],
)  # fmt: skip
def test_one_that_is_killed_leaves_the_one_before(tmp_path: Path, form: str, what: str) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    target = tmp_path / form
    (tmp_path / "data.txt").write_bytes(b"first")
    workspace.models.register(tmp_path / "data.txt", name="data")
    back_up(workspace.root, target, keep=1)
    for at in range(1, 100):
        (tmp_path / "data.txt").write_bytes(b"%d" % at)
        workspace.models.register(tmp_path / "data.txt", name="data")
        before = verify(target).snapshots
        is_killed = dying(what, at, lambda: back_up(workspace.root, target, keep=1))
        after = verify(target)
        assert after.damaged == ()
        if not is_killed:
            break
        # Before its last step it is the one before, after it the new one, and perhaps both.
        assert set(before) <= set(after.snapshots) or len(after.snapshots) == 1
    else:
        raise AssertionError("it never came to its end")
    restore(target, tmp_path / "new")
    assert len(Workspace.open(tmp_path / "new").models.list()) == at + 1
    workspace.purge()
    assert list((workspace.root / "leases").iterdir()) == []
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("what", ["replace", "fsync"])
def test_a_restore_that_is_killed_leaves_nothing_by_that_name(tmp_path: Path, what: str) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    (tmp_path / "data.txt").write_bytes(b"first")
    workspace.models.register(tmp_path / "data.txt", name="data")
    back_up(workspace.root, tmp_path / "backup")
    for at in range(1, 100, 3):
        root = tmp_path / f"new-{at}"
        is_killed = dying(what, at, lambda to=root: restore(tmp_path / "backup", to))  # type: ignore[misc]
        if root.exists():
            assert downloaded(Workspace.open(root), "data") == {"data.txt": b"first"}
        elif not is_killed:
            raise AssertionError("it ended and made nothing")
        if not is_killed:
            return
    raise AssertionError("it never came to its end")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs")
@pytest.mark.parametrize("form", ["backup", "backup.tar"])
def test_a_full_disk_is_said_and_leaves_the_one_before(small_disk: Path, form: str) -> None:
    root = small_disk.parent / "ws"
    workspace = Workspace.init(root, base="none")
    target = small_disk / form
    before = back_up(root, target).snapshot
    (small_disk.parent / "big.txt").write_bytes(os.urandom(10 * 1024 * 1024))
    workspace.models.register(small_disk.parent / "big.txt", name="big")
    for filled in (0, 6 * 1024 * 1024):  # a stored file does not fit, then not even the database
        (small_disk / "other").write_bytes(bytes(filled))
        with pytest.raises(TargetError, match="no space is left") as caught:
            back_up(root, target)
        assert "\n" not in str(caught.value)
        assert verify(target).snapshots == (before.id,)
        assert verify(target).damaged == ()
    back_up(root, small_disk.parent / "outside")
    with pytest.raises(RegistryError, match=r"No space|no space"):
        restore(small_disk.parent / "outside", small_disk / "new")
    assert {path.name for path in small_disk.iterdir()} == {form, "other"}
