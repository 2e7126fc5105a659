"""Whether a step has been done before, in this or another run of a pipeline."""

from __future__ import annotations

from registry.blobs import BlobStore
from registry.errors import NotFoundError
from registry.paths import WorkspacePaths
from registry.tracking import RunRecord, Tracking
from runtime.pipelines.port import Done, StepRunner
from runtime.pipelines.records import FOLDER, KEY, OUTPUTS, REUSED, done_of, outputs_digest

MAX_TRIED = 20
"""The newest ones; of so many with a key, one that is whole is among them, or none is."""


class Earlier:
    """What steps of one workspace left."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        self._store = BlobStore(WorkspacePaths(tracking.root))

    def find(self, key: str, runner: StepRunner) -> RunRecord | None:
        """The newest finished run with this key whose files and whatever else it made are there as
        they were."""
        page = self._tracking.runs.search(
            filter=f"tags.`{KEY}` = '{key}' AND tags.`{REUSED}` IS NULL AND status = 'finished'",
            limit=MAX_TRIED,
        )
        return next((run for run in page.runs if self.is_whole(run, runner)), None)

    def is_whole(self, run: RunRecord, runner: StepRunner) -> bool:
        """Whether a finished run's files, and what it made, are there as they were."""
        if OUTPUTS not in run.tags:
            return False  # its runner was killed before it had said what the files are
        done = self.done(run)
        return (
            outputs_digest(done.files) == run.tags[OUTPUTS]
            and all(self._store.has(digest) for digest in done.files.values())
            and (not done.made or runner.is_there(done))
        )

    def origin(self, run: RunRecord) -> RunRecord | None:
        """The run that did what this one has; None where it is gone, or hidden."""
        id = run.tags.get(REUSED)
        if id is None:
            return run
        try:
            found = self._tracking.runs.get(id)
        except NotFoundError:
            return None
        return None if found.is_deleted else found

    def done(self, run: RunRecord) -> Done:
        """What a finished run left. Raises NotFoundError where the one that did it is gone."""
        return done_of(run, self._tracking.files.list(run.tags.get(REUSED, run.id), FOLDER))

    def seal(self, run: RunRecord) -> Done:
        """Say what the files of a run are that has just finished."""
        done = self.done(run)
        self._tracking.runs.tag(run.id, set={OUTPUTS: outputs_digest(done.files)})
        return done
