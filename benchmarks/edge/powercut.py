"""T3: what a device said is durable is there after a power cut, whatever the disk's cache lost.

    python -m benchmarks.edge.powercut --cuts 20 [--seed 1] [--kvm] [--keep FOLDER]

A virtual machine (QEMU; with --kvm a quicker one, where KVM works) boots Debian's kernel and writes
telemetry and images (powercut_guest.py) to a disk whose cache forgets what was not flushed
(volatile_disk.py). At random moments it is killed; then it boots again and says what is there:

- each record that was acknowledged to its application, and that the hub was not said to have, is
  there under its number, and is the same; no number was given twice; the outbox's life is the same;
- each image that was marked as whole is, and no file in the store is empty or other than its name.

With --lie the disk forgets what it said was flushed, and something must be found wrong: so the
check is one.

Needs root, qemu-system-x86, linux-image-cloud-amd64 and e2fsprogs, and the base of container images
in /var/cache/inferry (scripts make it). Prints a JSON list of {what, reach, measured, reached}.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue

from benchmarks.edge.volatile_disk import VolatileDisk

ROOT = Path(__file__).parents[2]
OS_MB, DATA_MB = 900, 256
BOOT_S = 90.0
INIT = """#!/bin/bash
for each in proc sysfs; do mount -t $each $each /${each%fs} 2> /dev/null; done
mount -t tmpfs tmp /tmp
mount -t ext4 /dev/vdb /data || { echo "FAILED mount"; exec sleep 1000; }
cd /inferry; export PYTHONPATH=/inferry:/inferry/packages PYTHONDONTWRITEBYTECODE=1
echo "BOOTED"
python3 -m benchmarks.edge.powercut_guest 2>&1
echo "FAILED the guest ended"
exec sleep 1000
"""


@dataclass
class Promised:
    """What the machine said is durable, over all boots, and what was wrong with it."""

    life: str = ""
    records: dict[tuple[int, int], int] = field(default_factory=dict)
    acked: Counter[int] = field(default_factory=Counter)
    images: set[str] = field(default_factory=set)
    count: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def hear(self, words: Sequence[str]) -> None:
        """Of the time when it writes."""
        match words:
            case ["APPENDED", stream, seq, number]:
                key = (int(stream), int(seq))
                if key in self.records:
                    self.wrong.append(f"number {key} was given twice")
                self.records[key] = int(number)
                self.count["records"] += 1
            case ["ACKED", stream, seq]:
                self.acked[int(stream)] = max(self.acked[int(stream)], int(seq))
            case ["MARKED", digest]:
                self.images.add(digest)
                self.count["images"] += 1
            case ["COLLECTED"]:
                self.images.clear()
            case ["FAILED" | "Traceback", *_]:
                self.wrong.append(" ".join(words))

    def check(self, lines: Sequence[Sequence[str]]) -> None:
        """What it found after a boot."""
        held: dict[tuple[int, int], int] = {}
        base: dict[int, int] = {}
        next_seq: dict[int, int] = {}
        images: dict[str, str] = {}
        for words in lines:
            match words:
                case ["LIFE", life]:
                    if self.life not in ("", life):
                        self.wrong.append("the outbox began a new life")
                    self.life = life
                case ["BASE", stream, first, after]:
                    base[int(stream)], next_seq[int(stream)] = int(first), int(after)
                case ["HAVE", stream, seq, number]:
                    held[int(stream), int(seq)] = int(number)
                case ["GAP", *rest]:
                    self.wrong.append(f"a gap {rest}")
                case ["IMAGE", digest, how]:
                    images[digest] = how
                case ["BLOBS", _, empty, other]:
                    if (empty, other) != ("0", "0"):
                        self.wrong.append(f"{empty} empty files, {other} other than their name")
                case ["COLLECTED"]:
                    self._check_images(images)
                    self.images.clear()
                    images = {}
                case ["FAILED" | "Traceback", *_]:
                    self.wrong.append(" ".join(words))
        self._check_images(images)
        self._check_records(held, base, next_seq)

    def _check_images(self, images: dict[str, str]) -> None:
        self.count["images found"] += len(self.images)
        self.wrong += [f"image {each} is {how}" for each, how in images.items() if how != "ok"]
        self.wrong += [f"image {each} is gone" for each in self.images - images.keys()]

    def _check_records(
        self, held: dict[tuple[int, int], int], base: dict[int, int], next_seq: dict[int, int]
    ) -> None:
        for stream, first in base.items():
            if first > self.acked[stream] + 1:
                self.wrong.append(f"stream {stream} begins at {first}: more was forgotten")
        for key, number in list(self.records.items()):
            stream, seq = key
            if held.get(key) == number:
                self.count["records found"] += 1
            elif seq > self.acked[stream]:
                self.wrong.append(f"record {key} is {held.get(key, 'gone')}")
            if seq <= self.acked[stream]:
                del self.records[key]
        # What was durable, and nobody had been told yet, keeps its number too.
        self.records.update({k: n for k, n in held.items() if k[1] > self.acked[k[0]]})


class Machine:
    """One boot, until it is killed."""

    def __init__(self, folder: Path, address: Path, *, is_kvm: bool) -> None:
        kernel = max(Path("/boot").glob("vmlinuz-*-cloud-amd64"))
        initrd = kernel.with_name(kernel.name.replace("vmlinuz", "initrd.img"))
        drive = "virtio-blk-pci,drive={0},logical_block_size=4096,physical_block_size=4096"
        self._process = subprocess.Popen(
            [
                *("qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none"),
                *("-accel", "kvm" if is_kvm else "tcg", "-cpu", "host" if is_kvm else "max"),
                *("-m", "512", "-smp", "2", "-serial", "stdio"),
                *("-kernel", str(kernel), "-initrd", str(initrd)),
                *("-append", "root=/dev/vda ro console=ttyS0 quiet loglevel=1 init=/init.sh"),
                *("-drive", f"file={folder / 'os.img'},format=raw,if=none,id=os,readonly=on"),
                *("-device", "virtio-blk-pci,drive=os"),
                *("-drive", f"file=nbd+unix:///?socket={address},format=raw,if=none,id=data,"
                            "cache=none"),
                *("-device", drive.format("data")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.lines: Queue[list[str]] = Queue()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def kill(self) -> list[list[str]]:
        """The power is cut. What it had said, and nobody has read yet."""
        self._process.kill()
        self._process.wait()
        self._thread.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        rest = []
        with contextlib.suppress(Empty):
            while True:
                rest.append(self.lines.get_nowait())
        return rest

    def until(self, word: str, timeout_s: float) -> list[list[str]]:
        """Lines up to the one that begins so. Raises TimeoutError."""
        found = []
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(Empty):
                found.append(self.lines.get(timeout=0.5))
                if found[-1][:1] == [word]:
                    return found
                if found[-1][:1] == ["FAILED"]:
                    break
        raise TimeoutError("\n".join(" ".join(words) for words in found[-30:]))

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):  # a line that the cut cut is no promise
                self.lines.put(line.decode("utf-8", "replace").split())


def make_images(folder: Path) -> None:
    """The machine's system, and an empty disk for its data."""
    base = max(Path("/var/cache/inferry").glob("base-*.tar"))
    system = folder / "system"
    system.mkdir()
    subprocess.run(["tar", "-xf", base, "-C", system, "--exclude=./usr/share/doc"], check=True)
    for name in ("data", "proc", "sys", "tmp", "dev", "inferry/packages"):
        (system / name).mkdir(parents=True, exist_ok=True)
    (system / "init.sh").write_text(INIT)
    (system / "init.sh").chmod(0o755)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("edge", "registry", "scoring", "benchmarks/edge", "benchmarks/__init__.py"):
        source, target = ROOT / name, system / "inferry" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignore)
        elif source.exists():
            shutil.copy(source, target)
    for source in _packages():
        target = system / "inferry/packages" / source.name
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignore)
        else:
            shutil.copy(source, target)
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096"]
    subprocess.run([*make, "-d", system, folder / "os.img", f"{OS_MB}M"], check=True)
    subprocess.run([*make, folder / "data.img", f"{DATA_MB}M"], check=True)
    shutil.rmtree(system)


def _packages() -> list[Path]:
    """What the guest's program imports from the site's packages."""
    code = (
        "import sys, benchmarks.edge.powercut_guest\n"
        "for m in list(sys.modules.values()):\n"
        "    print(getattr(m, '__file__', None) or '')\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    found = set()
    for line in said.splitlines():
        before, mark, after = line.partition("/site-packages/")
        if mark:
            found.add(Path(before + mark) / after.split("/")[0])
    return sorted(found)


def cut_again_and_again(
    folder: Path, cuts: int, seed: int, *, is_kvm: bool, lies: bool = False
) -> tuple[Promised, Counter[str]]:
    """Each time at a random moment."""
    dice, promised = random.Random(seed), Promised()
    cache: Counter[str] = Counter()
    address = folder / "disk.sock"
    with VolatileDisk(folder / "data.img", address, seed, lies=lies) as disk:
        for number in range(cuts + 1):
            with _running(folder, address, is_kvm) as machine:
                machine.until("BOOTED", BOOT_S)
                promised.check(machine.until("CHECKED", BOOT_S))
                until = time.monotonic() + dice.uniform(0.05, 3.0)
                while number < cuts and (left_s := until - time.monotonic()) > 0:
                    with contextlib.suppress(Empty):
                        promised.hear(machine.lines.get(timeout=left_s))
                for words in machine.kill():
                    promised.hear(words)
            lost, kept = disk.cut_power()
            cache.update(lost=lost, kept=kept)
            print(
                f"cut {number + 1}: {len(promised.records)} records and {len(promised.images)}"
                f" images must be there; of the disk's cache {lost} blocks lost, {kept} kept;"
                f" {len(promised.wrong)} wrong",
                file=sys.stderr,
            )
            if promised.wrong:
                break
        cache["flushes"] = disk.flushes
    return promised, cache


@contextlib.contextmanager
def _running(folder: Path, address: Path, is_kvm: bool) -> Iterator[Machine]:
    machine = Machine(folder, address, is_kvm=is_kvm)
    try:
        yield machine
    finally:
        machine.kill()


def main() -> None:
    """Print the list; ends with 1 when something was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kvm", action="store_true")
    parser.add_argument("--lie", action="store_true", help="a disk that does not keep its word")
    parser.add_argument("--keep", type=Path, help="a folder to leave the disks in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="powercut-") as temporary:
        folder = arguments.keep or Path(temporary)
        make_images(folder)
        promised, cache = cut_again_and_again(
            folder, arguments.cuts, arguments.seed, is_kvm=arguments.kvm, lies=arguments.lie
        )
    for line in promised.wrong[:20]:
        print(line, file=sys.stderr)
    measured = {"cuts": arguments.cuts, "wrong": len(promised.wrong), **promised.count, **cache}
    print(
        json.dumps(
            [
                {
                    "what": "power cuts of a virtual machine: nothing that was durable is lost",
                    "reach": ">= 20 cuts, 0 wrong",
                    "measured": measured,
                    "reached": not promised.wrong and arguments.cuts >= 20,
                }
            ],
            indent=1,
        )
    )
    sys.exit(bool(promised.wrong))


if __name__ == "__main__":
    main()
