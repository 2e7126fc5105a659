"""kill -9 of a process that appends: each number that it was given is there."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.edge.outbox.boxes import batches, opened, records

CHILD = """
import os, signal, sqlite3, sys, threading
from pathlib import Path
from edge.clock import DeviceClock
from edge.outbox.outbox import Outbox
from edge.outbox.record import NewRecord

path, dies_at = Path(sys.argv[1]), int(sys.argv[2])
commits = 0

class Connection(sqlite3.Connection):
    def execute(self, statement, *rest):
        global commits
        if statement == "COMMIT" and threading.current_thread().name == "outbox":
            commits += 1
            if commits == dies_at:
                if dies_at % 2:
                    super().execute(statement, *rest)
                os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(statement, *rest)

connect = sqlite3.connect
sqlite3.connect = lambda *args, **named: connect(*args, factory=Connection, **named)
box = Outbox(path, DeviceClock(None))
lock = threading.Lock()

def work(stream):
    number = 0
    while True:
        number += 1
        seqs = box.append([NewRecord(stream, "m", "k", b"%d" % (number * 10 + i)) for i in (0, 1)])
        with lock:
            os.write(1, b"%d %d %d\\n" % (stream, seqs[0], number * 10))

for stream in (0, 1, 1, 2):
    threading.Thread(target=work, args=(stream,), daemon=True).start()
threading.Event().wait()
"""


def _run(path: Path, dies_at: int, lines: int = 10**9) -> list[tuple[int, int, int]]:
    """What it printed before it was killed: stream, first number, body."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(dies_at)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    found = []
    with child:
        for line in child.stdout:
            if line.endswith("\n"):
                found.append(line)
            if len(found) >= lines:
                child.kill()
        child.wait(60)
    return [tuple(map(int, line.split())) for line in found]  # type: ignore[misc]


@pytest.mark.parametrize("seed", range(4))
def test_every_number_that_was_given_is_there(tmp_path: Path, seed: int) -> None:
    path, dice = tmp_path / "o.db", random.Random(seed)
    given: dict[tuple[int, int], int] = {}
    life = ""
    for _ in range(3):
        by_commit = dice.random() < 0.6
        said = _run(path, dice.randint(2, 40) if by_commit else 0,
                    10**9 if by_commit else dice.randint(5, 80))  # fmt: skip
        for stream, first, body in said:
            for i in (0, 1):
                assert (stream, first + i) not in given
                given[stream, first + i] = body + i
        with opened(path) as box:
            assert life in ("", box.life)
            life = box.life
            for stream in range(4):
                found = {
                    record.seq: json.loads(bytes(record.body))
                    for batch in batches(box, stream)
                    for record in batch.records
                }
                assert not [g for b in batches(box, stream) for g in b.gaps]
                assert sorted(found) == list(range(1, len(found) + 1))
                mine = {seq: body for (of, seq), body in given.items() if of == stream}
                assert mine.items() <= found.items()
            box.append(records(1, stream=3))
            given[3, len([1 for of, _ in given if of == 3]) + 1] = {"n": 1, "pad": ""}  # type: ignore[assignment]
    assert len(given) > 10


def test_a_kill_within_a_salvage_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    with opened(path) as box:
        box.append(records(20))
        life = box.life
    child = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from edge.outbox import salvage\n"
        "from edge.clock import DeviceClock\n"
        "from edge.outbox.outbox import Outbox\n"
        "salvage.restore = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "box = Outbox(Path(sys.argv[1]), DeviceClock(None))\n"
        "box.acknowledge(1, 99)\n"
        "box._thread.join(60)\n"
    )
    result = subprocess.run([sys.executable, "-c", child, str(path)], timeout=30, check=False)
    assert result.returncode == -9
    assert path.with_name("o.db.damaged").exists()
    with opened(path) as box:
        assert box.life != life
        assert sum(len(batch.records) for batch in batches(box)) == 20
        life = box.life
    with opened(path) as box:  # once
        assert box.life == life
        assert sum(len(batch.records) for batch in batches(box)) == 20
