"""The files that runs of a workspace elsewhere were submitted with.

RemoteSnapshots(client).download("digits:3", Path("here"))
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from registry.tracking.snapshots import (
    Chunks,
    Snapshot,
    SnapshotFile,
    Submission,
    fill_folder,
    fill_zip,
)
from registry.tree import check_paths
from runtime.remote.client import ServiceClient
from runtime.remote.transfers import Transfers
from runtime.workspace_service.routes import runs as of_runs
from runtime.workspace_service.routes import submissions as routes


class RemoteSnapshots:
    """As registry.tracking.Snapshots, but for what keeps them."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def of_run(self, ref: str) -> Submission:
        """As Snapshots.of_run."""
        return self._client.ask(routes.submission, ref=self._id(ref))

    def download(self, ref: str, target: Path) -> Snapshot:
        """As Snapshots.download."""
        snapshot, chunks = self._opened(ref)
        fill_folder(snapshot, chunks, target)
        return snapshot

    def download_zip(self, ref: str, target: Path) -> Snapshot:
        """As Snapshots.download_zip."""
        snapshot, chunks = self._opened(ref)
        fill_zip(snapshot, chunks, target)
        return snapshot

    def _opened(self, ref: str) -> tuple[Snapshot, Chunks]:
        id = self._id(ref)
        snapshot = self._client.ask(routes.submission, ref=id).snapshot
        paths = [file.path for file in snapshot.files]
        if paths:  # a service is not believed where files are made
            check_paths(paths, max_files=len(paths))

        def chunks(file: SnapshotFile) -> Iterator[bytes]:
            given = {"ref": id, "file": file.path}
            return Transfers(self._client).fetch(routes.snapshot_file, given, file.digest)

        return snapshot, chunks

    def _id(self, ref: str) -> str:
        return self._client.ask(of_runs.find, ref=ref).id
