"""Large uploads are activities of the service: seen, ended and gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.activities import Activity
from registry.errors import CancelledError
from runtime.datastores import Datastore
from runtime.remote import RemoteWorkspace
from runtime.workspace_service import receiving
from tests.runtime.deployments.waiting import eventually
from tests.runtime.remote.served import Served, serving

MIB = 1024 * 1024


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Where 2 MiB are many, and a cancel is looked for at once."""
    monkeypatch.setattr(receiving, "LARGE_BYTES", 2 * MIB)
    monkeypatch.setattr("registry.activities.running.WRITE_EVERY_S", 0.0)
    with serving({"default": tmp_path / "ws"}) as found:
        yield found


@pytest.fixture
def remote(served: Served) -> Iterator[RemoteWorkspace]:
    with served.remote() as found:
        yield found


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"w" * 24 * MIB)
    return path


def _uploads(served: Served) -> list[Activity]:
    return served.local().activities.list(kind="upload")


def _register(
    remote: RemoteWorkspace, path: Path, on_progress: Callable[[int, int], None] | None = None
) -> None:
    remote.models.register(path, name="m", on_progress=on_progress)


def test_an_upload_is_seen_as_it_goes_and_ended_from_elsewhere(
    remote: RemoteWorkspace,
    served: Served,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Activity] = []

    def cancel(done: int, total: int) -> None:
        if done > 8 * MIB and not seen:
            seen.extend(remote.activities.list(kind="upload", running_only=True))
            remote.activities.cancel(seen[0].id)

    with pytest.raises(CancelledError, match="cancelled on request"):
        _register(remote, weights, cancel)
    (running,) = seen
    assert (running.state, running.phase, running.total) == (
        "running",
        "Receiving",
        weights.stat().st_size,
    )
    assert running.subject.startswith("sha256:")
    (ended,) = _uploads(served)
    assert (ended.state, ended.cause) == ("cancelled", "cancelled on request")
    assert 0 < ended.done < ended.total
    assert remote.models.list() == []
    with pytest.raises(CancelledError):  # who had not seen the answer asks again at once
        _register(remote, weights)

    monkeypatch.setattr(receiving, "REST_S", 0.0)
    first: list[int] = []
    _register(remote, weights, lambda done, total: first.append(done))
    assert first[0] >= ended.done  # what came is not sent again
    again, _ = _uploads(served)
    assert (again.state, again.done) == ("succeeded", weights.stat().st_size)
    assert [model.reference for model in remote.models.list()] == ["m:1"]


def test_an_upload_that_is_cut_has_failed_and_says_what_came(
    remote: RemoteWorkspace, served: Served, weights: Path
) -> None:
    def cut(done: int, total: int) -> None:
        if done > 8 * MIB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _register(remote, weights, cut)

    def ended() -> Activity | None:
        (found,) = _uploads(served)
        return None if found.is_running else found

    found = eventually(ended)
    assert found.state == "failed"
    assert found.cause is not None
    assert found.cause.startswith("cut after ")
    assert found.cause.endswith("the same upload goes on from there")


def test_small_files_are_no_activities(
    remote: RemoteWorkspace, served: Served, tmp_path: Path
) -> None:
    (tmp_path / "small.json").write_bytes(b"[1, 2]")
    _register(remote, tmp_path / "small.json")
    assert _uploads(served) == []


def test_a_file_for_a_datastore_is_seen_as_it_goes_and_ended_from_elsewhere(
    remote: RemoteWorkspace, served: Served, weights: Path
) -> None:
    seen: list[Activity] = []

    def cancel(done: int, total: int) -> None:
        running = [each for each in _uploads(served) if each.state == "running" and each.done]
        if running and not seen:
            seen.extend(running)
            served.local().activities.cancel(running[0].id)

    with Datastore.get_default(remote) as store:  # type: ignore[arg-type]
        with pytest.raises(CancelledError):
            store.upload(weights, on_progress=cancel)
        assert seen[0].subject == "weights.bin to workspace by local"
        eventually(lambda: _uploads(served)[0].state == "cancelled")
        assert list((served.local().root / "datastore").iterdir()) == []
        store.upload(weights)
        assert [each.state for each in _uploads(served)] == ["succeeded", "cancelled"]
