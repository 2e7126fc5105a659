"""``inferry model alias``, and NAME@ALIAS where a model is asked for: by folder and by URL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from tests.registry.onnx_files import adder
from tests.runtime.conftest import Cli
from tests.runtime.remote.served import Served, serving
from tests.runtime.test_model import assert_refused


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose workspace has two versions of a model in each of two names."""
    folder = tmp_path_factory.mktemp("aliases")
    workspace = Workspace.init(folder / "ws", base="none")
    for constant in (1.0, 2.0):
        file = adder(folder / "m.onnx", constant=constant)
        for name in ("folder", "url"):
            workspace.models.register(file, name=name)
    with serving({"default": folder / "ws"}) as found:
        yield found


@pytest.fixture(params=["folder", "url"])
def name(
    request: pytest.FixtureRequest,
    service: Served,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> str:
    """A model; the workspace is named by its folder or by its URL."""
    how = str(request.param)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("INFERRY_TOKEN", raising=False)
    monkeypatch.setenv("INFERRY_ACTOR", "ada")
    where = service.url if how == "url" else str(service.local().root)
    monkeypatch.setenv("INFERRY_WORKSPACE", where)
    return how


def test_an_alias_stands_for_a_version_wherever_a_model_is_asked_for(
    cli: Cli, name: str, tmp_path: Path
) -> None:
    best = f"{name}@best"
    assert cli("model", "alias", "set", best, "1").stdout == f"{best} means {name}:1\n"
    shown = json.loads(cli("model", "show", best, "-o", "json").stdout)
    assert (shown["version"], shown["aliases"]) == (1, ["best"])
    assert cli("model", "tag", best, "k=v").stdout == f"Tagged {name}:1\n"
    assert cli("model", "download", best, "out").code == 0
    made = cli("image", "create", "im", "--model", best, "--no-proof", "-o", "json")
    assert json.loads(made.stdout)["models"] == [f"{name}:1"]
    ref = f"im:{json.loads(made.stdout)['version']}"
    shown = json.loads(cli("image", "show", ref, "-o", "json").stdout)
    assert shown["came_from"] == [f"model {name}:1 (@best)"]
    assert_refused(cli("model", "delete", best), "is used")

    assert cli("model", "alias", "set", best, "2", "-o", "json").code == 0
    assert json.loads(cli("model", "show", best, "-o", "json").stdout)["version"] == 2
    listed = json.loads(cli("model", "alias", "list", name, "-o", "json").stdout)
    assert listed == [{"model": name, "alias": "best", "version": 2}]
    said = cli("model", "alias", "remove", best).stdout
    assert said == f"{best} means nothing; it was {name}:2\n"
    changes = json.loads(cli("model", "alias", "list", name, "--history", "-o", "json").stdout)
    assert [each["version"] for each in changes] == [1, 2, None]


def test_what_is_no_alias_is_refused_in_a_line(cli: Cli, name: str) -> None:
    assert_refused(cli("model", "show", f"{name}@none"), "no alias none; see inferry model alias")
    assert_refused(cli("model", "show", "nobody@none"), "no model 'nobody'")
    assert_refused(cli("model", "show", f"{name}@"), "alias '' is empty")
    assert_refused(cli("model", "show", f"{name}@a@b"), "alias 'a@b'")
    assert_refused(cli("model", "show", f"{name}@a:1"), "alias 'a:1'")
    assert_refused(cli("image", "show", f"{name}@a"), "image name")
    assert_refused(cli("model", "alias", "set", name, "1"), "names no alias")
    assert_refused(cli("model", "alias", "set", f"{name}@x", "9"), "there is no model")
    assert_refused(cli("model", "alias", "set", f"{name}@latest", "1"), "means a version already")
    assert_refused(cli("model", "alias", "remove", f"{name}@x"), "has no alias")
    assert_refused(cli("model", "alias", "list", "nobody"), "there is no model nobody")
    assert_refused(cli("serve", f"{name}@none"), "no file, model or image")


def test_an_owner_changes_which_formats_are_taken_by_url(
    cli: Cli, service: Served, name: str
) -> None:
    asked = cli("registry", "formats", "--allow", "pickle", "-o", "json")
    assert json.loads(asked.stdout) == {"pickle": "allowed", "unknown": "allowed"}
    assert service.local().settings.formats.allows_pickle
    assert cli("registry", "formats", "--refuse", "pickle").code == 0
    assert not service.local().settings.formats.allows_pickle
    if name == "url":
        said = json.loads(cli("audit", "list", "--limit", "1", "-o", "json").stdout)
        assert said[0]["route"] == "settings.change_formats"


def test_a_version_beyond_all_numbers_is_not_there(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("weights")
    assert cli("model", "register", "w.txt", "--name", "m").code == 0
    assert_refused(cli("model", "alias", "set", "m@a", "9" * 30), "there is no model 'm':999")
    assert_refused(cli("audit", "list", "--before", "9" * 30), "a number is too large")
