"""What a client wants an image to be made of: uploaded files, laid out for the job that makes it.

Nothing of it names a file of this machine. A base is an image of a registry or of the Docker
Engine, or an uploaded file, or the files of an uploaded layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry import Workspace, tree
from registry.activities import OnChange
from registry.base.layout_archive import INDEX, MARK, MAX_BLOBS, is_of_layout
from registry.base.reference import parse_base, parse_registry_image
from registry.blobs import BlobStore
from registry.errors import InvalidSourceError
from registry.folders import write_file
from registry.paths import WorkspacePaths
from registry.records import Image
from registry.settings import NO_BASE
from runtime.serving import locked_folder
from runtime.workspace_service.sent_file import SentFile

ENGINE = "docker:"
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
LAYOUT = "layout"
MAX_SOURCE_FILES = 20_000


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """``script`` is the path of one of ``source``. A script alone is a source of one file.
    ``base_layout`` are the files of an OCI image layout, ``base_tag`` which of its images."""

    script: str | None
    source: tuple[SentFile, ...]
    requirements: SentFile | None
    conda: SentFile | None
    dockerfile: SentFile | None
    wheelhouse: tuple[SentFile, ...]
    sample: SentFile | None
    golden: SentFile | None
    base_file: SentFile | None
    base_layout: tuple[SentFile, ...] = ()
    base_tag: str | None = None

    @property
    def all(self) -> Iterator[SentFile]:
        """Each of them."""
        yield from (*self.source, *self.wheelhouse, *self.base_layout)
        yield from self.singles.values()

    @property
    def singles(self) -> Mapping[str, SentFile]:
        """Those that are no part of a folder, by what they are."""
        known = {
            "requirements": self.requirements,
            "conda": self.conda,
            "dockerfile": self.dockerfile,
            "sample": self.sample,
            "golden": self.golden,
            "base_file": self.base_file,
        }
        return {name: file for name, file in known.items() if file is not None}


def check_order(
    files: ImageFiles, base: str | None, *, allows_internal: bool, allows_engine: bool
) -> None:
    """Raises InvalidSourceError, BaseImageError."""
    for folder in (files.source, files.wheelhouse):
        if folder:
            tree.check_paths([file.path for file in folder], max_files=MAX_SOURCE_FILES)
    check_singles(files.singles.values())
    if (files.script is None) != (not files.source):
        raise InvalidSourceError("a script and the files of its source go together")
    if files.script is not None and files.script not in {file.path for file in files.source}:
        raise InvalidSourceError(f"the script {files.script!a} is not among the source's files")
    bases = (base, files.base_file, files.dockerfile, files.base_layout or None)
    if sum(each is not None for each in bases) > 1:
        raise InvalidSourceError("a base is named, or uploaded, or made by a Dockerfile")
    if base is not None:
        check_base(base, allows_engine=allows_engine)
    check_layout(files.base_layout, files.base_tag)
    if files.dockerfile is not None and not allows_internal:
        raise InvalidSourceError(
            "a Dockerfile reaches all that the service's machine reaches; its operator can allow it"
            " (inferry registry serve --allow-internal)"
        )


def check_singles(files: Iterable[SentFile]) -> None:
    """That they have names, and no paths. Raises InvalidSourceError."""
    for file in files:
        tree.check_paths([file.path])
        if "/" in file.path:
            raise InvalidSourceError(f"{file.path!a} is a path; give the file's name")


def check_layout(files: Sequence[SentFile], tag: str | None) -> None:
    """That these are the files of an OCI image layout, if any. Raises InvalidSourceError."""
    if tag is not None and not (files and _TAG.fullmatch(tag)):
        raise InvalidSourceError(f"{tag!a} is no tag of an uploaded layout")
    if not files:
        return
    paths = [file.path for file in files]
    tree.check_paths(paths, max_files=MAX_BLOBS)
    for file in files:
        if not is_of_layout(file.path):
            raise InvalidSourceError(f"{file.path[:200]!a} is no file of an OCI image layout")
        name = file.path.rpartition("/")[2]
        if "/" in file.path and file.digest != f"sha256:{name}":
            raise InvalidSourceError(
                f"the blob {name} of the layout has other bytes: {file.digest}"
            )
    if not {MARK, INDEX} <= set(paths):
        raise InvalidSourceError(f"a layout has the files {MARK} and {INDEX}")


def check_base(text: str, *, allows_engine: bool) -> str:
    """A base that a client may name. ``allows_engine``: also any image that the service's Docker
    Engine has, whoever it belongs to. Raises BaseImageError, InvalidSourceError."""
    if text == NO_BASE:
        return text
    if text.startswith(ENGINE) and not text.startswith("docker://"):
        if not allows_engine:
            raise InvalidSourceError(
                "an image of the service's Docker Engine is an owner's to name as a base, or its"
                " operator can allow it (inferry registry serve --allow-internal)"
            )
        return text
    image = parse_registry_image(text.removeprefix("docker://"))
    # A file of that name in the folder where the service runs must not become the base.
    for name in (text, str(image)):
        if parse_base(name) == image:
            return name
    raise InvalidSourceError("the base is no image of a registry")


def made(
    workspace: Workspace,
    files: ImageFiles,
    on_change: OnChange,
    *,
    name: str,
    models: Sequence[str],
    base: str | None,
    tags: Mapping[str, str],
    description: str,
    max_batch: int | None,
    platform: str | None,
    pull: bool,
    relock: bool,
    proof: bool,
    revision: str | None,
    only_public: bool,
) -> Image:
    """The image; its files lie in a folder of their own while it is made."""
    store = BlobStore(WorkspacePaths(workspace.root))
    with locked_folder(workspace.root / "making") as folder:
        for part, some in (
            ("source", files.source),
            ("wheelhouse", files.wheelhouse),
            (LAYOUT, files.base_layout),
        ):
            for file in some:
                write_sent(store, folder / part / file.path, file)
        paths: dict[str, Path] = {}
        for part, file in files.singles.items():
            paths[part] = folder / part / file.path
            write_sent(store, paths[part], file)
        base_file = paths.pop("base_file", None)
        base_said = None
        if base_file is not None:
            base, base_said = str(base_file), f"uploaded {base_file.name}"
        elif files.base_layout:
            tag = "" if files.base_tag is None else f":{files.base_tag}"
            base, base_said = f"oci:{folder / LAYOUT}{tag}", f"uploaded oci{tag}"
        source = folder / "source"
        return workspace.images.create(
            name,
            models=models,
            script=None if files.script is None else source / files.script,
            source=source if len(files.source) > 1 or "/" in (files.script or "") else None,
            wheelhouse=folder / "wheelhouse" if files.wheelhouse else None,
            base=base,
            base_said=base_said,
            tags=tags,
            description=description,
            max_batch=max_batch,
            platform=platform,
            pull=pull,
            relock=relock,
            proof=proof,
            revision=revision,
            only_public=only_public,
            on_change=on_change,
            **paths,
        )


def write_sent(store: BlobStore, path: Path, file: SentFile) -> None:
    """What was uploaded, as a file for as long as an image is made. Raises DamagedBlobError."""
    write_file(path, store.chunks(file.digest), is_executable=file.is_executable)
