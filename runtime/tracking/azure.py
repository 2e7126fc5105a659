"""``Run`` with the calls of Azure Machine Learning v1: what a script finds as ``azureml.core.Run``
where it was submitted, and what one may import for it elsewhere.

    from runtime.tracking.azure import Run      # was: from azureml.core import Run

Descriptions of metrics are not kept. What only Azure has (datasets, key vaults, its workspaces) is
not here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry.errors import InvalidNameError, NotFoundError, TargetExistsError
from registry.tracking import Status
from registry.tree import SourceFile
from runtime.tracking import run
from runtime.tracking.clock import RunClock
from runtime.tracking.keeper import AWAY, Keeper

STATES: Mapping[Status, str] = {
    "scheduled": "NotStarted",
    "running": "Running",
    "finished": "Completed",
    "failed": "Failed",
    "killed": "Canceled",
}


class Experiment(str):
    """The name of an experiment, which knows it as ``name`` too."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Itself."""
        return str(self)


class Model:
    """A model that was registered: what the registry says of it, and Azure's ``id``."""

    def __init__(self, known: Any) -> None:
        self._known = known

    def __repr__(self) -> str:
        return f"Model({self.id!r})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._known, name)

    @property
    def id(self) -> str:
        """``NAME:VERSION``."""
        return f"{self._known.name}:{self._known.version}"


class Run(run.Run):
    """As ``runtime.tracking.Run``, under Azure's names. Children and files that it lists are those
    of this process."""

    experiment: Experiment

    def _begin(
        self,
        keeper: Keeper,
        allow_offline: bool,
        folder: Path | str | None,
        clock: RunClock | None = None,
    ) -> None:
        super()._begin(keeper, allow_offline, folder, clock)
        self._become()

    def _become(self) -> None:
        self.experiment = Experiment(self.experiment)
        self._above: Run | None = None
        self._below: list[Run] = []
        self._uploaded: dict[str, None] = {}

    # Which run.

    @classmethod
    def get_context(cls, allow_offline: bool = True, **_: Any) -> Run:
        """The run that this script was submitted as; where it was not, an ``_OfflineRun``, which
        prints. Raises NotFoundError for that without ``allow_offline``."""
        found = super().get_context(allow_offline)
        if isinstance(found, Run):
            return found
        same = object.__new__(_OfflineRun if found.is_offline else cls)
        same.__dict__ = found.__dict__  # the script knows it as the other class, too: it is one run
        same._become()
        return same

    @classmethod
    def _made(cls, keeper: Keeper, allow_offline: bool, clock: RunClock | None = None) -> Run:
        made = object.__new__(_OfflineRun if keeper.is_offline else cls)
        made._begin(keeper, allow_offline, None, clock)
        return made

    @property
    def number(self) -> int:
        """Of its experiment's runs."""
        return self._keeper.record().number

    @property
    def name(self) -> str:
        """As it was called, else its id."""
        return self._keeper.record().name or self.id

    display_name = name

    @property
    def parent(self) -> Run | None:
        """The run that it is a child of. None too where the workspace that knows it cannot be
        reached from here."""
        if self._above is None:
            try:
                above = run.Run.get(self.id).record().parent
                found = None if above is None else type(self).get(above)
                self._above = found if isinstance(found, Run) else None
            except (NotFoundError, *AWAY):
                return None
        return self._above

    @property
    def status(self) -> str:
        """In Azure's words, such as Running and Completed."""
        return STATES[self._ended or self._keeper.record().status]

    def get_status(self) -> str:
        """The same."""
        return self.status

    def get_details(self) -> dict[str, Any]:
        """What is known of it, of Azure's keys those that mean something here."""
        known = self._keeper.record()
        return {
            "runId": self.id,
            "status": self.status,
            "startTimeUtc": datetime.fromtimestamp(known.started_ms / 1000, UTC).isoformat(),
            "properties": dict(known.properties),
            "runDefinition": {"script": known.source},
        }

    # Metrics.

    def log(
        self, name: str, value: Any, *rest: Any, description: str = "", step: int | None = None
    ) -> None:
        """A number; text becomes an entry of a list. ``rest``: Azure's description and step."""
        at = next((each for each in rest if isinstance(each, int)), step)
        if isinstance(value, str):
            super().log_list(name, [value])
        else:
            super().log(name, value, at)

    def log_list(self, name: str, value: Iterable[Any], description: str = "", **_: Any) -> None:
        """A list."""
        super().log_list(name, value)

    def log_row(self, name: str, description: str | None = None, **columns: Any) -> None:
        """A row of a table that grows."""
        super().log_row(name, **columns)

    def log_table(
        self, name: str, value: Mapping[str, Any], description: str = "", **_: Any
    ) -> None:
        """A table: columns by name."""
        super().log_table(name, value)

    def log_image(
        self,
        name: str,
        path: str | Path | None = None,
        plot: Any = None,
        description: str = "",
        **_: Any,
    ) -> None:
        """A picture: a file, or a figure."""
        super().log_image(name, path, plot)

    def log_confusion_matrix(
        self, name: str, value: Mapping[str, Any] | str, description: str = "", **_: Any
    ) -> None:
        """In Azure's JSON."""
        super().log_confusion_matrix(name, value)

    def log_accuracy_table(
        self, name: str, value: Mapping[str, Any] | str, description: str = "", **_: Any
    ) -> None:
        """In Azure's JSON."""
        super().log_accuracy_table(name, value)

    def log_residuals(
        self, name: str, value: Mapping[str, Any] | str, description: str = "", **_: Any
    ) -> None:
        """In Azure's JSON."""
        super().log_residuals(name, value)

    def log_predictions(
        self, name: str, value: Mapping[str, Any] | str, description: str = "", **_: Any
    ) -> None:
        """In Azure's JSON."""
        super().log_predictions(name, value)

    def get_metrics(self, name: str | None = None, recursive: bool = False, **_: Any) -> Any:
        """All that was logged, or what was logged as ``name``; ``recursive``: by the id of each
        run, of this one and those below it."""
        found = super().get_metrics()
        own = found if name is None else {key: found[key] for key in found if key == name}
        if not recursive:
            return own
        below = {each.id: each.get_metrics(name) for each in self.get_children(recursive=True)}
        return {self.id: own, **below}

    # Tags.

    def tag(self, key: str, value: Any = None) -> None:
        """Set a tag."""
        super().tag(key, "" if value is None else value)

    def remove_tags(self, *keys: Any) -> None:
        """Some, by name or as a list."""
        texts = [[each] if isinstance(each, str) else each for each in keys]
        super().remove_tags(*(key for each in texts for key in each))

    # Files.

    def _upload(self, found: Mapping[str, SourceFile]) -> None:
        super()._upload(found)
        self._uploaded |= dict.fromkeys(found)

    def upload_file(self, name: str, path_or_stream: Any, *_: Any, **__: Any) -> None:
        """Keep a file under this name."""
        super().upload_file(name, path_or_stream)

    def upload_files(
        self, names: Sequence[str], paths: Sequence[str | Path], *_: Any, **__: Any
    ) -> None:
        """Keep several."""
        for name, path in zip(names, paths, strict=True):
            super().upload_file(name, path)

    def upload_folder(self, name: str, path: Path | str, *_: Any, **__: Any) -> None:
        """Keep all files of a folder below this name."""
        super().upload_folder(name, path)

    def get_file_names(self) -> list[str]:
        """What this process has uploaded; the files of outputs/ come at the end."""
        return sorted(self._uploaded)

    def download_file(
        self,
        name: str,
        target: Path | str = ".",
        *,
        output_file_path: Path | str | None = None,
        force: bool = True,
        **_: Any,
    ) -> Path:
        """Write a file of the run to the file ``target``, which Azure calls ``output_file_path``;
        where that is a folder, under its own last name there."""
        given = target if output_file_path is None else output_file_path
        is_folder = Path(given).is_dir() or str(given).endswith("/")
        place = Path(given) / Path(name).name if is_folder else Path(given)
        if place.exists() and not force:
            raise TargetExistsError(f"{place} is there already")
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            super().download_file(name, folder).replace(place)
        return place

    def download_files(
        self,
        folder: str | None = None,
        target: Path | str | None = None,
        *,
        prefix: str | None = None,
        output_directory: Path | str | None = None,
        force: bool = True,
        **_: Any,
    ) -> Path:
        """Write the files below ``folder``, Azure's ``prefix``, or all, with their paths below the
        folder ``target``, its ``output_directory``."""
        place = target or output_directory or "."
        return super().download_files(prefix or folder or "", place, force=force)

    def register_model(
        self,
        model_name: str,
        model_path: Path | str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        description: str | None = None,
        *_: Any,
        allow_pickle: bool = False,
        **__: Any,
    ) -> Any:
        """Register a file or folder as the next version of a model. The framework becomes two
        properties of it."""
        said = {"framework": model_framework, "framework_version": model_framework_version}
        known = {key: str(value) for key, value in said.items() if value is not None}
        made = super().register_model(
            model_name,
            model_path,
            tags=tags,
            properties={**known, **(properties or {})},
            description=description or "",
            allow_pickle=allow_pickle,
        )
        return None if made is None else Model(made)

    # Children and end.

    def child(self, name: str = "") -> Run:
        """A run below this one."""
        made = super().child(name)
        assert isinstance(made, Run)
        made._above = self
        self._below.append(made)
        return made

    def child_run(self, name: str | None = None, *_: Any, **__: Any) -> Run:
        """The same."""
        return self.child(name or "")

    def create_children(
        self,
        count: int | None = None,
        tag_key: str | None = None,
        tag_values: Sequence[Any] | None = None,
    ) -> list[Run]:
        """So many, or one for each value of the tag."""
        if tag_values is None or tag_key is None:
            if count is None or tag_values is not None or tag_key is not None:
                raise InvalidNameError("give create_children a count, or a tag_key and tag_values")
            return [self.child() for _ in range(count)]
        made: list[Run] = []
        for value in tag_values:
            made.append(self.child())
            made[-1].tag(tag_key, value)
        return made

    def get_children(
        self,
        recursive: bool = False,
        tags: Mapping[str, str] | str | None = None,
        properties: Mapping[str, str] | str | None = None,
        type: str | None = None,
        status: str | None = None,
        **_: Any,
    ) -> Iterator[Run]:
        """Those that this process has made, the newest first."""
        for each in reversed(self._below):
            if (
                _has(each.get_tags(), tags)
                and _has(each.get_properties(), properties)
                and status in (None, each.status)
            ):
                yield each
            if recursive:
                yield from each.get_children(True, tags, properties, type, status)

    def start(self) -> None:
        """It has begun already."""

    def flush(self, timeout_seconds: float = run.FLUSH_TIMEOUT_S) -> bool:
        """Wait until what was logged is on the disk."""
        return super().flush(timeout_seconds)

    def fail(
        self, error_details: BaseException | str | None = None, error_code: str | None = None
    ) -> bool:
        """It failed."""
        said = [str(each) for each in (error_code, error_details) if each]
        return super().fail(" ".join(": ".join(said).split())[: run.MAX_CAUSE_CHARS] or None)


class _OfflineRun(Run):
    """One that is printed: scripts ask whether it is of this class, or how its id begins."""

    @property
    def id(self) -> str:
        """Begins as Azure's does."""
        return "OfflineRun_offline"


def _has(known: Mapping[str, str], wanted: Mapping[str, str] | str | None) -> bool:
    """Whether it has this key, or these keys with these values."""
    if isinstance(wanted, str):
        return wanted in known
    return all(known.get(key) == value for key, value in (wanted or {}).items())
