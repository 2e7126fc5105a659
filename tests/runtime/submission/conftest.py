"""A folder to submit, and a workspace beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry import Workspace
from registry.tracking import RunRecord
from runtime.submission import make_config, submit
from tests.runtime.datastores.servers import Sshd, running_sshd

Submit = Callable[..., RunRecord]


@pytest.fixture(autouse=True)
def _no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not within a submitted run, and with a cache of its own."""
    for name in ("INFERRY_WORKSPACE", "INFERRY_RUN", "INFERRY_JOURNAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path / "workspace", base="none")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the script; empty."""
    made = tmp_path / "project"
    made.mkdir()
    return made


@pytest.fixture
def lines() -> list[str]:
    """What the scripts printed."""
    return []


@pytest.fixture
def run_script(workspace: Workspace, folder: Path, lines: list[str]) -> Submit:
    """``run_script("print(1)", target="gpu", **submit's)``: written as train.py, and submitted."""

    def run(text: str, config: dict[str, object] | None = None, **options: object) -> RunRecord:
        (folder / "train.py").write_text(text)
        wanted = make_config({"script": "train.py", "max_duration_s": 120, **(config or {})})
        return submit(
            workspace,
            wanted,
            folder,
            experiment="e",
            on_line=lines.append,
            **options,  # type: ignore[arg-type]
        )

    return run


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("submission-sshd")) as running:
        yield running
