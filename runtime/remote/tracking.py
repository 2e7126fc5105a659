"""Experiments, runs, their metrics and their files in a workspace elsewhere.

A script that is a run uses runtime/tracking/distant.py instead, which goes on while the service is
away."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from registry import tree
from registry.errors import NotFoundError
from registry.folders import added_files, write_file
from registry.tracking import (
    ChartPoint,
    Experiment,
    Metric,
    MetricPoint,
    Point,
    RunFile,
    RunPage,
    RunRecord,
    RunValue,
    Status,
    Value,
    View,
)
from registry.tracking.words import check_folder, check_path
from registry.tree import SourceFile
from runtime.remote.client import ServiceClient
from runtime.remote.pages import walk
from runtime.remote.snapshots import RemoteSnapshots
from runtime.remote.transfers import Progress, Transfers
from runtime.workspace_service.routes import experiments as of_experiments
from runtime.workspace_service.routes import metrics as of_metrics
from runtime.workspace_service.routes import run_files as of_files
from runtime.workspace_service.routes import runs as of_runs
from runtime.workspace_service.sent_file import SentFile

PAGE = 1000
Experiments = list[Experiment]
Files = list[RunFile]


class RemoteTracking:
    """As registry.tracking.Tracking."""

    def __init__(self, client: ServiceClient) -> None:
        self.experiments = RemoteExperiments(client)
        self.runs = RemoteRuns(client)
        self.metrics = RemoteMetrics(client)
        self.files = RemoteRunFiles(client)
        self.snapshots = RemoteSnapshots(client)
        self._client = client

    def log(self, id: str, offset: int = 0) -> bytes:
        """As Tracking.log; of a long log the beginning of the rest: ask again."""
        return self._client.ask(of_files.read_log, id=id, offset=offset)


class RemoteExperiments:
    """As registry.tracking.Experiments."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def create(self, name: str, *, tags: Mapping[str, str] | None = None) -> Experiment:
        """As Experiments.create."""
        return self._client.ask(of_experiments.create, name=name, tags=dict(tags or {}))

    def get(self, name: str) -> Experiment:
        """As Experiments.get."""
        return self._client.ask(of_experiments.get, name=name)

    def get_by_id(self, id: int) -> Experiment:
        """As Experiments.get_by_id."""
        return self._client.ask(of_experiments.get_by_id, id=id)

    def list(
        self, *, view: View = "active", filter: str = "", limit: int = 50_000, offset: int = 0
    ) -> Experiments:
        """As Experiments.list."""
        found: Experiments = []
        while len(found) < limit:
            page = self._client.ask(
                of_experiments.list_experiments,
                view=view,
                filter=filter,
                limit=min(PAGE, limit - len(found)),
                offset=offset + len(found),
            )
            found += page
            if len(page) < PAGE:
                break
        return found

    def rename(self, name: str, new_name: str) -> Experiment:
        """As Experiments.rename."""
        return self._client.ask(of_experiments.rename, name=name, new_name=new_name)

    def tag(
        self, name: str, *, set: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> Experiment:
        """As Experiments.tag."""
        return self._client.ask(
            of_experiments.tag, name=name, set=dict(set or {}), remove=tuple(remove)
        )

    def delete(self, name: str) -> Experiment:
        """As Experiments.delete."""
        return self._client.ask(of_experiments.delete, name=name)

    def restore(self, name: str) -> Experiment:
        """As Experiments.restore."""
        return self._client.ask(of_experiments.restore, name=name)

    def remove(self, name: str) -> Experiment:
        """As Experiments.remove."""
        return self._client.ask(of_experiments.delete, name=name, forever=True)


class RemoteRuns:
    """As registry.tracking.Runs, but for what only the process of a run does."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def create(
        self,
        experiment: str | int,
        *,
        name: str = "",
        parent: str | None = None,
        user: str = "",
        source: str = "",
        status: Status = "running",
        started_ms: int | None = None,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> RunRecord:
        """As Runs.create."""
        return self._client.ask(
            of_runs.create,
            experiment=experiment,
            name=name,
            parent=parent,
            user=user,
            source=source,
            status=status,
            started_ms=started_ms,
            tags=dict(tags or {}),
            params=dict(params or {}),
            properties=dict(properties or {}),
        )

    def update(
        self,
        id: str,
        *,
        status: Status | None = None,
        ended_ms: int | None = None,
        name: str | None = None,
    ) -> RunRecord:
        """As Runs.update."""
        return self._client.ask(of_runs.update, id=id, status=status, ended_ms=ended_ms, name=name)

    def log(
        self,
        id: str,
        *,
        points: Sequence[Point] = (),
        values: Sequence[Value] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """As Runs.log, but points and values, params, and tags each for themselves."""
        if points or values:
            self._client.ask(
                of_runs.log,
                id=id,
                client=secrets.token_hex(8),
                number=1,
                points=tuple(points),
                values=tuple(values),
            )
        if params:
            self._client.ask(of_runs.log_params, id=id, params=dict(params))
        if tags:
            self.tag(id, set=tags)

    def cancel(self, ref: str) -> RunRecord:
        """As Runs.cancel."""
        return self._client.ask(of_runs.cancel, ref=self._named(ref))

    def is_cancelled(self, id: str) -> bool:
        """As Runs.is_cancelled."""
        return self.get(id).cancel_requested

    def tag(
        self, ref: str, *, set: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> RunRecord:
        """As Runs.tag."""
        return self._client.ask(
            of_runs.tag, ref=self._named(ref), set=dict(set or {}), remove=tuple(remove)
        )

    def add_properties(self, ref: str, properties: Mapping[str, str]) -> RunRecord:
        """As Runs.add_properties."""
        return self._client.ask(
            of_runs.add_properties, ref=self._named(ref), properties=dict(properties)
        )

    def describe(
        self, id: str, *, revision: str | None = None, environment: str | None = None
    ) -> None:
        """As Runs.describe."""
        self._client.ask(of_runs.describe, id=id, revision=revision, environment=environment)

    def get(self, ref: str) -> RunRecord:
        """As Runs.get."""
        return self._client.ask(of_runs.find, ref=ref)

    def search(
        self,
        *,
        experiments: Sequence[int] | None = None,
        filter: str = "",
        order_by: Sequence[str] = (),
        view: View = "active",
        limit: int = PAGE,
        token: str | None = None,
    ) -> RunPage:
        """As Runs.search."""
        if experiments is not None and not experiments:
            return RunPage((), None)
        return self._client.ask(
            of_runs.search,
            experiments=None if experiments is None else tuple(experiments),
            filter=filter,
            order_by=tuple(order_by),
            view=view,
            limit=limit,
            token=token,
        )

    def children(self, ref: str, *, recursive: bool = False) -> list[RunRecord]:
        """As Runs.children."""
        named = self._named(ref)
        return list(walk(self._client, of_runs.children, ref=named, recursive=recursive))

    def environment(self, digest: str) -> str | None:
        """As Runs.environment."""
        try:
            return self._client.ask(of_runs.environment, digest=digest)
        except NotFoundError:
            return None

    def delete(self, ref: str) -> RunRecord:
        """As Runs.delete."""
        return self._client.ask(of_runs.delete, ref=self._named(ref))

    def restore(self, ref: str) -> RunRecord:
        """As Runs.restore."""
        return self._client.ask(of_runs.restore, ref=self._named(ref))

    def remove(self, ref: str) -> RunRecord:
        """As Runs.remove."""
        return self._client.ask(of_runs.delete, ref=self._named(ref), forever=True)

    def _named(self, ref: str) -> str:
        """A name that a path takes."""
        return self.get(ref).id if "/" in ref else ref


class RemoteMetrics:
    """As registry.tracking.Metrics."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def latest(self, id: str) -> dict[str, Metric]:
        """As Metrics.latest."""
        return self._client.ask(of_metrics.latest, id=id)

    def history(
        self, id: str, key: str, *, offset: int = 0, limit: int | None = None
    ) -> list[MetricPoint]:
        """As Metrics.history."""
        found: list[MetricPoint] = []
        while limit is None or len(found) < limit:
            most = of_metrics.MAX_POINTS if limit is None else limit - len(found)
            wanted = min(of_metrics.MAX_POINTS, most)
            page = self._client.ask(
                of_metrics.history, id=id, key=key, offset=offset + len(found), limit=wanted
            )
            found += page
            if len(page) < wanted:
                break
        return found

    def chart(self, id: str, key: str, points: int = 500) -> list[ChartPoint]:
        """As Metrics.chart."""
        return self._client.ask(of_metrics.chart, id=id, key=key, points=points)

    def values(
        self, id: str, key: str | None = None, *, offset: int = 0, max_chars: int | None = None
    ) -> list[RunValue]:
        """As Metrics.values."""
        found: list[RunValue] = []
        chars, begin = 0, offset
        while some := self._client.ask(of_metrics.values, id=id, key=key, offset=begin):
            begin += len(some)
            for value in some:
                chars += len(value.document)
                if found and max_chars is not None and chars > max_chars:
                    return found
                found.append(value)
        return found


class RemoteRunFiles:
    """As registry.tracking.RunFiles."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def upload(
        self, id: str, source: Path | str, path: str, on_progress: Progress | None = None
    ) -> Files:
        """As RunFiles.upload."""
        is_folder, base = Path(source).is_dir(), check_folder(path)
        named = {
            check_path("/".join(part for part in (base, file.path) if part))
            if is_folder
            else check_path(path): file
            for file in tree.walk(Path(source))
        }
        return self.add(id, named, on_progress)

    def add(
        self, id: str, sources: Mapping[str, SourceFile], on_progress: Progress | None = None
    ) -> Files:
        """As RunFiles.add."""
        sent = Transfers(self._client).send(list(sources.values()), on_progress)
        named = [SentFile(path, file.digest) for path, file in zip(sources, sent, strict=True)]
        return self._client.ask(of_files.add, id=id, files=tuple(named))

    def list(self, id: str, folder: str = "") -> Files:
        """As RunFiles.list."""
        return [*walk(self._client, of_files.list_files, id=id, folder=folder)]

    def get(self, id: str, path: str) -> RunFile:
        """As RunFiles.get."""
        for file in self.list(id, check_path(path)):
            if file.path == path:
                return file
        raise NotFoundError(f"the run has no file {path!a}")

    def read(self, id: str, path: str) -> bytes:
        """As RunFiles.read."""
        return b"".join(self._chunks(id, self.get(id, path)))

    def download(
        self, id: str, target: Path | str, *, folder: str = "", force: bool = False
    ) -> Files:
        """As RunFiles.download."""
        files = self.list(id, folder)
        if not files:
            raise NotFoundError(
                f"the run has no file {folder!a}" if folder else "the run has no files"
            )
        for file in files:
            check_path(file.path)  # a service is not believed where files are written
        with added_files(Path(target), [f.path for f in files], force=force) as filled:
            for file in files:
                write_file(filled / file.path, self._chunks(id, file))
        return files

    def remove(self, id: str, paths: Sequence[str]) -> None:
        """As RunFiles.remove."""
        self._client.ask(of_files.remove, id=id, paths=tuple(paths))

    def _chunks(self, id: str, file: RunFile) -> Iterator[bytes]:
        return Transfers(self._client).fetch(
            of_files.download, {"id": id, "file": file.path}, file.digest
        )
