"""kill -9 at any moment of pulling, unpacking and collecting leaves old or new, and goes on."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.stock.device_stock import DeviceStock
from registry.blobs import BlobStore
from tests.edge.pull.served import Served, make_puller, new_stock, pull
from tests.edge.stock.signed_images import KEY, Published, put_image

MODEL = os.urandom(200_000)
CHILD = """
import itertools, os, signal, sqlite3, sys
from pathlib import Path

from edge.pull.puller import RegistryPuller
from edge.stock.device_stock import DeviceStock
from registry.trust.public_key import PublicKey

url, key, old, new, where = sys.argv[1:]

def dies(function, calls, at):
    def call(*arguments, **named):
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call

def prepare(at):
    calls = itertools.count(1)
    if where == "COMMIT":
        class Connection(sqlite3.Connection):
            def execute(self, statement, *rest):
                if statement == "COMMIT" and next(calls) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().execute(statement, *rest)

        connect = sqlite3.connect
        sqlite3.connect = lambda *args, **named: connect(*args, factory=Connection, **named)
    else:
        setattr(os, where, dies(getattr(os, where), calls, at))
        if where == "unlink":
            Path.unlink = dies(Path.unlink, calls, at)

def work(state):
    stock = DeviceStock(Path(state), reserve_bytes=0, boot_id="b1")
    puller = RegistryPuller(
        stock, url, token=None, trusted=[PublicKey(bytes.fromhex(key))], draw=lambda: 0.0
    )
    puller.pull(
        "digits:2", new, keep=lambda: [old], on_progress=lambda *_: None, is_cancelled=lambda: False
    )
    stock.bundle(new)
    stock.collect([new], 10**18)
    stock.close()

for line in sys.stdin:  # one process of its own for each line, without starting Python again
    at, state = line.split()
    pid = os.fork()
    if pid == 0:
        prepare(int(at))
        work(state)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@contextmanager
def _victims(
    served: Served, old: Published, new: Published, where: str
) -> Iterator[Callable[[Path, int], int]]:
    """What runs one that dies before call number ``at`` of ``where``; its exit code."""
    url = f"http://{served.registry.host}"
    words = [sys.executable, "-c", CHILD, url, KEY.public.raw.hex(), old.digest, new.digest, where]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(state: Path, at: int) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            print(at, state, file=process.stdin, flush=True)
            return int(process.stdout.readline())

        try:
            yield run
        finally:
            process.stdin.close()
            process.wait(60)


def _is_right(stock: DeviceStock, image: Published) -> bool:
    """Whether it is whole; what is said to be whole is, in each byte."""
    if not stock.has(image.digest):
        return False
    for blob in image.all_blobs:
        assert stock.blobs.read(blob), "verified"
    assert (stock.bundle(image.digest) / "bundle.json").is_file()
    return True


@pytest.mark.slow
@pytest.mark.parametrize("where", ["fsync", "fchmod", "replace", "rename", "unlink", "COMMIT"])
def test_a_kill_at_every_call_leaves_old_or_new(served: Served, tmp_path: Path, where: str) -> None:
    """Dies before the first call of ``where``, then before the second, until none is left."""
    old, new = put_image(served.store, b"old"), put_image(served.store, MODEL, version=2)
    for each in (old, new):
        served.add(each)
    with new_stock(tmp_path / "before") as stock:
        pull(make_puller(stock, served), old)
        stock.bundle(old.digest)
    kills, found = 0, set()
    with _victims(served, old, new, where) as run:
        for at in itertools.count(1):
            state = tmp_path / f"state-{at}"
            shutil.copytree(tmp_path / "before", state)
            code = run(state, at)
            assert code in (0, -signal.SIGKILL)
            found.add(_check(state, served, old, new))
            if code == 0:
                break
            kills += 1
    assert kills >= 1
    if where in ("fsync", "replace", "COMMIT"):
        assert len(found) > 1, "all kills came at the same state: this shows nothing"


def _check(state: Path, served: Served, old: Published, new: Published) -> tuple[bool, bool]:
    """Which are whole; then the new one is pulled, from what is here."""
    served.sent.clear()
    with new_stock(state, boot_id="b2") as stock:
        are = (_is_right(stock, old), _is_right(stock, new))
        assert any(are), "neither old nor new"
        pull(make_puller(stock, served), new)
        assert _is_right(stock, new)
        assert served.sent.get(new.model, 0) <= (0 if are[1] else new.blobs[new.model])
        stock.collect([new.digest], 10**18)
        _assert_nothing_else(stock, stock.blobs, new)
    return are


def _assert_nothing_else(stock: DeviceStock, blobs: BlobStore, image: Published) -> None:
    assert {f"sha256:{p.name}" for p in blobs.paths.blobs.iterdir()} == {
        image.digest, *image.all_blobs,
    }  # fmt: skip
    assert list(stock.parts.iterdir()) == []
    assert list(blobs.paths.uploads.iterdir()) == []
    assert [p.name for p in stock._bundles.iterdir()] == [image.digest.removeprefix("sha256:")]
