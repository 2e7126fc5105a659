"""Pipelines whose files came from another machine: which files those are, and where they lie.

    sent, files = packed(read_spec("pipeline.yaml"))     # there: paths are those of ``files`` now
    check_contained(sent)                                # here: none leads out of the folder
    with folder_of(workspace, run, sent) as folder: ...  # for as long as it is run

The files are kept as the snapshot of the pipeline's run, for as long as there is the run: so it can
be resumed, and purge and backups know of them.

steps/NAME/folder/...        what a script step copies to its target
steps/NAME/inputs/KEY/...    what it gets from the other machine
steps/NAME/FIELD/...         files of other steps
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from registry import Workspace, tree
from registry.errors import NotFoundError
from registry.folders import write_file
from registry.source import read_code
from registry.tracking import RunRecord
from registry.tracking.snapshots import Snapshot, Snapshots
from registry.tree import SourceFile
from runtime.pipelines.errors import BadPipelineError, PipelineError
from runtime.pipelines.gathering import input_files
from runtime.pipelines.scripts import snapshot_files
from runtime.pipelines.steps import (
    FILES,
    AnyStep,
    ImageStep,
    PipelineSpec,
    RegisterStep,
    ScriptStep,
    Source,
)
from runtime.pipelines.words import shown
from runtime.serving import locked_folder

TOP = "steps"
FOLDER = "pipelines"
Sources = dict[str, SourceFile]


def packed(pipeline: PipelineSpec) -> tuple[PipelineSpec, Sources]:
    """The same pipeline with paths of files that can be sent, and those files. Its parameters are
    in their places. Raises InvalidSourceError."""
    files: Sources = {}
    base = Path(pipeline.folder)
    steps = tuple(_packed(step, base, files) for step in pipeline.steps)
    return msgspec.structs.replace(pipeline, steps=steps, folder="."), files


def check_contained(pipeline: PipelineSpec) -> None:
    """That each path in it is one within its folder. Raises BadPipelineError."""
    if not pipeline.is_filled:
        raise BadPipelineError("its parameters are not in their places")
    if pipeline.folder != ".":
        raise BadPipelineError("its folder is that of the files that were sent: '.'")
    for step in pipeline.steps:
        for path in _paths(step):
            pure = PurePosixPath(path)
            if pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
                raise BadPipelineError(
                    f"step {shown(step.name)}: {shown(path)} leads out of the folder that was sent"
                )


@contextmanager
def folder_of(workspace: Workspace, run: RunRecord, pipeline: PipelineSpec) -> Iterator[Path]:
    """What its paths are relative to. Raises PipelineError, BadPipelineError."""
    snapshot = sent_files(workspace.tracking.snapshots, run)
    if snapshot is None:
        yield Path(pipeline.folder)
        return
    check_contained(pipeline)
    with laid_out(workspace, snapshot) as folder:
        yield folder


def sent_files(snapshots: Snapshots, run: RunRecord) -> Snapshot | None:
    """None: its files lie where they were when it was begun on this machine."""
    try:
        return snapshots.of_run(run.id).snapshot
    except NotFoundError:
        return None


def require_sent(snapshots: Snapshots, run: RunRecord) -> None:
    """Raises PipelineError for one whose files are this machine's: that is not for who is
    elsewhere to run."""
    if sent_files(snapshots, run) is None:
        raise PipelineError(
            f"{run.reference} was begun on the machine of its workspace, whose files it names;"
            " resume it there"
        )


@contextmanager
def laid_out(workspace: Workspace, snapshot: Snapshot) -> Iterator[Path]:
    """The files, for the block."""
    snapshots = workspace.tracking.snapshots
    with locked_folder(workspace.root / FOLDER) as folder:
        with snapshots.held():
            for file in snapshot.files:
                chunks = snapshots.chunks(file)
                write_file(folder / file.path, chunks, is_executable=file.is_executable)
        yield folder


def _packed(step: AnyStep, base: Path, files: Sources) -> AnyStep:
    top = f"{TOP}/{step.name}"
    if isinstance(step, ScriptStep):
        folder = f"{top}/folder"
        _add(files, folder, {file.path: file for file in snapshot_files(step, base)})
        inputs = {
            name: _packed_source(text, base, f"{top}/inputs/{name}", files)
            for name, text in step.inputs.items()
        }
        return msgspec.structs.replace(step, folder=folder, inputs=inputs)
    if isinstance(step, RegisterStep):
        source = _packed_source(step.files, base, f"{top}/files", files)
        return msgspec.structs.replace(step, files=source)
    if isinstance(step, ImageStep):
        return _packed_image(step, base, top, files)
    return step


def _packed_source(text: str, base: Path, top: str, files: Sources) -> str:
    """What another step writes is named as before."""
    source = Source.of(text)
    if source.step is not None:
        return text
    return f"./{_put(base / source.path, top, files)}"


def _packed_image(step: ImageStep, base: Path, top: str, files: Sources) -> ImageStep:
    changed: dict[str, str] = {}
    if step.script:
        folder = base / step.source if step.source else None
        code = read_code(base / step.script, folder)
        _add(files, f"{top}/source", {file.path: file for file in code.files})
        changed["script"] = f"{top}/source/{code.script}"
        if step.source:
            changed["source"] = f"{top}/source"
    for field in FILES["image"]:
        path = getattr(step, field)
        if path and field not in ("script", "source"):
            changed[field] = _put(base / path, f"{top}/{field}", files)
    return msgspec.structs.replace(step, **changed)


def _put(path: Path, top: str, files: Sources) -> str:
    """Where it lies: a file under its own name."""
    found: Mapping[str, SourceFile] = input_files(path) if path.is_dir() else _one(path)
    _add(files, top, found)
    return top if path.is_dir() else f"{top}/{next(iter(found))}"


def _one(path: Path) -> Sources:
    return {file.path: file for file in tree.walk(path)}


def _add(files: Sources, top: str, found: Mapping[str, SourceFile]) -> None:
    files.update({f"{top}/{path}": file for path, file in found.items()})


def _paths(step: AnyStep) -> Iterator[str]:
    """Of files, as they are written."""
    texts: list[str] = []
    if isinstance(step, ScriptStep):
        yield step.folder
        texts = list(step.inputs.values())
    elif isinstance(step, RegisterStep):
        texts = [step.files]
    for source in map(Source.of, texts):
        if source.step is None:
            yield source.path
    for field in FILES[step.kind]:
        yield getattr(step, field)
