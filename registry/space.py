"""Frees the space that nothing in a workspace uses any more, as an activity: a store may have
millions of files.

report = Space(paths, database, store, activities, images.write_index).free(on_change=print)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from registry.activities import Activities, OnChange, RunningActivity
from registry.blobs import BlobStore
from registry.cache_purge import purge_caches
from registry.database import Database
from registry.errors import StoreFullError
from registry.paths import WorkspacePaths
from registry.purge import purge
from registry.records import PurgeReport

KIND, SUBJECT = "purge", "what nothing uses"


class Space:
    """Of one workspace; ``on_freed`` is called when files have gone."""

    def __init__(
        self,
        paths: WorkspacePaths,
        database: Database,
        store: BlobStore,
        activities: Activities,
        on_freed: Callable[[], None],
    ) -> None:
        self._paths = paths
        self._database = database
        self._store = store
        self._activities = activities
        self._on_freed = on_freed

    def freeable(self) -> PurgeReport:
        """How much ``free`` would free now."""
        return self._purged(None, dry_run=True)

    def free(self, on_change: OnChange | None) -> PurgeReport:
        """As ``Workspace.purge``."""
        with self._activity(on_change) as activity:
            report = self._purged(activity, dry_run=False)
            if activity is not None:
                activity.log(f"freed {report.blobs} files, {report.size_bytes} bytes")
        return report

    def tidy(self) -> PurgeReport:
        """The same without an activity, for a workspace that nobody uses yet."""
        return self._purged(None, dry_run=False)

    def _purged(self, activity: RunningActivity | None, *, dry_run: bool) -> PurgeReport:
        before = 0

        def on_progress(done: int, total: int) -> None:
            """Where it can be ended."""
            nonlocal before
            if activity is not None:
                if not before:
                    activity.phase("Freeing stored files", total)
                activity.advance(done - before)
            before = done

        if activity is not None:
            activity.phase("Looking for what is used")
        try:
            of_store = purge(
                self._paths, self._database, self._store, dry_run=dry_run, on_progress=on_progress
            )
            if activity is not None:
                activity.phase("Freeing caches")
            of_caches = purge_caches(self._paths, self._database, self._store, dry_run=dry_run)
        finally:
            if not dry_run:
                self._on_freed()
        return PurgeReport(
            of_store.blobs + of_caches.blobs, of_store.size_bytes + of_caches.size_bytes
        )

    @contextmanager
    def _activity(self, on_change: OnChange | None) -> Iterator[RunningActivity | None]:
        """None on a disk that is too full to say that space is freed."""
        with ExitStack() as stack:
            activity = None
            with suppress(StoreFullError):
                activity = stack.enter_context(self._activities.start(KIND, SUBJECT, on_change))
            yield activity
