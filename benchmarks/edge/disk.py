"""T6: large releases, one after another, on a disk that is 95 % full. What is free is looked at all
the time; the current and the previous release must always be whole.

    python -m benchmarks.edge.disk                    # as root: 30 of 30 MB on 400 MB, ext4
    python -m benchmarks.edge.disk --disk-mb 4000 --release-mb 300

Half way the disk fills up to its reserve: a release does not come, says how much it needs, and
leaves all as it was; once others have freed their files it comes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.edge.releases import Release, Releases
from benchmarks.outcome import Finding
from edge.errors import NoSpaceError, PullError
from edge.pull.puller import RegistryPuller
from edge.stock.device_stock import DeviceStock

FULL = 0.95
LOOK_EACH_S = 0.002
OLD = 4
"""Releases that are there before; others have the rest of what is full."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes in bytes. ``reserve``: what must always be free."""

    disk: int = 400_000_000
    release: int = 30_000_000
    reserve: int = 12_000_000
    releases: int = 30


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """An ext4 of that size for the block. Needs root."""
    image, mounted = folder / "disk.img", folder / "disk"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, mounted], check=True, capture_output=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True, capture_output=True)
        image.unlink()


def free_bytes(folder: Path) -> int:
    """For whoever is not root."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@dataclass
class Watch:
    """Looks at what is free, all the time. ``lowest_usual``: but for when there was no room."""

    folder: Path
    lowest: int = 1 << 62
    lowest_usual: int = 1 << 62
    has_room: bool = True
    looks: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until ``end``."""
        while not self._ended.wait(LOOK_EACH_S):
            found = free_bytes(self.folder)
            self.lowest = min(self.lowest, found)
            if self.has_room:
                self.lowest_usual = min(self.lowest_usual, found)
            self.looks += 1

    def end(self) -> None:
        """Looks no more."""
        self._ended.set()


@dataclass
class Device:
    """Takes one release after another, as an agent does; ``kept``: current and previous."""

    stock: DeviceStock
    puller: RegistryPuller
    kept: list[Release] = field(default_factory=list)
    collected: int = 0

    def take(self, release: Release) -> None:
        """Raises PullError; AssertionError when one that is needed is lost."""
        try:
            self.puller.pull(
                release.name, release.digest, keep=lambda: [each.digest for each in self.kept],
                on_progress=lambda *_: None, is_cancelled=lambda: False,
            )  # fmt: skip
            bundle = self.stock.bundle(release.digest)
        finally:
            for each in self.kept:
                assert self.stock.has(each.digest), f"{each.name} is lost"
                assert self.stock.bundle(each.digest).is_dir(), f"{each.name} is lost"
        weights = bundle / "models/m/w.bin"
        assert abs(weights.stat().st_size - release.size_bytes) < 100_000
        self.kept = [*self.kept, release][-2:]


def fill(path: Path, size_bytes: int) -> None:
    """A file of others."""
    handle = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        if size_bytes > 0:
            os.posix_fallocate(handle, 0, size_bytes)
    finally:
        os.close(handle)


def run(releases: Releases, disk: Path, plan: Plan) -> tuple[int, Watch, str, float]:
    """How many releases came, what was free, what a disk without room said, and how full it was."""
    with ExitStack() as stack:
        state = disk / "state"
        state.mkdir()
        stock = stack.enter_context(
            closing(DeviceStock(state, reserve_bytes=plan.reserve, boot_id="one"))
        )
        puller = RegistryPuller(stock, releases.url, token=None, trusted=[releases.key])
        device = Device(stock, puller)
        numbers = iter(range(1, 10_000))
        for _ in range(OLD):
            device.take(releases.push("big", next(numbers), plan.release))
        fill(disk / "others", free_bytes(disk) - int(plan.disk * (1 - FULL)))
        full = 1 - free_bytes(disk) / plan.disk
        watch = Watch(disk)
        thread = threading.Thread(target=watch.run)
        thread.start()
        try:
            came, said = 0, "nothing"
            for count in range(plan.releases):
                release = releases.push("big", next(numbers), plan.release)
                if count == plan.releases // 2:
                    watch.has_room = False
                    said = without_room(device, release, disk, plan)
                    watch.has_room = True
                device.take(release)
                came += 1
        except PullError as error:
            said = f"{error}, after {came} releases"
        finally:
            watch.end()
            thread.join()
        return came, watch, said, full


def without_room(device: Device, release: Release, disk: Path, plan: Plan) -> str:
    """What a release says that has no room, for a while."""
    device.stock.collect([each.digest for each in device.kept], 1 << 60)
    fill(disk / "log", free_bytes(disk) - plan.reserve - 1_000_000)
    try:
        device.take(release)
    except NoSpaceError as error:
        return str(error)
    finally:
        (disk / "log").unlink()
    return "nothing"


def measure(folder: Path, plan: Plan) -> list[Finding]:
    """Needs root."""
    with small_disk(folder, plan.disk) as disk, Releases(folder) as releases:
        came, watch, said, full = run(releases, disk, plan)
    what = (
        f"{plan.releases} releases of {plan.release / 1e6:.0f} MB on a disk of"
        f" {plan.disk / 1e6:.0f} MB, {full:.0%} full"
    )
    return [
        Finding(f"{what}: those that came", f"{plan.releases}", f"{came}", came == plan.releases),
        Finding(
            f"{what}: lowest free MB, of {watch.looks} looks",
            f">= {plan.reserve / 1e6:.1f}, its reserve",
            f"{watch.lowest_usual / 1e6:.1f}; {watch.lowest / 1e6:.1f} while there was no room",
            watch.lowest >= plan.reserve,
        ),
        Finding(
            "a disk without room, half way: what is said",
            "how much is needed, and how much is there",
            said,
            "needs" in said and "free above the reserve" in said,
        ),
    ]


def main() -> None:
    """Prints figures as JSON."""
    usual = Plan()
    parser = argparse.ArgumentParser(description="T6: releases on a full disk; as root")
    parser.add_argument("--disk-mb", type=float, default=usual.disk / 1e6)
    parser.add_argument("--release-mb", type=float, default=usual.release / 1e6)
    parser.add_argument("--releases", type=int, default=usual.releases)
    asked = parser.parse_args()
    disk = int(asked.disk_mb * 1e6)
    plan = Plan(disk, int(asked.release_mb * 1e6), int(disk * 0.03), asked.releases)
    with tempfile.TemporaryDirectory(prefix="disk-") as folder:
        findings = measure(Path(folder), plan)
    print(msgspec.json.format(msgspec.json.encode(findings), indent=2).decode())


if __name__ == "__main__":
    main()
