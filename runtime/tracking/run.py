"""``Run``: what a training script uses.

    from runtime.tracking import Run

    with Run("digits", params={"depth": 3}) as run:
        for step, loss in enumerate(train()):
            run.log("loss", loss, step=step)
        run.register_model("digits", "outputs/model.onnx")

A run lives in the workspace that is named, else in $INFERRY_WORKSPACE, else in the nearest .inferry
folder. It may be a service's URL: while that is away, what the run says is held. Where there is no
workspace, or it cannot be written, the run is printed and the script goes on, unless
``allow_offline`` is False. A mistake in a call (a name that is not allowed, a param that
changes) raises in any case.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from registry.errors import InvalidNameError, InvalidSourceError
from registry.tracking import RunRecord, Status, Value, words
from registry.tree import SourceFile
from runtime.tracking import outputs, pictures, sources, values
from runtime.tracking.clock import RunClock
from runtime.tracking.keeper import AWAY, Keeper, Pairs, Patient
from runtime.tracking.spool import Spool
from runtime.tracking.starting import (
    context_keeper,
    known_keeper,
    new_keeper,
    offline,
    reason,
    say,
    tracking_at,
)
from runtime.tracking.writer import Writer

OUTPUTS = "outputs"
END_TIMEOUT_S = 60.0
END_RETRY_S = 0.5
FLUSH_TIMEOUT_S = 300.0
MAX_CAUSE_CHARS = 500


class Run:
    """A run of this process, from its construction to ``end``, which the end of a ``with`` block or
    of the process calls too. All methods may be called from any thread.

    In a script that was submitted as a run, the first ``Run(...)`` is that run, later ones are its
    children."""

    def __init__(
        self,
        experiment: str,
        *,
        name: str = "",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        workspace: Path | str | None = None,
        allow_offline: bool = True,
        outputs: Path | str | None = OUTPUTS,
    ) -> None:
        """``outputs``: the folder whose new files the run keeps at its end; None: of none. Raises
        InvalidNameError, and where it may not go offline RegistryError."""
        words.check_experiment(experiment)
        words.check_run_name(name)
        pairs = [_texts(each, what) for each, what in ((params, "param"), (tags, "tag"))]
        added = _texts(properties, "property")
        keeper, is_own = new_keeper(experiment, name, workspace, allow_offline)
        self._begin(keeper, allow_offline, outputs if is_own else None)
        self.log_params(pairs[0])
        self.set_tags(pairs[1])
        self.add_properties(added)

    def _begin(
        self,
        keeper: Keeper,
        allow_offline: bool,
        folder: Path | str | None,
        clock: RunClock | None = None,
    ) -> None:
        self._keeper = keeper
        self._allow_offline = allow_offline
        self._clock = clock or RunClock()
        self._known: set[str] = set()
        self._kinds: dict[str, str] = {}
        self._pictures: dict[str, int] = {}
        self._is_cancelled = False
        self._ended: Status | None = None
        self._pid = os.getpid()
        self._outputs = None if folder is None else Path(folder).absolute()
        self._before = {} if self._outputs is None else outputs.look(self._outputs)
        self.experiment = keeper.experiment
        self._writer = Writer(
            keeper.write,
            first=keeper.describe,
            beat=self._beat,
            say=say,
            spool=Spool() if isinstance(keeper, Patient) else None,
        )
        self._writer.start()
        _open_runs.add(self)

    def __repr__(self) -> str:
        state = self._ended or ("offline" if self.is_offline else "running")
        return f"Run({self.experiment!r}, id={self.id!r}, {state})"

    # Which run.

    @classmethod
    def get_context(cls, allow_offline: bool = True) -> Run:
        """The run that this script was submitted as, always the same object. In a script that was
        not, a run that is printed; with ``allow_offline`` False it raises NotFoundError then."""
        global _context_run
        if _context_run is None or _context_run._ended is not None:
            _context_run = cls._made(context_keeper(allow_offline), allow_offline)
        return _context_run

    @classmethod
    def get(cls, ref: str, *, workspace: Path | str | None = None) -> Run:
        """A run that is there, ``EXPERIMENT:NUMBER`` or an id, to look at or to add to; its end is
        not this process's. Raises NotFoundError."""
        return cls._made(known_keeper(ref, workspace), False)

    @staticmethod
    def search(
        experiment: str | None = None,
        filter: str = "",
        *,
        order_by: Sequence[str] = (),
        limit: int = 1000,
        workspace: Path | str | None = None,
    ) -> list[RunRecord]:
        """The newest runs, or those that the filter names, such as ``metrics.loss < 0.1``, with
        their params, tags and latest metrics. Raises InvalidNameError, NotFoundError."""
        with tracking_at(workspace) as tracking:
            found = None if experiment is None else [tracking.experiments.get(experiment).id]
            page = tracking.runs.search(
                experiments=found, filter=filter, order_by=order_by, limit=limit
            )
        return list(page.runs)

    @property
    def id(self) -> str:
        """32 hexadecimal digits, or "offline"."""
        return self._keeper.id

    @property
    def is_offline(self) -> bool:
        """Whether it is printed, not kept."""
        return self._keeper.is_offline

    @property
    def is_cancelled(self) -> bool:
        """Whether someone asked for its end: a script that looks can end in peace. It is known a
        few seconds later."""
        return self._is_cancelled

    def record(self) -> RunRecord:
        """All that the workspace knows of it."""
        self.flush()
        return self._keeper.record()

    @property
    def reference(self) -> str:
        """``EXPERIMENT:NUMBER``, as the command line calls it."""
        return self._keeper.record().reference

    # Metrics.

    def log(self, name: str, value: Any, step: int | None = None) -> None:
        """One value of a metric, such as a loss; returns at once. ``step`` defaults to the number
        of values before it."""
        if type(value) is not float:
            value = values.number(name, value)
        if name not in self._known:
            self._learn(name, "metric")
        if step is not None and type(step) is not int:
            step = _integer(step)
        elif step is not None:
            words.check_integer(step, "the step")
        self._writer.put((name, value, step, self._clock()))

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """One value each of several metrics."""
        for name, value in metrics.items():
            self.log(name, value, step)

    def log_list(self, name: str, value: Iterable[Any]) -> None:
        """A list; a second one of the same name goes on."""
        self._put(name, "list", values.list_document(name, value))

    def log_row(self, name: str, **columns: Any) -> None:
        """A row of a table that grows."""
        self._put(name, "row", values.row_document(name, columns))

    def log_table(self, name: str, value: Mapping[str, Any]) -> None:
        """A table: columns by name."""
        self._put(name, "table", values.table_document(name, value))

    def log_image(self, name: str, path: str | Path | None = None, plot: Any = None) -> None:
        """A picture: a file, or a matplotlib figure (or pyplot), a PIL image or bytes as ``plot``.
        It becomes a file of the run."""
        data, ending = pictures.picture(name, path, plot)
        self._check_kind(name, "image")
        number = self._pictures.get(name, 0)
        self._pictures[name] = number + 1
        place = pictures.file_name(name, number, ending)
        with sources.of_file(place, io.BytesIO(data)) as found:
            self._upload(found)
        self._put(name, "image", values.dump({"path": place, "size_bytes": len(data)}))

    def log_confusion_matrix(self, name: str, value: Mapping[str, Any] | str) -> None:
        """A confusion matrix in Azure ML's JSON: ``{"schema_type": "confusion_matrix", "data":
        {"class_labels": [...], "matrix": [[...], ...]}}``."""
        self._put_schema(name, "confusion_matrix", value)

    def log_accuracy_table(self, name: str, value: Mapping[str, Any] | str) -> None:
        """An accuracy table in Azure ML's JSON."""
        self._put_schema(name, "accuracy_table", value)

    def log_residuals(self, name: str, value: Mapping[str, Any] | str) -> None:
        """Residuals in Azure ML's JSON."""
        self._put_schema(name, "residuals", value)

    def log_predictions(self, name: str, value: Mapping[str, Any] | str) -> None:
        """Predictions in Azure ML's JSON."""
        self._put_schema(name, "predictions", value)

    def get_metrics(self) -> dict[str, Any]:
        """All that was logged: a number, or a list of those that were logged under one name; lists,
        tables as columns, paths of images, documents."""
        self.flush()
        return self._keeper.metrics()

    # Params, tags, properties, log.

    def log_param(self, name: str, value: Any) -> None:
        """What the run was started with. Raises ImmutableError for one with another value."""
        self.log_params({name: value})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Several."""
        self._put_pairs("param", words.check_params(_texts(params, "param")))

    def tag(self, key: str, value: Any = "") -> None:
        """Set a tag; it can change."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Several."""
        self._put_pairs("tag", words.check_tags(_texts(tags, "tag")))

    def remove_tags(self, *keys: str) -> None:
        """One that is not there is no mistake."""
        self._safely(lambda: self._keeper.put("tag", {}, keys))

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Facts that never change. Raises ImmutableError for one with another value."""
        self._put_pairs("property", words.check_tags(_texts(properties, "property"), "property"))

    def get_tags(self) -> dict[str, str]:
        """As they are now."""
        return dict(self._keeper.record().tags)

    def get_properties(self) -> dict[str, str]:
        """All."""
        return dict(self._keeper.record().properties)

    def get_params(self) -> dict[str, str]:
        """All."""
        return dict(self._keeper.record().params)

    def note(self, text: str) -> None:
        """Add lines to the run's log, each with its time."""
        self._keeper.note(text)

    # Files.

    def upload_file(self, name: str, path_or_stream: Any) -> None:
        """Keep a file under this name, such as ``models/model.onnx``; a path, or something to read
        bytes from. It is kept when this returns."""
        with sources.of_file(name, path_or_stream) as found:
            self._upload(found)

    def upload_folder(self, name: str, path: Path | str) -> None:
        """Keep all files of a folder below this name ("": none); all or none. A symbolic link in it
        is refused."""
        self._upload(sources.of_folder(name, path))

    def download_file(self, name: str, target: Path | str = ".", *, force: bool = False) -> Path:
        """Write a file of the run below the folder ``target``; where it lies then. Raises
        NotFoundError, TargetExistsError (unless ``force``)."""
        self._keeper.download(words.check_path(name), Path(target), force)
        return Path(target) / name

    def download_files(
        self, folder: str = "", target: Path | str = ".", *, force: bool = False
    ) -> Path:
        """Write the files below ``folder``, or all, below the folder ``target``."""
        self._keeper.download(words.check_folder(folder), Path(target), force)
        return Path(target)

    def register_model(
        self,
        model_name: str,
        model_path: Path | str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str = "",
        allow_pickle: bool = False,
    ) -> Any:
        """Register a file or folder as the next version of a model, which says that it comes from
        this run; ``model_path`` is on this machine, or one of the run's files, and by default
        ``outputs``. ``allow_pickle``: also files that can run code when they are opened. Returns
        the registry's Model; None of an offline run."""
        given = OUTPUTS if model_path is None else str(model_path)
        facts: dict[str, Any] = {
            "tags": tags,
            "properties": properties,
            "description": description,
        }
        if allow_pickle:
            facts["allow_pickle"] = True
        if Path(given).exists() or self.is_offline:
            return self._keeper.register_model(model_name, Path(given), facts)
        place = words.check_folder(given)
        with tempfile.TemporaryDirectory() as folder:
            self._keeper.download(place, Path(folder), False)
            return self._keeper.register_model(model_name, Path(folder) / place, facts)

    # Children and end.

    def child(self, name: str = "") -> Run:
        """A run below this one, to any depth, for a ``with`` block of its own."""
        words.check_run_name(name)
        clock = RunClock()
        try:
            keeper = self._keeper.child(name, clock())
        except AWAY as error:
            keeper = self._gone(error, name)
        return self._made(keeper, self._allow_offline, clock)

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> bool:
        """Wait until all that was logged is on the disk. False where that cannot be now; with
        ``allow_offline`` False that raises."""
        is_written = self._writer.flush(timeout_s)
        error = self._writer.error
        if not is_written and error is not None and not self._allow_offline:
            raise error
        return is_written

    def end(self, status: Status = "finished", cause: str | None = None) -> bool:
        """The end: keeps what is new in outputs/, writes what is still to be written. Whether all
        of it was. A second end does nothing; nor does one in a process that was forked off."""
        if self._ended is not None:
            return True
        if self._pid != os.getpid():
            return self.flush()
        self._ended = status
        _open_runs.discard(self)
        ended_ms = self._clock()
        is_whole = self._collect() if self._outputs is not None else True
        if isinstance(self._keeper, Patient):
            return self._leave(self._keeper, status, cause, ended_ms) and is_whole
        if not self._writer.close(END_TIMEOUT_S):
            is_whole = False
            say(f"{self._writer.lost} logged values of run {self.id} are lost")
            with suppress(*AWAY):
                self._keeper.put("tag", {"inferry.lost_values": str(self._writer.lost)})
        try:
            self._keeper.end(status, cause, ended_ms)
        except AWAY as error:
            say(f"the end of run {self.id} cannot be kept: {reason(error)}")
            is_whole = False
        if not is_whole and not self._allow_offline and self._writer.error is not None:
            raise self._writer.error
        return is_whole

    def _leave(self, keeper: Patient, status: Status, cause: str | None, ended_ms: int) -> bool:
        """As ``end``, of a keeper that may be away."""
        began = time.monotonic()
        while not self._writer.flush(max(0.0, began + END_TIMEOUT_S - time.monotonic())):
            is_away = self._writer.error is not None
            if time.monotonic() - began >= (keeper.end_wait_s if is_away else END_TIMEOUT_S):
                break
            time.sleep(END_RETRY_S)
        lost = self._writer.lost
        left = [] if self._writer.close(END_RETRY_S) else self._writer.left()
        where = keeper.leave(left, status, cause, ended_ms)
        if lost:
            say(f"{lost} logged values of run {self.id} are lost")
        if where is not None:
            count = sum(len(points) + len(values) for points, values in left)
            what = f"{count} logged values" if count else "the end"
            say(f"{what} of run {self.id} could not be sent; {where}")
        if where is not None and not self._allow_offline and self._writer.error is not None:
            raise self._writer.error
        return where is None and not lost

    def complete(self) -> bool:
        """It succeeded."""
        return self.end("finished")

    def fail(self, cause: str | None = None) -> bool:
        """It failed."""
        return self.end("failed", cause)

    def cancel(self) -> bool:
        """It was given up."""
        return self.end("killed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """An exception is the end that it says, and goes on; no error of the tracker hides it."""
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.end()
            return
        import traceback

        with suppress(Exception):
            self.note("".join(traceback.format_exception(error)))
        status: Status = "killed" if isinstance(error, KeyboardInterrupt) else "failed"
        with suppress(Exception):
            self.end(status, _cause(error))

    # Parts.

    @classmethod
    def _made(cls, keeper: Keeper, allow_offline: bool, clock: RunClock | None = None) -> Run:
        run = cls.__new__(cls)
        run._begin(keeper, allow_offline, None, clock)
        return run

    def _learn(self, name: str, kind: str) -> None:
        words.check_key(name, "metric")
        self._check_kind(name, kind)
        if kind == "metric":
            self._known.add(name)

    def _check_kind(self, name: str, kind: str) -> None:
        words.check_key(name, "metric")
        before = self._kinds.setdefault(name, kind)
        if before != kind and {before, kind} != {"row", "table"}:
            raise InvalidNameError(f"{name!a} is a {before} already; name the {kind} otherwise")

    def _put(self, name: str, kind: str, document: str) -> None:
        self._check_kind(name, kind)
        words.check_document(document, name)
        value: Value = (name, kind, self._clock(), document)
        self._writer.put(value)

    def _put_schema(self, name: str, kind: str, value: Mapping[str, Any] | str) -> None:
        self._put(name, kind, values.schema_document(name, kind, value))

    def _put_pairs(self, kind: Pairs, pairs: Mapping[str, str]) -> None:
        if pairs:
            self._safely(lambda: self._keeper.put(kind, pairs))

    def _upload(self, found: Mapping[str, SourceFile]) -> None:
        self._safely(lambda: self._keeper.upload(found))

    def _safely(self, act: Callable[[], object]) -> bool:
        """The tracker that is away ends no script, unless that wants it so."""
        try:
            act()
        except AWAY as error:
            if not self._allow_offline:
                raise
            say(f"this cannot be kept: {reason(error)}")
            return False
        return True

    def _collect(self) -> bool:
        assert self._outputs is not None
        found = outputs.changed(self._outputs, self._before)
        for line in found.left_out[:10]:
            say(f"left out of the run: {line}")
        if not found.files:
            return True
        try:
            return self._safely(lambda: self._keeper.upload(found.files))
        except (InvalidSourceError, InvalidNameError) as error:
            say(f"the outputs are not kept: {error}")
            return False

    def _beat(self) -> None:
        self._is_cancelled = self._is_cancelled or self._keeper.beat()

    def _gone(self, error: Exception, name: str) -> Keeper:
        if not self._allow_offline:
            raise error
        return offline(self.experiment, name, reason(error))


_context_run: Run | None = None
_open_runs: WeakSet[Run] = WeakSet()


def _texts(pairs: Mapping[str, Any] | None, what: str) -> dict[str, str]:
    if pairs is None:
        return {}
    if not isinstance(pairs, Mapping):
        raise InvalidNameError(f"a {what} has a name and a value: give a dictionary")
    return {key: value if isinstance(value, str) else str(value) for key, value in pairs.items()}


def _integer(step: Any) -> int:
    try:
        return words.check_integer(int(step.__index__()), "the step")
    except AttributeError:
        raise InvalidNameError(f"the step must be an integer, not {type(step).__name__}") from None


def _cause(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return shown.removesuffix(": ")[:MAX_CAUSE_CHARS]


@atexit.register
def _end_all() -> None:
    """What a script left open ends with it: well, unless an exception ends the process."""
    error = getattr(sys, "last_value", None)
    for run in list(_open_runs):
        with suppress(Exception):
            if run._pid == os.getpid():
                if error is None:
                    run.end()
                else:
                    run.end("failed", _cause(error))
