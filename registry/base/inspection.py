"""Finds the Python that a container would start, and checks that wheels can go with it: processor,
version, C library. Decides from a FileTree; reads nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from registry.base.file_tree import FileTree
from registry.base.image import BasePython
from registry.base.programs import Program
from registry.errors import BaseImageError
from registry.platforms import Platform

OLDEST_PYTHON = (3, 8)
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_PATH_FOLDERS = 64
_NUMBERED = re.compile(r"python3\.(\d{1,3})")


def find_python(
    tree: FileTree, environment: Sequence[str], platform: Platform
) -> tuple[BasePython, tuple[int, int]]:
    """The Python along PATH and the version of its glibc. Raises BaseImageError."""
    folders = _path_folders(environment)
    complaints: list[str] = []
    for path, real, program in _candidates(tree, folders):
        version = _version(tree, real)
        if not program.machine or not program.is_executable:
            complaints.append(f"{path} is no program")
        elif version is None:
            complaints.append(f"{path} has no known version")
        elif version < OLDEST_PYTHON:
            complaints.append(f"{path} is Python {version[0]}.{version[1]}")
        else:
            _check_machine(path, program, platform)
            return BasePython(path, version), _glibc(tree, path, program, platform)
    found = f" ({'; '.join(complaints[:3])})" if complaints else ""
    raise BaseImageError(
        f"it has no Python 3.8 or later in {':'.join(folders)[:200]}{found};"
        " take a base with Python, such as python:3.11-slim"
    )


def _path_folders(environment: Sequence[str]) -> list[str]:
    found = dict(line.partition("=")[::2] for line in environment)
    folders = (found.get("PATH") or DEFAULT_PATH).split(":")
    return [folder for folder in folders if folder.startswith("/")][:MAX_PATH_FOLDERS]


def _candidates(tree: FileTree, folders: Sequence[str]) -> Iterator[tuple[str, str, Program]]:
    """Path, real path and program. In each folder python3 first: it is what the image's author
    chose; then others, the newest first."""
    for folder in folders:
        numbered = [name for name in tree.names(folder) if _NUMBERED.fullmatch(name)]
        numbered.sort(key=lambda name: -int(name.rpartition(".")[2]))
        for name in ("python3", *numbered, "python"):
            path = _own_name(tree, str(PurePosixPath(folder, name)))
            found = tree.resolve(path)
            if found is not None and found[1].program is not None:
                yield path, found[0], found[1].program


def _own_name(tree: FileTree, path: str) -> str:
    """``python3.11`` for a ``python3`` that links to it in the same folder. A link elsewhere stays:
    a virtual environment's Python must be called by its own name to be one."""
    for _ in range(4):
        folder, _, name = path.rpartition("/")
        found = tree.resolve(folder)
        node = None if found is None else found[1].children.get(name)
        target = None if node is None else node.target
        if target is None or "/" in target.removeprefix(f"{folder}/"):
            break
        path = f"{folder}/{target.removeprefix(f'{folder}/')}"
    return path


def _version(tree: FileTree, real: str) -> tuple[int, int] | None:
    """From the name of the real file, else from the one lib/python3.X/ beside its folder."""
    folder, _, name = real.rpartition("/")
    if found := _NUMBERED.fullmatch(name):
        return 3, int(found[1])
    prefix = folder.rpartition("/")[0]
    names = {*tree.names(f"{prefix}/lib"), *tree.names(f"{prefix}/lib64")}
    minors = [int(match[1]) for each in names if (match := _NUMBERED.fullmatch(each))]
    return (3, minors[0]) if len(minors) == 1 else None


def _check_machine(path: str, program: Program, platform: Platform) -> None:
    if program.machine != platform.architecture:
        raise BaseImageError(
            f"it is for linux/{program.machine} ({path}), the image for {platform}"
        )


def _glibc(tree: FileTree, path: str, program: Program, platform: Platform) -> tuple[int, int]:
    if "ld-musl" in program.loader:
        raise BaseImageError(
            f"its {path} needs musl, for which wheels are not supported; take a Debian, Ubuntu or"
            " Red Hat base, such as python:3.11-slim instead of -alpine"
        )
    for folder in _library_folders(tree, program.loader, platform):
        found = tree.resolve(f"{folder}/libc.so.6")
        library = None if found is None else found[1].program
        if library is not None and library.glibc and library.machine == platform.architecture:
            return library.glibc
    raise BaseImageError(
        "it has no glibc whose version can be told; take a Debian, Ubuntu or Red Hat base"
    )


def _library_folders(tree: FileTree, loader: str, platform: Platform) -> list[str]:
    """The C library lies beside the loader; if not, where distributions have it."""
    found = tree.resolve(loader) if loader else None
    beside = [] if found is None else [found[0].rpartition("/")[0]]
    triplet = f"{platform.machine}-linux-gnu"
    usual = [f"{top}/{lib}" for top in ("", "/usr") for lib in (f"lib/{triplet}", "lib64", "lib")]
    return [*beside, *usual]
