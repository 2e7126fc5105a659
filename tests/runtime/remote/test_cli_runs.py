"""Runs, deployments, targets and datastores: the same by folder and by URL."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from registry.deployments import Observed, Replica, Share
from runtime.tracking import Run
from runtime.tracking.unsent import Unsent
from tests.registry.onnx_files import adder
from tests.runtime.conftest import Cli
from tests.runtime.remote.served import Served, serving
from tests.runtime.test_model import assert_refused

READING = (
    ("experiment", "list"),
    ("experiment", "show", "a/b"),
    ("run", "list"),
    ("run", "list", "a/b", "--limit", "1"),
    ("run", "list", "-f", "metrics.loss < 0.1", "--order-by", "metrics.loss"),
    ("run", "list", "--deleted"),
    ("run", "show", "a/b:1", "--environment"),
    ("run", "metrics", "a/b:1"),
    ("run", "metrics", "a/b:1", "loss"),
    ("run", "metrics", "a/b:1", "loss", "--points", "10"),
    ("run", "files", "a/b:1"),
    ("deployment", "list"),
    ("deployment", "show", "web"),
    ("deployment", "ledger"),
    ("deployment", "ledger", "web", "--at", "2100-01-01"),
    ("deployment", "keys", "web"),
    ("target", "list"),
    ("target", "show", "local"),
    ("datastore", "list"),
    ("datastore", "show"),
)
PLAIN = (
    ("run", "value", "a/b:1", "rows"),
    ("run", "log", "a/b:1"),
    ("run", "show", "nothing:1"),
    ("run", "show", "a/b/c:1"),
    ("run", "list", "-f", "x"),
    ("run", "delete", "a/b:1", "--forever"),
    ("run", "cancel", "a/b:1"),
    ("experiment", "show", "nothing/at/all"),
    ("deployment", "show", "nobody"),
    ("deployment", "logs", "nobody"),
    ("deployment", "rollback", "web"),
    ("deployment", "ledger", "nobody"),
    ("target", "detach", "local"),
    ("datastore", "detach", "workspace"),
)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose workspace has a run, what came of it, and nobody who keeps deployments."""
    folder = tmp_path_factory.mktemp("full")
    workspace = Workspace.init(folder / "ws", base="none")
    with Run("a/b", name="first", params={"d": 3}, workspace=workspace.root, outputs=None) as run:
        for step in range(100):
            run.log("loss", 1 / (step + 1), step=step)
        run.log("odd", math.nan)
        run.log_row("rows", a=1)
        run.note("half way\nmore")
        run.upload_file("out/m.onnx", adder(folder / "m.onnx"))
        run.register_model("adder", folder / "m.onnx")
    with Run("a/b", workspace=workspace.root, outputs=None) as other:
        pass
    workspace.tracking.runs.delete(other.id)
    workspace.images.create("adder", models=["adder"], proof=False)
    workspace.deployments.create("web", "adder", actor="ada", secrets={"s": b"secret"})
    change = workspace.deployments.get("web").change
    seen = Observed(
        "running",
        None,
        "http://127.0.0.1:1",
        change,
        (Replica("web.1.a", 1, "ready"),),
        "2026-11-27T12:00:00Z",
    )
    workspace.deployments.observe("web", seen)
    with serving({"default": folder / "ws"}) as found:
        yield found


@pytest.fixture
def both(full: Served, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line, with no token and a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("INFERRY_TOKEN", "INFERRY_CA", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return cli


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_what_reads_gives_the_same_by_folder_and_by_url(
    full: Served, both: Cli, command: tuple[str, ...]
) -> None:
    for output in ("table", "json"):
        here, there = (
            both(*command, "-o", output, "-w", where)
            for where in (str(full.local().root), full.url)
        )
        assert here.code == 0, here.stderr
        assert there == here


@pytest.mark.parametrize("command", PLAIN, ids=" ".join)
def test_what_is_printed_or_refused_is_so_in_the_same_words(
    full: Served, both: Cli, command: tuple[str, ...]
) -> None:
    here, there = (both(*command, "-w", where) for where in (str(full.local().root), full.url))
    assert there == here


def test_runs_are_changed_by_url(
    full: Served, both: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_WORKSPACE", full.url)
    runs = full.local().tracking.runs
    assert both("run", "tag", "a/b:1", "k=v", "--property", "p=1").code == 0
    assert both("run", "tag", "a/b:1", "--remove", "k").code == 0
    assert (runs.get("a/b:1").tags, runs.get("a/b:1").properties) == ({}, {"p": "1"})
    assert both("run", "download", "a/b:1", "here").stdout == "Wrote 1 files to here\n"
    assert (tmp_path / "here/out/m.onnx").is_file()
    assert_refused(both("run", "download", "a/b:1", "here"), "there already")
    made = runs.create("changed")
    for command, is_deleted in ((("delete",), True), (("restore",), False)):
        assert both("run", *command, "changed:1").code == 0
        assert runs.get(made.id).is_deleted == is_deleted
    assert both("run", "cancel", "changed:1").code == 0
    runs.end(made.id, "killed")
    assert both("run", "delete", "--forever", "changed:1").code == 0
    assert both("experiment", "delete", "changed").code == 0
    assert both("experiment", "restore", "changed").code == 0


def test_what_a_run_left_is_sent(full: Served, both: Cli, tmp_path: Path) -> None:
    run = full.local().tracking.runs.create("left")
    log = {"client": "a", "number": 1, "points": [["x", 1.0, None, 1]]}
    folder = Unsent(run.id, full.url).keep([("POST", f"/runs/{run.id}/log", log)])
    assert both("run", "resend", str(folder)).stdout == f"Sent what was left of run {run.id}\n"
    assert full.local().tracking.metrics.latest(run.id)["x"].count == 1
    assert not folder.exists()
    assert_refused(both("run", "resend", str(folder)), "nothing")


def test_a_deployment_is_declared_followed_and_changed_by_url(
    full: Served, both: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_WORKSPACE", full.url)
    deployments = full.local().deployments
    (tmp_path / "s.txt").write_text("secret")
    done = both("deploy", "other", "--image", "adder", "--no-wait", "--secret", "s=s.txt")
    assert done.code == 0, done.stderr
    assert "inferry up" in done.stderr
    assert deployments.secrets("other") == {"s": b"secret"}
    late = both("deployment", "update", "other", "--replicas", "2", "--wait", "--timeout-s", "0.1")
    assert_refused_at_last(late.stderr, "is not as declared")
    assert deployments.get("other").service.least_replicas == 2
    assert both("deployment", "scale", "other", "1").code == 0
    assert both("deployment", "update", "other", "--env", "A=1").code == 0
    assert both("deployment", "traffic", "other", "1=60", "2=40").code == 0
    assert both("deployment", "rollback", "other", "1").code == 0
    assert both("deployment", "keys", "other", "--regenerate", "primary").code == 0
    assert both("deployment", "secret", "set", "other", "t", "s.txt").code == 0
    assert both("deployment", "secret", "remove", "other", "t").code == 0
    assert both("deployment", "delete", "other").code == 0
    deployments.forget("other")
    assert both("deployment", "delete", "web", "--wait", "--timeout-s", "0.1").code == 1
    actors = {each.actor for each in deployments.ledger("other")}
    assert actors == {full_actor(full)}


def test_a_deployment_that_runs_is_waited_for(
    full: Served, both: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_WORKSPACE", full.url)
    deployments = full.local().deployments
    deployments.create("ready", "adder", actor="ada")
    made = deployments.set_traffic("ready", [Share(1, 100.0)], actor="ada")
    seen = Observed(
        *("running", None, "http://127.0.0.1:2", made.change + 1),
        (Replica("ready.1.a", 1, "ready"),),
        "2026-11-27T12:00:00Z",
    )
    deployments.observe("ready", seen)
    done = both(
        "deployment", "update", "ready", "--sticky-header", "X-A", "--wait", "--timeout-s", "60"
    )
    assert (done.code, done.stdout) == (0, "http://127.0.0.1:2\n")


def test_targets_and_datastores_are_attached_by_url(
    full: Served, both: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_WORKSPACE", full.url)
    line = ("--kind", "edge", "--set", 'condition=line == "3"')
    assert both("target", "attach", "line3", *line, "--no-check").code == 0
    assert full.local().targets.get("line3").kind == "edge"
    assert_refused(both("target", "attach", "line4", "--kind", "edge"), "condition")
    assert both("target", "detach", "line3").code == 0
    given = ("--kind", "file", "--set", f"path={tmp_path}")
    made = both("datastore", "attach", "here", *given, "-o", "json")
    assert json.loads(made.stdout)["settings"] == {"path": str(tmp_path)}
    assert_refused(
        both("datastore", "attach", "gone", "--kind", "file", "--set", "path=/no/such"), "no folder"
    )
    assert both("datastore", "default", "here").code == 0
    assert both("datastore", "default", "workspace").code == 0
    assert both("datastore", "detach", "here").code == 0


def test_files_of_datastores_are_moved_by_url_with_the_same_words(
    full: Served, both: Cli, tmp_path: Path
) -> None:
    (tmp_path / "data/sub").mkdir(parents=True)
    (tmp_path / "data/a").write_bytes(b"12345")
    (tmp_path / "data/sub/b").write_bytes(b"1")
    place = f"path={tmp_path / 'store'}"
    (tmp_path / "store").mkdir()
    here, there = str(full.local().root), full.url
    assert both("datastore", "attach", "s", "--kind", "file", "--set", place, "-w", here).code == 0

    def said(*command: str) -> tuple[int, str, str]:
        done = both("datastore", *command, "-d", "s", "-w", where)
        return done.code, done.stdout, done.stderr

    found = []
    for where in (here, there):
        found.append(
            [
                said("upload", "data", "up"),
                said("upload", "data", "up"),
                said("upload", "data/a", "more", "-o", "json"),
                said("ls")[1].splitlines()[0].split(),
                sorted(each["path"] for each in json.loads(said("ls", "-o", "json")[1])),
                said("download", "up/sub", f"got{len(where)}"),
                said("download", ".", f"got{len(where)}", "-o", "json"),
                said("download", "none", "got"),
                (tmp_path / "data/a").write_bytes(b"54321"),
                said("upload", "data", "up"),
                said("upload", "data", "up", "--overwrite"),
                said("delete", "up"),
                said("delete", "none"),
                said("delete", "../x"),
                said("delete", "up/a", "-o", "json"),
                said("delete", ".", "-r"),
                said("ls", "-o", "json"),
                (tmp_path / "data/a").write_bytes(b"12345"),
            ]
        )
        assert (tmp_path / f"got{len(where)}/up/sub/b").read_bytes() == b"1"
    assert found[0] == found[1]
    assert found[0][0] == (0, "Uploaded 2 files (6 B)\n", "")
    assert both("datastore", "detach", "s", "-w", here).code == 0


def test_what_is_of_the_services_machine_is_an_owners_to_name(
    both: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({"default": tmp_path / "ws"}) as closed:
        workspace = closed.local()
        workspace.models.register(adder(tmp_path / "m.onnx"), name="adder")
        workspace.images.create("adder", models=["adder"], proof=False)
        tokens = closed.site.distributions["default"].tokens
        secrets = {role: tokens.create(role, role, None) for role in ("contributor", "owner")}
        monkeypatch.setenv("INFERRY_WORKSPACE", closed.url)
        monkeypatch.setenv("INFERRY_TOKEN", secrets["contributor"])
        hook = ("--before-scale-command", "/bin/true")
        given = ("--kind", "file", "--set", f"path={tmp_path}")
        assert_refused(both("deploy", "web", "--image", "adder", "--no-wait", *hook), "owner")
        assert_refused(both("datastore", "attach", "here", *given), "owner")
        assert_refused(both("target", "attach", "d", "--kind", "docker", "--no-check"), "owner")
        assert both("deploy", "web", "--image", "adder", "--no-wait").code == 0
        assert_refused(both("deployment", "update", "web", *hook), "owner")
        assert {each.actor for each in workspace.deployments.ledger("web")} == {"contributor"}
        monkeypatch.setenv("INFERRY_TOKEN", secrets["owner"])
        assert both("deployment", "update", "web", *hook).code == 0
        assert both("datastore", "attach", "here", *given).code == 0
        monkeypatch.setenv("INFERRY_TOKEN", secrets["contributor"])
        done = both("deployment", "update", "web", "--replicas", "2")  # the hook stays as it is
        assert done.code == 0, done.stderr
        opened = {each.route for each in closed.site.audit("default").list()}
        both("deployment", "keys", "web")
        assert {e.route for e in closed.site.audit("default").list()} - opened == {
            "deployments.keys"
        }


def full_actor(full: Served) -> str:
    """Whom a service without tokens takes everybody for."""
    with full.remote() as remote:
        return remote.client.info().who


def assert_refused_at_last(stderr: str, words: str) -> None:
    assert words in stderr.splitlines()[-1]
