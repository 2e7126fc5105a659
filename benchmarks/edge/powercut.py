"""Power cuts (T3): a virtual machine in which the agent's outbox, store of images and switch
work on a disk that loses what was not flushed. Needs QEMU, a Debian kernel for it, and e2fsprogs.

    python -m benchmarks.edge.powercut                          # prints findings as JSON
    python -m benchmarks.edge.powercut --cuts 200
    python -m benchmarks.edge.powercut --synchronous NORMAL     # a control: this one must lose

What runs in the machine: powercut_guest.py; it says on the console what is durable. Then, at a
random moment, the machine is killed, the disk (volatile_disk.py) forgets what was written to it and
not flushed, in whole or in part, and the next machine looks at what is left: nothing that was said
to be durable may be missing. One disk goes through all the cuts. QEMU emulates the processor, so
that no /dev/kvm is needed; a boot takes about ten seconds.
"""

from __future__ import annotations

import argparse
import glob
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from benchmarks.edge.volatile_disk import VolatileDisk
from benchmarks.outcome import ROOT, Finding

DISK_MB = 64
BOOT_S = 120.0
MIN_WORK_S, MAX_WORK_S = 0.2, 4.0
ENV = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /run
mount -t ext4 /dev/vdb /state || echo "@ wrong the disk cannot be mounted"
cd /app && exec python3 -B -m benchmarks.edge.powercut_guest /state {synchronous}
"""


class MissingError(Exception):
    """What this study needs is not on this machine; says what to install."""


@dataclass(slots=True)
class Claims:
    """What was said to be durable, and what is wrong with what was found. Pure."""

    outbox: dict[tuple[str, int], int] = field(default_factory=dict)
    """Last number, by life and stream."""
    forgettable: dict[tuple[str, int], int] = field(default_factory=dict)
    """The highest base that was announced."""
    images: set[int] = field(default_factory=set)
    switched: int = 0
    wrong: list[str] = field(default_factory=list)
    found_images: set[int] = field(default_factory=set)
    found_lives: set[str] = field(default_factory=set)

    def hear(self, line: str) -> None:
        """A line of the console."""
        verb, _, rest = line.partition(" ")
        words = rest.split()
        if verb == "wrong":
            self.wrong.append(rest)
        elif verb == "done":
            self._done(words)
        elif verb == "will":
            self._will(words)
        elif verb == "found":
            self._found(words)
        elif verb == "ready":
            self._settle()

    def _done(self, words: list[str]) -> None:
        if words[0] == "outbox":
            key = words[1], int(words[2])
            self.outbox[key] = max(self.outbox.get(key, 0), int(words[4]))
        elif words[0] == "image":
            self.images.add(int(words[1]))
        else:
            self.switched = max(self.switched, int(words[1]))

    def _will(self, words: list[str]) -> None:
        if words[0] == "outbox":
            key = words[1], int(words[2])
            self.forgettable[key] = max(self.forgettable.get(key, 1), int(words[3]))
        else:
            self.images = {image for image in self.images if image > int(words[1])}

    def _found(self, words: list[str]) -> None:
        if words[0] == "outbox":
            life, stream, base, last = words[1], int(words[2]), int(words[3]), int(words[4])
            self.found_lives.add(life)
            said = self.outbox.get((life, stream), 0)
            if last < said:
                self.wrong.append(f"stream {stream} ends at {last}; {said} was durable")
                self.outbox[life, stream] = last  # said once
            if base > self.forgettable.get((life, stream), 1):
                self.wrong.append(f"stream {stream} begins at {base}, which was not said")
        elif words[0] == "image":
            self.found_images.add(int(words[1]))
        elif not self.switched <= int(words[1]) <= self.switched + 1:
            self.wrong.append(f"version {words[1]} is in service after {self.switched}")

    def _settle(self) -> None:
        """All was found that was there."""
        if missing := self.images - self.found_images:
            self.wrong.append(f"images {sorted(missing)} were whole, and are not there")
        if lost := {life for life, _ in self.outbox} - self.found_lives:
            self.wrong.append(f"the outbox began anew after {sorted(lost)}")
        self.found_images.clear()
        self.found_lives.clear()

    def records(self) -> int:
        """How many were durable."""
        return sum(self.outbox.values())


def parse(lines: Iterable[str]) -> Iterator[str]:
    """Ours among those of a console, without what firmware and kernel say. A line that the cut
    ended is none."""
    for line in lines:
        if line.endswith("\n") and (at := line.find("@ ")) >= 0:
            yield line[at + 2 :].strip()


def kernel() -> tuple[Path, Path]:
    """(kernel, initial file system). Raises MissingError."""
    for path in sorted(glob.glob("/boot/vmlinuz-*"), reverse=True):
        initrd = Path(path.replace("vmlinuz-", "initrd.img-"))
        if initrd.is_file():
            return Path(path), initrd
    raise MissingError("no kernel in /boot; apt-get install linux-image-cloud-amd64")


def qemu() -> str:
    """Raises MissingError."""
    found = shutil.which("qemu-system-x86_64")
    if found is None:
        raise MissingError("no QEMU; apt-get install qemu-system-x86")
    return found


def make_root(folder: Path, synchronous: str) -> Path:
    """The machine's read-only disk: Debian, and our code."""
    base = folder / "base.tar"
    subprocess.run([ROOT / "scripts/test-base", base], check=True, stdout=sys.stderr)
    tree = folder / "root"
    tree.mkdir()
    subprocess.run(["tar", "xf", base, "-C", tree], check=True)
    site = Path(msgspec.__file__).parent.parent
    for source in (ROOT / "edge", ROOT / "registry", ROOT / "scoring", site / "msgspec"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, tree / "app" / source.name, ignore=ignored)
    shutil.copy(site / "typing_extensions.py", tree / "app")
    ours = tree / "app/benchmarks/edge"
    ours.mkdir(parents=True)
    shutil.copy(ROOT / "benchmarks/edge/powercut_guest.py", ours)
    subprocess.run([sys.executable, "-m", "compileall", "-qq", tree / "app"], check=True)
    (tree / "state").mkdir()
    (tree / "init.sh").write_text(INIT.format(synchronous=synchronous))
    (tree / "init.sh").chmod(0o755)
    image = folder / "root.img"
    _make_disk(image, 512, "-d", str(tree))
    shutil.rmtree(tree)
    base.unlink()
    return image


def _make_disk(image: Path, size_mb: int, *more: str) -> None:
    with open(image, "wb") as file:
        file.truncate(size_mb << 20)
    subprocess.run(["mkfs.ext4", "-q", *more, image], check=True, env=ENV)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a virtual machine is made of."""

    root: Path
    socket: Path
    log: Path

    def command(self) -> list[str]:
        """Of QEMU."""
        image, initrd = kernel()
        return [
            qemu(), "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults", "-no-reboot",
            "-display", "none", "-serial", "stdio",
            "-kernel", str(image), "-initrd", str(initrd),
            "-append", "console=ttyS0 root=/dev/vda ro quiet loglevel=1 init=/init.sh panic=-1"
                       " mitigations=off random.trust_cpu=on",
            "-drive", f"file={self.root},if=virtio,format=raw,snapshot=on",
            "-drive", f"file=nbd+unix:///?socket={self.socket},if=virtio,format=raw,"
                      "cache=writeback",
        ]  # fmt: skip

    @contextmanager
    def running(self) -> Iterator[queue.Queue[str | None]]:
        """Lines of its console, and None at its end; at the end of the block it is killed."""
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        assert process.stdout is not None
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
        reader.start()
        try:
            yield lines
        finally:
            process.kill()
            process.wait()
            reader.join(10)
            process.stdout.close()


def _read(source: IO[bytes], lines: queue.Queue[str | None]) -> None:
    for line in source:
        lines.put(line.decode(errors="replace"))
    lines.put(None)


def one_cut(machine: Machine, disk: VolatileDisk, claims: Claims, draw: random.Random) -> int:
    """Boot, look, work, and the power is gone. Returns how many sectors were lost."""
    work_s = draw.uniform(MIN_WORK_S, MAX_WORK_S)
    with machine.running() as lines:
        until = time.monotonic() + BOOT_S
        is_ready = False
        while (left := until - time.monotonic()) > 0:
            try:
                line = lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                break
            for said in parse([line]):
                claims.hear(said)
                if said == "ready":
                    is_ready, until = True, time.monotonic() + work_s
        disk.power_off()
    if not is_ready:
        claims.wrong.append("the machine did not come up")
    while (line := lines.get()) is not None:  # said before the power was gone
        for said in parse([line]):
            claims.hear(said)
    return disk.cut(draw)


def last_look(machine: Machine, claims: Claims) -> None:
    """After the last cut."""
    with machine.running() as lines:
        until = time.monotonic() + BOOT_S
        while (left := until - time.monotonic()) > 0:
            try:
                line = lines.get(timeout=left)
            except queue.Empty:
                break
            for said in parse([line or ""]):
                claims.hear(said)
                if said == "ready":
                    return
    claims.wrong.append("the machine did not come up")


def powercut(cuts: int, seed: int, synchronous: str) -> list[Finding]:
    """Raises MissingError."""
    qemu(), kernel()
    draw, claims = random.Random(seed), Claims()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="powercut-") as name:
        folder = Path(name)
        root = make_root(folder, synchronous)
        _make_disk(folder / "state.img", DISK_MB)
        image = (folder / "state.img").read_bytes()
        with VolatileDisk(folder / "disk.sock", image) as disk:
            machine = Machine(root, disk.path, folder / "qemu.log")
            for number in range(cuts):
                lost = one_cut(machine, disk, claims, draw)
                print(
                    f"cut {number + 1}: {lost} sectors lost; {claims.records()} records, version"
                    f" {claims.switched}; wrong: {claims.wrong or 'nothing'}",
                    file=sys.stderr,
                    flush=True,
                )
            last_look(machine, claims)
            lost, flushes = disk.lost, disk.flushes
    return [
        Finding(
            f"power cuts ({cuts}, synchronous={synchronous}): what was durable is there",
            "0 wrong",
            f"{len(claims.wrong)} wrong; {claims.records():,} records acknowledged,"
            f" {claims.switched} versions fetched and switched; {lost:,} sectors lost,"
            f" {flushes:,} flushes; {time.monotonic() - began:.0f} s"
            + "".join(f"; {wrong}" for wrong in claims.wrong[:3]),
            not claims.wrong and claims.records() > 0 and claims.switched > 0,
        )
    ]


def main() -> int:
    """Prints findings as JSON."""
    parser = argparse.ArgumentParser(description="power cuts of a virtual machine")
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--synchronous", choices=("FULL", "NORMAL"), default="FULL")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().getrandbits(32)
    print(f"seed {seed}", file=sys.stderr)
    try:
        found = powercut(asked.cuts, seed, asked.synchronous)
    except MissingError as error:
        print(f"powercut: {error}", file=sys.stderr)
        return 1
    print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
