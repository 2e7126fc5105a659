"""Experiments, runs, metrics and files by URL."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.blobs import BlobStore
from registry.datastores import Datastores
from registry.deployments import Deployments, Targets
from registry.errors import (
    DamagedBlobError,
    ImmutableError,
    InvalidNameError,
    InvalidSourceError,
    NameTakenError,
    NotFoundError,
    TargetExistsError,
)
from registry.paths import WorkspacePaths
from registry.tracking import Experiments, Metrics, RunFiles, Runs, Tracking
from runtime.remote.datastores import RemoteDatastores
from runtime.remote.deployments import RemoteDeployments
from runtime.remote.targets import RemoteTargets
from runtime.remote.tracking import (
    RemoteExperiments,
    RemoteMetrics,
    RemoteRunFiles,
    RemoteRuns,
    RemoteTracking,
)
from runtime.workspace_service.routes import metrics as metrics_routes
from runtime.workspace_service.routes import run_files
from runtime.workspace_service.sent_file import SentFile
from tests.runtime.remote.served import Served

PAIRS: tuple[tuple[type, type], ...] = (
    (RemoteExperiments, Experiments),
    (RemoteRuns, Runs),
    (RemoteMetrics, Metrics),
    (RemoteRunFiles, RunFiles),
    (RemoteDeployments, Deployments),
    (RemoteTargets, Targets),
    (RemoteDatastores, Datastores),
)
OWN = ("open_files", "logs", "shadow_counts", "has_controller", "attach_found", "score")
"""What a workspace here has elsewhere."""


@pytest.fixture
def there(served: Served) -> Iterator[RemoteTracking]:
    with served.remote() as found:
        yield found.tracking


@pytest.fixture
def here(served: Served) -> Tracking:
    return served.local().tracking


@pytest.mark.parametrize(("remote", "local"), PAIRS, ids=lambda kind: kind.__name__)
def test_the_methods_are_called_as_those_of_a_workspace_here(remote: type, local: type) -> None:
    for name, method in inspect.getmembers(remote, inspect.isfunction):
        if not name.startswith("_") and name not in OWN:
            ours, theirs = (
                [(each.name, each.kind, each.default) for each in found.parameters.values()]
                for found in map(inspect.signature, (method, getattr(local, name)))
            )
            assert ours == theirs, name


def test_experiments_are_made_named_and_removed(there: RemoteTracking, here: Tracking) -> None:
    made = there.experiments.create("x/y/tags", tags={"a": "b"})
    assert made == here.experiments.get("x/y/tags") == there.experiments.get("x/y/tags")
    with pytest.raises(NameTakenError):
        there.experiments.create("x/y/tags")
    assert there.experiments.tag("x/y/tags", set={"c": "d"}, remove=["a"]).tags == {"c": "d"}
    assert there.experiments.rename("x/y/tags", "x/y").name == "x/y"
    assert there.experiments.get_by_id(made.id).name == "x/y"
    assert there.experiments.delete("x/y").is_deleted
    assert [e.name for e in there.experiments.list(view="deleted")] == ["x/y"]
    assert not there.experiments.restore("x/y").is_deleted
    assert [e.name for e in there.experiments.list(filter="name LIKE 'x/%'")] == ["x/y"]
    there.experiments.remove("x/y")
    with pytest.raises(NotFoundError):
        there.experiments.get("x/y")


def test_runs_say_the_same_from_here_and_there(there: RemoteTracking, here: Tracking) -> None:
    made = there.runs.create("a/b", name="n", tags={"t": "1"}, params={"p": "1"}, status="running")
    points = [("loss", value, None, n) for n, value in enumerate((0.5, math.nan, math.inf))]
    there.runs.log(
        made.id, points=points, values=[("l", "list", 1, "[1]")], params={"q": "2"}, tags={"u": "3"}
    )
    child = there.runs.create("a/b", parent=made.id)
    for ref in (made.id, made.id[:12], "a/b:1"):
        assert repr(there.runs.get(ref)) == repr(here.runs.get(ref))
        assert [r.id for r in there.runs.children(ref)] == [child.id]
    assert repr(there.metrics.latest(made.id)) == repr(here.metrics.latest(made.id))
    assert repr(there.metrics.history(made.id, "loss")) == repr(
        here.metrics.history(made.id, "loss")
    )
    assert repr(there.metrics.chart(made.id, "loss", 2)) == repr(
        here.metrics.chart(made.id, "loss", 2)
    )
    assert there.metrics.values(made.id) == here.metrics.values(made.id)
    with pytest.raises(ImmutableError):
        there.runs.log(made.id, params={"q": "3"})
    there.runs.describe(made.id, revision="abc", environment='{"python": "3"}')
    digest = there.runs.get(made.id).environment
    assert digest is not None
    assert there.runs.environment(digest) == '{"python": "3"}'
    assert there.runs.environment("sha256:" + "0" * 64) is None
    assert there.runs.update(made.id, status="finished", name="m").name == "m"
    assert there.runs.cancel(child.id).cancel_requested
    assert there.runs.is_cancelled(child.id)
    assert there.runs.search(experiments=[]).runs == ()


def test_pages_follow_each_other(
    there: RemoteTracking, here: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = here.runs.create("pages")
    for _ in range(4):
        here.runs.create("pages")
    found, token = [], None
    for _ in range(3):
        page = there.runs.search(experiments=[run.experiment_id], limit=2, token=token)
        found += [each.number for each in page.runs]
        token = page.next_token
    assert (found, token) == ([5, 4, 3, 2, 1], None)
    here.runs.log(run.id, points=[("x", float(n), n, n) for n in range(25)])
    monkeypatch.setattr(metrics_routes, "MAX_POINTS", 10)
    assert [p.value for p in there.metrics.history(run.id, "x")] == [float(n) for n in range(25)]
    assert [p.step for p in there.metrics.history(run.id, "x", offset=8, limit=12)] == list(
        range(8, 20)
    )


def test_files_go_there_and_come_back(
    there: RemoteTracking, here: Tracking, tmp_path: Path
) -> None:
    run = here.runs.create("files")
    (tmp_path / "in/sub").mkdir(parents=True)
    big = os.urandom(3_000_000)
    (tmp_path / "in/big file.bin").write_bytes(big)
    (tmp_path / "in/sub/\u00e9.txt").write_text("x")
    made = there.files.upload(run.id, tmp_path / "in", "out")
    assert [f.path for f in made] == ["out/big file.bin", "out/sub/\u00e9.txt"]
    assert there.files.list(run.id, "out/sub") == here.files.list(run.id, "out/sub")
    assert there.files.read(run.id, "out/sub/\u00e9.txt") == b"x"
    there.files.download(run.id, tmp_path / "back", folder="out")
    assert (tmp_path / "back/out/big file.bin").read_bytes() == big
    with pytest.raises(TargetExistsError):
        there.files.download(run.id, tmp_path / "back")
    for wrong in ("../x", "/x", "C:\\x"):
        with pytest.raises(InvalidNameError):
            there.files.upload(run.id, tmp_path / "in/big file.bin", wrong)
    with pytest.raises(NotFoundError):
        there.files.download(run.id, tmp_path / "none", folder="nothing")
    there.files.remove(run.id, ["out/sub/\u00e9.txt"])
    assert [f.path for f in here.files.list(run.id)] == ["out/big file.bin"]


def test_a_damaged_file_is_not_taken_for_whole(
    there: RemoteTracking, here: Tracking, served: Served, tmp_path: Path
) -> None:
    run = here.runs.create("damaged")
    (tmp_path / "f").write_bytes(b"the right bytes")
    (made,) = there.files.upload(run.id, tmp_path / "f", "f")
    path = BlobStore(WorkspacePaths(served.local().root)).open_unverified(made.digest)
    name = Path(f"/proc/self/fd/{path.fileno()}").resolve()
    path.close()
    name.chmod(0o600)
    name.write_bytes(b"the wrong bytes")
    with pytest.raises(DamagedBlobError):
        there.files.download(run.id, tmp_path / "back")
    assert not (tmp_path / "back/f").exists()


def test_a_file_that_was_not_sent_is_not_named(served: Served, here: Tracking) -> None:
    run = here.runs.create("foreign")
    files = (SentFile("f", "sha256:" + "0" * 64),)
    with served.remote() as remote, pytest.raises(InvalidSourceError, match="was not uploaded"):
        remote.client.ask(run_files.add, id=run.id, files=files)


def test_a_long_log_comes_in_parts(
    there: RemoteTracking, here: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.workspace_service.routes.run_files.MAX_LOG_BYTES", 100)
    run = here.runs.create("logged")
    here.lives.log(run.id).parent.mkdir(exist_ok=True)
    here.lives.log(run.id).write_bytes(b"x" * 250)
    found: Any = b""
    while part := there.log(run.id, len(found)):
        found += part
    assert found == b"x" * 250
    with pytest.raises(NotFoundError):
        there.log("0" * 32)
    with pytest.raises(InvalidNameError):
        there.log("x")


def test_what_a_run_logged_comes_in_answers_of_a_bounded_size(
    served: Served, there: RemoteTracking, here: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_routes, "MAX_VALUES_CHARS", 25)
    run = there.runs.create("digits").id
    here.runs.log(run, values=[("l", "list", number, "[12345678]") for number in range(7)])
    answer = httpx.get(f"{served.url}/api/v1/workspaces/default/runs/{run}/values")
    assert len(answer.json()) == 2
    assert [each.at_ms for each in there.metrics.values(run)] == list(range(7))
    for most, count in ((1, 1), (10, 1), (40, 4), (1000, 6)):
        some = there.metrics.values(run, offset=1, max_chars=most)
        assert (some, len(some)) == (here.metrics.values(run, offset=1, max_chars=most), count)
