"""Every list of the service ends somewhere, and those that grow by themselves go on page by page,
whatever comes and goes between two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

import httpx
import pytest

from registry import Workspace
from registry.distribution import Distribution
from registry.tracking import RunRecord
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.route import Route
from runtime.workspace_service.routes import TABLE
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.registry.onnx_files import adder
from tests.runtime.workspace_service.asked import ask

API = "/api/v1/workspaces/default"
LISTS = [
    route
    for route in TABLE.routes
    if route.method == "GET" and (route.is_paged or get_origin(route.hints.get("return")) is list)
]
WHOLE = {
    "activity_hooks.list": "an owner adds each by hand",
    "datastores.list": "a contributor attaches each by hand",
    "targets.list": "each is a machine",
    "deployments.live_at": "one entry, or none",
    "metrics.chart": "as many points as are asked for, at most",
    "metrics.values": "from an offset on, so many bytes at most",
}


@pytest.mark.parametrize("route", LISTS, ids=lambda route: str(route.name))
def test_a_list_has_pages_or_a_limit(route: Route) -> None:
    has_end = route.is_paged or "limit" in route.hints
    assert has_end != (route.name in WHOLE)


@dataclass
class Made:
    """A service whose workspace has a few of everything."""

    app: ServiceApp
    workspace: Workspace
    distribution: Distribution
    run: RunRecord
    secret: str
    names: dict[str, str]

    def ask(self, path: str) -> httpx.Response:
        """As the owner."""
        headers = {"Authorization": f"Bearer {self.secret}"}
        return ask(self.app, "GET", f"{API}{path}", headers=headers)

    def pages(self, path: str, between: Callable[[int], None]) -> list[list[dict[str, Any]]]:
        """Two by two; ``between`` gets the number of pages there were."""
        found, mark = [], "&" if "?" in path else "?"
        answer = self.ask(f"{path}{mark}limit=2")
        while True:
            assert answer.status_code == 200, answer.text
            found.append(answer.json())
            link = answer.links.get("next", {}).get("url")
            if link is None:
                return found
            between(len(found))
            answer = self.ask(f"{path.partition('?')[0]}{link}")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    adder(tmp_path / "adder.onnx")
    for _ in range(2):
        workspace.models.register(tmp_path / "adder.onnx", name="adder")
    workspace.images.create("adder", models=["adder"], proof=False)
    distribution = Distribution.open(workspace.root)
    secret = distribution.tokens.create("owner", "owner", None)
    for number in range(6):
        distribution.tokens.create(f"t{number}", "reader", None)
        workspace.aliases.set("adder", "champion", 1 + number % 2)
        workspace.deployments.create(f"d{number}", "adder:1", actor="ada")
    run = workspace.tracking.runs.create("nightly")
    for number in range(4):
        child = workspace.tracking.runs.create("nightly", parent=run.id, name=f"c{number}")
        workspace.tracking.runs.create("nightly", parent=child.id, name=f"c{number}.0")
        (tmp_path / "f").write_text(f"{number}")
        for folder in ("out", "out ut"):
            workspace.tracking.files.upload(run.id, tmp_path / "f", f"{folder}/é{number}")
    app = ServiceApp(Site({"default": workspace.root}), ServiceConfig())
    names = {"id": run.id, "ref": run.id, "name": "adder"}
    yield Made(app, workspace, distribution, run, secret, names)
    app.close()


@pytest.mark.parametrize(
    "route", [each for each in LISTS if "limit" in each.hints], ids=lambda route: str(route.name)
)
def test_nobody_gets_more_by_asking_for_more(made: Made, route: Route) -> None:
    path = route.path.format_map(made.names)
    answer = made.ask(f"{path}?limit=10000000{'&key=loss' if 'key' in route.hints else ''}")
    assert answer.status_code == 400, answer.text
    assert " 1 to " in answer.json()["error"]["message"]


def of_pages(pages: list[list[dict[str, Any]]], key: str) -> list[Any]:
    """One field of all items; all pages but the last are full."""
    assert all(len(page) == 2 for page in pages[:-1])
    return [each[key] for page in pages for each in page]


def nothing(number: int) -> None:
    """Happens between two pages."""


def test_child_runs(made: Made) -> None:
    path = f"/runs/{made.run.id}/children"
    assert of_pages(made.pages(path, nothing), "name") == ["c0", "c1", "c2", "c3"]
    runs = made.workspace.tracking.runs
    everything = [each.name for each in runs.children(made.run.id, recursive=True)]
    assert len(everything) == 8

    def between(number: int) -> None:
        runs.create("nightly", parent=made.run.id, name=f"new{number}")
        if number == 2:
            runs.update(runs.children(made.run.id)[0].id, status="finished")

    found = of_pages(made.pages(f"{path}?recursive=true", between), "name")
    assert found[:8] == everything
    assert len(found) == len(set(found))


def test_the_files_of_a_run(made: Made, tmp_path: Path) -> None:
    files = made.workspace.tracking.files
    everything = [file.path for file in files.list(made.run.id)]

    def between(number: int) -> None:
        files.upload(made.run.id, tmp_path / "f", f"a{number}")  # before what was shown
        files.upload(made.run.id, tmp_path / "f", f"z{number}")

    found = of_pages(made.pages(f"/runs/{made.run.id}/files", between), "path")
    assert found[: len(everything)] == everything
    assert found[len(everything) :][:3] == ["z1", "z2", "z3"]
    assert len(found) == len(set(found))
    inside = of_pages(made.pages(f"/runs/{made.run.id}/files?folder=out", nothing), "path")
    assert inside == [f"out/é{number}" for number in range(4)]


def test_what_aliases_meant(made: Made) -> None:
    def between(number: int) -> None:
        made.workspace.aliases.set("adder", "latest-good", 1 + number % 2)

    found = made.pages("/models/adder/alias-changes", between)
    assert of_pages(found, "alias")[:9] == ["champion"] * 6 + ["latest-good"] * 3
    of_one = made.pages("/models/adder/alias-changes?alias=champion", nothing)
    assert of_pages(of_one, "version") == [1, 2, 1, 2, 1, 2]


def test_tokens(made: Made) -> None:
    def between(number: int) -> None:
        made.distribution.tokens.create(f"new{number}", "reader", None)
        made.distribution.tokens.revoke(f"t{number}")

    found = of_pages(made.pages("/tokens", between), "name")
    assert found[:7] == ["owner", *(f"t{number}" for number in range(6))]
    assert found[7:] == [f"new{number}" for number in range(1, len(found) - 6)]


def test_deployments(made: Made) -> None:
    def between(number: int) -> None:
        made.workspace.deployments.create(f"a{number}", "adder:1", actor="ada")

    found = of_pages(made.pages("/deployments", between), "name")
    assert found == [f"d{number}" for number in range(6)]
