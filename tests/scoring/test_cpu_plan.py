"""CPUs to processes and threads, and the CPUs of a container."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.cpu_plan import plan, read_quota

some = st.none() | st.integers(1, 64)
quotas = st.none() | st.floats(0.01, 256)


@given(st.integers(1, 256), quotas)
def test_a_model_gets_a_process_for_each_whole_cpu(affinity: int, quota: float | None) -> None:
    found = plan(affinity, quota, is_script=False)
    assert found.cpus == (affinity if quota is None else min(affinity, quota))
    assert found.processes == max(1, int(found.cpus))
    assert (found.threads, found.workers) == (1, 0)


@given(st.integers(1, 256), quotas, some, some, some)
def test_what_the_user_leaves_open_never_overloads_the_cpus(
    affinity: int,
    quota: float | None,
    processes: int | None,
    workers: int | None,
    threads: int | None,
) -> None:
    found = plan(
        affinity, quota, is_script=False, processes=processes, workers=workers, threads=threads
    )
    assert found.processes == (processes or found.processes) >= 1
    assert found.threads == (threads or found.threads) >= 1
    whole = max(1, int(found.cpus))
    product = found.processes * found.threads
    assert ("more than the CPUs" in found.text) == (product > whole)
    if product > whole:  # only when one of the two that were asked for is too large alone,
        assert max(processes or 0, threads or 0) > whole or (processes and threads)  # or both


@given(st.integers(1, 256), quotas, some)
def test_a_script_has_one_process_and_one_worker_unless_asked(
    affinity: int, quota: float | None, workers: int | None
) -> None:
    found = plan(affinity, quota, is_script=True, workers=workers)
    assert (found.processes, found.workers, found.threads) == (1, workers or 1, 0)


def test_fewer_processes_share_the_cpus_among_their_threads() -> None:
    assert plan(8, None, is_script=False, processes=2).threads == 4
    assert plan(8, None, is_script=False, processes=3).threads == 2
    assert plan(8, None, is_script=False, threads=4).processes == 2


def test_the_line_at_start_says_what_was_found_and_what_starts() -> None:
    assert plan(2, 1.5, is_script=False).text == (
        "1.5 CPUs (affinity 2, cgroup quota 1.5): 1 server process x 1 onnxruntime thread"
    )
    assert plan(4, None, is_script=False, processes=2).text == (
        "4 CPUs (affinity 4, no cgroup quota): 2 server processes x 2 onnxruntime threads"
    )
    assert plan(1, 8, is_script=True, workers=3).text == (
        "1 CPU (affinity 1, cgroup quota 8): 1 server process x 3 workers"
    )
    assert plan(1, None, is_script=False, processes=2, threads=2).text == (
        "1 CPU (affinity 1, no cgroup quota): 2 server processes x 2 onnxruntime threads,"
        " more than the CPUs"
    )


def test_a_number_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="threads must be at least 1, not 0"):
        plan(1, None, is_script=False, threads=0)


class Tree:
    """A file tree with /proc/self and mounted cgroups."""

    def __init__(self, root: Path, cgroup: str, *mounts: str) -> None:
        self.root = root
        self.write("proc/self/cgroup", cgroup)
        self.write("proc/self/mountinfo", "\n".join(mounts) + "\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw"
V1 = "33 32 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"


def test_version_2_is_the_least_of_the_hierarchy(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "0::/a.slice/b/c\n", V2)
    assert read_quota(tmp_path) is None
    tree.write("sys/fs/cgroup/a.slice/b/c/cpu.max", "400000 100000\n")
    assert read_quota(tmp_path) == 4
    tree.write("sys/fs/cgroup/a.slice/cpu.max", "75000 50000\n")
    assert read_quota(tmp_path) == 1.5
    tree.write("sys/fs/cgroup/a.slice/b/cpu.max", "max 100000\n")
    assert read_quota(tmp_path) == 1.5


def test_version_1_is_read_too(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "9:name=systemd:/x\n4:cpu,cpuacct:/x\n0::/\n", V1, V2)
    tree.write("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n")
    tree.write("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n")
    assert read_quota(tmp_path) is None
    tree.write("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "250000\n")
    assert read_quota(tmp_path) == 2.5


def test_a_container_without_a_namespace_has_its_cgroup_at_the_mount_point(tmp_path: Path) -> None:
    mount = r"33 32 0:29 /docker/ab\040c /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"
    tree = Tree(tmp_path, "4:cpu:/docker/ab c\n", mount)
    tree.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000")
    tree.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    assert read_quota(tmp_path) == 0.5
    tree.write("proc/self/cgroup", "4:cpu:/../elsewhere\n")
    assert read_quota(tmp_path) == 0.5


@pytest.mark.parametrize("text", ["", "100000", "max", "0 100000", "5 0", "x y", "1 2 3", "\xff"])
def test_what_makes_no_sense_is_no_limit(tmp_path: Path, text: str) -> None:
    tree = Tree(tmp_path, "0::/\n", V2, "short", "")
    tree.write("sys/fs/cgroup/cpu.max", "")
    (tmp_path / "sys/fs/cgroup/cpu.max").write_bytes(text.encode("latin-1"))
    assert read_quota(tmp_path) is None


def test_no_cgroups_are_no_limit(tmp_path: Path) -> None:
    assert read_quota(tmp_path) is None


@contextmanager
def cgroup_of_1_5_cpus() -> Iterator[Path]:
    """A real cgroup of either version, or a skipped test."""
    for parent in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu")):
        folder = parent / f"inferry-test-{os.getpid()}"
        if is_made(folder):
            try:
                yield folder
            finally:
                folder.rmdir()
            return
    pytest.skip("no writable CPU cgroup")


def is_made(folder: Path) -> bool:
    """Whether ``folder`` is a CPU cgroup now."""
    is_v2 = (folder.parent / "cgroup.controllers").exists()
    if not is_v2 and not (folder.parent / "cpu.cfs_quota_us").exists():
        return False
    try:
        folder.mkdir()
    except OSError:
        return False
    try:
        file, text = ("cpu.max", "150000 100000") if is_v2 else ("cpu.cfs_quota_us", "150000")
        (folder / file).write_text(text)
    except OSError:
        folder.rmdir()
        return False
    return True


@pytest.mark.root
def test_the_quota_of_a_real_cgroup_is_found() -> None:
    code = "from scoring.cpu_plan import read_quota; print(read_quota())"
    with cgroup_of_1_5_cpus() as folder:
        enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        command = ["sh", "-c", enter, str(folder), sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) <= 1.5
