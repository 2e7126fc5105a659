"""The audit log's bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace, audit
from registry.audit import Audit
from registry.database import Database
from registry.paths import WorkspacePaths


def _ask(log: Audit, who: str, status: int) -> None:
    entry = log.begin(
        who=who, role="reader", client="-", method="POST", route="models.register", path="/models"
    )
    log.end(entry, status)


def test_the_oldest_go_and_refusals_push_out_none_but_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("KEPT", 6), ("KEPT_REFUSED", 3), ("_TRIM_EVERY", 1)):
        monkeypatch.setattr(audit, name, value)
    workspace = Workspace.init(tmp_path / "ws", base="none")
    log = Audit(Database(WorkspacePaths(workspace.root).database))
    for status in (201, 200, 404):
        _ask(log, "ada", status)
    for _ in range(20):
        _ask(log, "mallory", 403)
    assert [entry.status for entry in log.list(who="ada")] == [404, 200, 201]
    assert len(log.list(who="mallory")) <= 4
    for _ in range(9):
        _ask(log, "bob", 200)
    assert {entry.who for entry in log.list()} == {"bob", "mallory"}
    assert len(log.list(who="bob")) == 6
