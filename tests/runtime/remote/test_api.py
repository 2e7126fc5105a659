"""The Python API of a workspace elsewhere is that of one here: what is not there is named, with
why."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from registry import Workspace
from runtime.remote import RemoteWorkspace

MADE = "of making and finding a workspace here"
PAGES = "pages are asked for by the methods that give all"
CONTROLLER = "only the controller and the service do this, beside the workspace"
PROCESS = "of the process that a run is; a script elsewhere uses runtime/tracking/distant.py"
STORE = "of the bytes in the workspace's own store"
HERE = {
    "": {"find": MADE, "init": MADE, "open": MADE, "model_names": STORE, "space": STORE},
    "activities": dict.fromkeys(("origin", "settle", "start"), CONTROLLER),
    "aliases": {"history_page": PAGES},
    "audit": dict.fromkeys(("begin", "end"), CONTROLLER),
    "datastores": {"check": "the service checks"},
    "deployments": {
        **dict.fromkeys(("attempt", "changes", "forget", "note", "observe", "secrets"), CONTROLLER),
        "page": PAGES,
    },
    "images": {
        **dict.fromkeys(("digests", "hold", "release", "write_index"), STORE),
        **dict.fromkeys(("page", "window"), PAGES),
    },
    "models": {"page": PAGES, "window": PAGES, "register_stored": STORE},
    "targets": {"checked": "the service checks"},
    "tracking": dict.fromkeys(("keep", "let_go", "open"), PROCESS),
    "tracking.runs": {
        **dict.fromkeys(("append_to_tag", "begin", "end", "schedule", "take"), PROCESS),
        "children_page": PAGES,
    },
    "tracking.metrics": {"rows": "of MLflow's routes", "value_series": "of the portal"},
    "tracking.files": {
        **dict.fromkeys(("add_stored", "chunks", "put"), STORE),
        "page": PAGES,
    },
    "tracking.snapshots": dict.fromkeys(
        ("chunks", "file", "held", "keep", "keep_stored", "write_zip"), STORE
    ),
}
"""What only a workspace here has."""
PARTS = (
    "activities", "aliases", "audit", "datastores", "deployments", "images", "lineage", "models",
    "settings", "targets", "tracking", "tracking.experiments", "tracking.runs", "tracking.metrics",
    "tracking.files", "tracking.snapshots",
)  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.init(tmp_path_factory.mktemp("api") / "ws", base="none")


@pytest.fixture(scope="module")
def there() -> Iterator[RemoteWorkspace]:
    """Nobody is asked."""
    with RemoteWorkspace("http://127.0.0.1:1") as made:
        yield made


def _part(workspace: object, path: str) -> object:
    for name in filter(None, path.split(".")):
        workspace = getattr(workspace, name)
    return workspace


def _methods(of: object) -> dict[str, inspect.Signature]:
    found = inspect.getmembers(type(of), inspect.isroutine)
    return {name: inspect.signature(each) for name, each in found if not name.startswith("_")}


def test_every_part_is_there(here: Workspace, there: RemoteWorkspace) -> None:
    public = {name for name in dir(here) if not name.startswith("_")}
    assert public - {name for name in dir(there) if not name.startswith("_")} == set(HERE[""])
    shown = public - set(HERE[""]) - {part for part in PARTS if "." not in part}
    assert shown == {"purge", "root"}


@pytest.mark.parametrize("path", PARTS)
def test_what_a_part_does_is_done_there_too_and_called_the_same(
    path: str, here: Workspace, there: RemoteWorkspace
) -> None:
    ours, theirs = _methods(_part(here, path)), _methods(_part(there, path))
    assert set(ours) - set(theirs) == set(HERE.get(path, {}))
    for name in set(ours) & set(theirs):
        # Here a function makes the artifact; there the service does, of what it is told.
        if (path, name) != ("images", "create_fpga"):
            assert _called(ours[name]) == _called(theirs[name]), name


def _called(signature: inspect.Signature) -> list[tuple[str, object, object]]:
    return [(each.name, each.kind, each.default) for each in signature.parameters.values()]
