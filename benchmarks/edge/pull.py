"""T4: a large image over a slow link that is cut again and again, while the agent is killed and
starts anew. What went over the link, by the size of the image; `docker pull` beside it.

    python -m benchmarks.edge.pull                       # 200 MB, 16 Mbit/s, a cut each 1.5 s
    python -m benchmarks.edge.pull --size-mb 1000 --mbit 2 --cut-each 60    # for an hour
    python -m benchmarks.edge.pull --no-docker

Bytes are counted in the relay, as it hands them to the connection: what a cut loses counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.edge.network import BadNetwork
from benchmarks.edge.releases import Release, Releases
from benchmarks.outcome import Finding
from edge.errors import PullError
from edge.pull.puller import RegistryPuller
from edge.stock.device_stock import DeviceStock
from registry.trust.public_key import PublicKey

REACH = 1.02
CUTS_PER_KILL = 5
MOVED_BYTES = 64 * 1024
ALLOWED_SIZES = 4.0
ALLOWED_TIMES = 8.0
"""Who has taken so many times the image, or its time without cuts, and is not done, is stopped."""


@dataclass(frozen=True, slots=True)
class Link:
    """``cut_each_s``: every connection is reset then; after five cuts whoever pulls is killed."""

    bytes_per_s: float
    cut_each_s: float


@dataclass(frozen=True, slots=True)
class Taken:
    """How it went."""

    is_done: bool
    bytes_taken: int
    seconds: float
    cuts: int
    kills: int
    starts: int


def take(
    releases: Releases,
    link: Link,
    size_bytes: int,
    start: Callable[[int], subprocess.Popen[bytes]],
) -> Taken:
    """``start`` gets the port of the link, and gives a process that leaves with 0 when it has the
    image; it is started again whenever it ends."""
    with BadNetwork(releases.address, bytes_per_s=link.bytes_per_s) as network:
        began = time.monotonic()
        cuts = kills = seen = 0
        starts = 1
        process = start(network.port)
        cut_at = began + link.cut_each_s
        try:
            while (
                network.down_bytes < ALLOWED_SIZES * size_bytes
                and time.monotonic() < began + ALLOWED_TIMES * size_bytes / link.bytes_per_s
            ):
                code = _wait(process, cut_at - time.monotonic())
                if code == 0:
                    break
                if code is None:
                    cut_at += link.cut_each_s
                    if network.down_bytes - seen < MOVED_BYTES:
                        continue  # nothing is under way: nothing to cut
                    network.cut()
                    cuts, seen = cuts + 1, network.down_bytes
                    if cuts % CUTS_PER_KILL:
                        continue
                    if _wait(process, link.cut_each_s / 2) == 0:
                        break
                    process.kill()
                    process.wait()
                    kills += 1
                process = start(network.port)
                starts += 1
        finally:
            process.kill()
            process.wait()
        seconds = time.monotonic() - began
        return Taken(process.returncode == 0, network.down_bytes, seconds, cuts, kills, starts)


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> int | None:
    try:
        return process.wait(max(0.0, timeout_s))
    except subprocess.TimeoutExpired:
        return None


def take_ours(releases: Releases, release: Release, link: Link, state: Path) -> Taken:
    """With the agent's puller in a process of its own."""

    def start(port: int) -> subprocess.Popen[bytes]:
        words = [f"http://127.0.0.1:{port}", releases.key.raw.hex(), release.name, release.digest]
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.edge.pull", "--child", str(state), *words]
        )

    return take(releases, link, release.size_bytes, start)


def take_docker(releases: Releases, release: Release, link: Link) -> Taken:
    """With the Docker Engine of this machine; the image is removed from it."""
    names = []

    def start(port: int) -> subprocess.Popen[bytes]:
        names.append(f"127.0.0.1:{port}/{release.name}")
        return subprocess.Popen(
            ["docker", "pull", "--quiet", names[-1]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    try:
        return take(releases, link, release.size_bytes, start)
    finally:
        for name in set(names):
            subprocess.run(["docker", "image", "rm", name], check=False, capture_output=True)


def pull_here(state: Path, url: str, key: str, name: str, digest: str) -> None:
    """As an agent: until the image is there, whatever the network does."""
    state.mkdir(parents=True, exist_ok=True)
    with closing(DeviceStock(state, reserve_bytes=0, boot_id="one")) as stock:
        puller = RegistryPuller(stock, url, token=None, trusted=[PublicKey(bytes.fromhex(key))])
        while True:
            try:
                puller.pull(
                    name, digest, keep=list, on_progress=lambda *_: None, is_cancelled=lambda: False
                )
                return
            except PullError as error:
                if not error.is_temporary:
                    raise
                time.sleep(0.2)


def measure(size_bytes: int, link: Link, folder: Path, *, has_docker: bool = True) -> list[Finding]:
    """One image, by each."""
    found = []
    with Releases(folder) as releases:
        release = releases.push("big", 1, size_bytes)
        what = (
            f"an image of {release.size_bytes / 1e6:.0f} MB at {link.bytes_per_s * 8 / 1e6:.0f}"
            f" Mbit/s, a cut each {link.cut_each_s:g} s, killed each {CUTS_PER_KILL} cuts:"
            " bytes by size"
        )
        ours = take_ours(releases, release, link, folder / "state")
        ratio = ours.bytes_taken / release.size_bytes
        found.append(
            Finding(what, f"<= {REACH}", _said(ours, release), ours.is_done and ratio <= REACH)
        )
        if has_docker:
            docker = take_docker(releases, release, link)
            found.append(Finding(f"docker pull: {what}", "", _said(docker, release), None))
    return found


def _said(taken: Taken, release: Release) -> str:
    end = "" if taken.is_done else ", and not done: stopped"
    return (
        f"{taken.bytes_taken / release.size_bytes:.4f} ({taken.seconds:.0f} s, {taken.cuts} cuts,"
        f" {taken.kills} kills, {taken.starts} starts{end})"
    )


def main() -> None:
    """Prints figures as JSON."""
    if sys.argv[1:2] == ["--child"]:
        pull_here(Path(sys.argv[2]), *sys.argv[3:7])
        return
    parser = argparse.ArgumentParser(description="T4: a pull over a link that is cut")
    parser.add_argument("--size-mb", type=float, default=200.0)
    parser.add_argument("--mbit", type=float, default=16.0)
    parser.add_argument("--cut-each", type=float, default=1.5, metavar="S")
    parser.add_argument("--no-docker", action="store_true")
    asked = parser.parse_args()
    link = Link(asked.mbit * 1e6 / 8, asked.cut_each)
    with tempfile.TemporaryDirectory(prefix="pull-") as folder:
        findings = measure(
            int(asked.size_mb * 1e6), link, Path(folder), has_docker=not asked.no_docker
        )
    print(msgspec.json.format(msgspec.json.encode(findings), indent=2).decode())


if __name__ == "__main__":
    main()
