"""A submitted run once more, by a button: the service carries it out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry import Workspace
from registry.distribution import Distribution
from registry.tracking import RunRecord
from runtime.portal.app import PortalApp
from runtime.registry_service.config import ServiceConfig
from runtime.run_service import RunService
from runtime.submission import make_config, submit
from runtime.workspace_service.site import Site
from tests.runtime.portal.browser_like import Visitor, portal

Submitted = Callable[..., RunRecord]
_NEW = re.compile(r'name="new" value="([0-9a-f]{32})"')


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in ("INFERRY_WORKSPACE", "INFERRY_RUN", "INFERRY_JOURNAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Workspace.init(tmp_path / "ws", base="none")


@pytest.fixture
def submitted(workspace: Workspace, tmp_path: Path) -> Submitted:
    """A run of a script that logs one number."""

    def run(**config: object) -> RunRecord:
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(
            "from runtime.tracking import Run\nRun.get_context().log('score', 7)\n"
        )
        wanted = make_config({"script": "train.py", "max_duration_s": 120, **config})
        return submit(workspace, wanted, folder, experiment="e", environment={"WORD": "secret"})

    return run


@contextmanager
def at_work(workspace: Workspace, *, allows_local_code: bool = True) -> Iterator[PortalApp]:
    site = Site({"default": workspace.root}, allows_local_code=allows_local_code, work=RunService)
    app = PortalApp(site, ServiceConfig())
    try:
        yield app
    finally:
        site.work.close()
        app.close()
        site.close()


def test_a_submitted_run_is_run_again_once_however_often_the_form_is_sent(
    workspace: Workspace, submitted: Submitted
) -> None:
    first = submitted()
    with at_work(workspace) as app:
        visitor = Visitor(app)
        text = visitor.get(f"/runs/{first.id}").text
        assert "1 file, to run on <bdi>local</bdi>" in text
        found = _NEW.search(text)
        assert found is not None
        for _ in range(2):
            answer = visitor.post(f"/runs/{first.id}/rerun", {"new": found[1]})
            assert answer.headers["location"] == f"/ui/w/default/runs/{found[1]}?note=rerun"
        runs = workspace.tracking.runs
        deadline = time.monotonic() + 60
        while not runs.get(found[1]).has_ended and time.monotonic() < deadline:
            time.sleep(0.05)
        again = runs.get(found[1])
        assert (again.status, again.metrics["score"].value) == ("finished", 7)
        assert again.experiment == first.experiment
        assert again.number == first.number + 1
        assert "submitted once more" in visitor.get(f"/runs/{again.id}?note=rerun").text
        other = _NEW.search(visitor.get(f"/runs/{first.id}").text)
        assert other is not None
        assert other[1] != found[1]
        for wrong in ({}, {"new": "x"}, {"new": "../../etc"}, {"new": "A" * 10_000}):
            assert visitor.post(f"/runs/{first.id}/rerun", wrong).status_code == 400
    assert [run.number for run in workspace.tracking.runs.search(limit=10).runs] == [
        again.number,
        first.number,
    ]


def test_what_was_not_submitted_has_no_button(workspace: Workspace) -> None:
    run = workspace.tracking.runs.create("e")
    with at_work(workspace) as app:
        visitor = Visitor(app)
        assert "Run again" not in visitor.get(f"/runs/{run.id}").text
        assert visitor.post(f"/runs/{run.id}/rerun", {"new": "a" * 32}).status_code == 404


def test_a_page_says_why_no_browser_runs_it_again(
    workspace: Workspace, submitted: Submitted
) -> None:
    run = submitted()
    passes = submitted(pass_environment=["WORD"])
    with at_work(workspace, allows_local_code=False) as app:
        visitor = Visitor(app)
        text = visitor.get(f"/runs/{run.id}").text
        assert "no client run code" in text
        assert "Run again" not in text
        answer = visitor.post(f"/runs/{run.id}/rerun", {"new": "a" * 32})
        assert answer.status_code == 403
        assert "no-local-code" in answer.text
    with at_work(workspace) as app:
        visitor = Visitor(app)
        text = visitor.get(f"/runs/{passes.id}").text
        assert "The values of WORD are kept nowhere" in text
        assert "Run again" not in text
        assert visitor.post(f"/runs/{passes.id}/rerun", {"new": "b" * 32}).status_code == 400
    app = portal(workspace.root)
    assert "This service runs no scripts." in Visitor(app).get(f"/runs/{run.id}").text
    app.close()
    assert len(workspace.tracking.runs.search(limit=10).runs) == 2


def test_a_reader_has_no_button(workspace: Workspace, submitted: Submitted) -> None:
    run = submitted()
    tokens = Distribution.open(workspace.root).tokens
    tokens.create("ada", "owner", None)
    secret = tokens.create("bob", "reader", None)
    with at_work(workspace) as app:
        visitor = Visitor(app)
        visitor.sign_in(secret)
        text = visitor.get(f"/runs/{run.id}").text
        assert "1 file, to run on" in text
        assert "Run again" not in text
        assert visitor.post(f"/runs/{run.id}/rerun", {"new": "a" * 32}).status_code == 403
