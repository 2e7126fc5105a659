from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edge.agent import log


def test_lines_are_plain_and_one_line_each(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log.set_up(tmp_path)
    logging.getLogger("edge.switch.updater").warning("module %s\nforged\x1b[31m line", "m")
    log.tear_down()
    found = (tmp_path / "agent.log").read_text().splitlines()
    assert len(found) == 1
    assert found[0].endswith("Z WARNING switch.updater: module m forged?[31m line")
    assert found[0] in capsys.readouterr().err.splitlines()


def test_a_full_file_becomes_the_one_before(tmp_path: Path) -> None:
    handler = log.KeptFile(tmp_path / "agent.log", max_bytes=100)
    handler.setFormatter(log.Lines())
    for number in range(9):
        handler.emit(logging.LogRecord("edge", 20, "", 0, f"{number} " + "x" * 60, (), None))
    handler.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"agent.log", "agent.log.1"}
    assert max(sizes.values()) < 300


def test_a_disk_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    handler = log.KeptFile(tmp_path / "nowhere" / "agent.log")
    handler.setFormatter(log.Lines())
    handler.emit(logging.LogRecord("edge", 20, "", 0, "x", (), None))
    handler.close()
    assert not (tmp_path / "nowhere").exists()
