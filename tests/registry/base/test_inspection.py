"""Which Python a base has, and what does not fit."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from registry.base.image import BasePython
from registry.errors import BaseImageError
from tests.registry.base.conftest import Load
from tests.registry.base.samples import (
    AMD64,
    ARM64,
    LOADER,
    LayoutMaker,
    debian,
    elf,
    entry,
    folder,
    libc,
    link,
    tar,
)

LIBC = entry("lib64/libc.so.6", libc())
Members = tuple[tuple[tarfile.TarInfo, bytes], ...]


def write(folder: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    path = folder / "base.tar"
    path.write_bytes(tar(*members))
    return path


def test_a_debian_base_has_its_python(load: Load, tmp_path: Path) -> None:
    base = load(write(tmp_path, *debian()))
    assert base.python == BasePython("/usr/bin/python3.11", (3, 11))
    assert base.glibc == (2, 36)
    assert str(base.target) == "linux/amd64, Python 3.11, glibc 2.36"


def test_a_base_for_arm64_is_read_on_any_machine(load: Load, tmp_path: Path) -> None:
    base = load(write(tmp_path, *debian(ARM64, 12)), "arm64")
    assert (base.python.version, base.platform.architecture) == ((3, 12), "arm64")


@pytest.mark.parametrize(
    ("machine", "asked", "says"),
    [(ARM64, "amd64", "for linux/arm64"), (AMD64, "arm64", "for linux/amd64")],
)
def test_a_tar_for_another_processor_is_refused(
    load: Load, tmp_path: Path, machine: int, asked: str, says: str
) -> None:
    with pytest.raises(BaseImageError, match=f"it is {says} .*, the image for linux/{asked}"):
        load(write(tmp_path, *debian(machine)), asked)


@pytest.mark.parametrize(
    ("members", "path", "version"),
    [
        # python:3.11-slim
        (
            (
                link("usr/local/bin/python", "python3"),
                link("usr/local/bin/python3", "python3.11"),
                entry("usr/local/bin/python3.11", elf()),
                link("usr/bin/python3", "python3.9"),
                entry("usr/bin/python3.9", elf()),
            ),
            "/usr/local/bin/python3.11",
            (3, 11),
        ),
        # a virtual environment is called by its own name
        (
            (
                link("usr/local/bin/python3", "/opt/python/bin/python3"),
                link("opt/python", "python-3.10.4"),
                link("opt/python-3.10.4/bin/python3", "python3.10"),
                entry("opt/python-3.10.4/bin/python3.10", elf()),
            ),
            "/usr/local/bin/python3",
            (3, 10),
        ),
        # the version only in the folder of its library
        (
            (entry("usr/bin/python3", elf()), folder("usr/lib/python3.9")),
            "/usr/bin/python3",
            (3, 9),
        ),
        # an old one first, a new one beside it
        (
            (
                link("usr/bin/python3", "python3.6"),
                entry("usr/bin/python3.6", elf()),
                entry("usr/bin/python3.9", elf()),
                entry("usr/bin/python3.11", elf()),
            ),
            "/usr/bin/python3.11",
            (3, 11),
        ),
        # a shim before it is no program
        (
            (
                entry("usr/local/bin/python3", b"#!/bin/sh\nexec pyenv\n" * 10),
                entry("usr/bin/python3.10", elf()),
            ),
            "/usr/bin/python3.10",
            (3, 10),
        ),
    ],
)
def test_the_first_python_that_can_be_used_is_taken(
    load: Load, tmp_path: Path, members: Members, path: str, version: tuple[int, int]
) -> None:
    base = load(write(tmp_path, *members, LIBC))
    assert base.python == BasePython(path, version)


def test_path_of_the_config_says_where_to_look(load: Load, tmp_path: Path) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    layer = tar(
        entry("opt/conda/bin/python3.12", elf()), link("opt/conda/bin/python3", "python3.12"), LIBC
    )
    layout.image([layer], settings={"Env": ["A=1", "PATH=/opt/conda/bin:relative:/bin"]})
    assert load(tmp_path / "oci").python.path == "/opt/conda/bin/python3.12"


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ((), "no Python 3.8 or later in /usr/local/sbin"),
        ((entry("usr/bin/python3.7", elf()),), "is Python 3.7"),
        ((entry("usr/bin/python3", elf(), mode=0o644),), "python3 is no program"),
        ((entry("usr/bin/python3", b"\x7fELF"),), "python3 is no program"),
        ((entry("usr/bin/python3", elf()),), "python3 has no known version"),
        ((link("usr/bin/python3", "python3"),), "no Python"),
        ((link("usr/bin/python3", "/proc/self/exe"),), "no Python"),
        ((entry("root/python3.11", elf()),), "no Python"),
        ((entry("usr/bin/python3.11", elf(3, "")),), "for linux/i386"),
        ((entry("usr/bin/python3.11", elf(243, "")),), "for linux/machine 243"),
        ((entry("usr/bin/python3.11", elf(loader="/lib/ld-musl-x86_64.so.1")), LIBC), "musl"),
    ],
)
def test_a_base_that_cannot_run_wheels_is_refused(
    load: Load, tmp_path: Path, members: Members, says: str
) -> None:
    with pytest.raises(BaseImageError, match=says) as caught:
        load(write(tmp_path, *members))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("members", "version"),
    [
        # beside the loader, wherever that lies
        (
            (
                entry("usr/bin/python3.11", elf(loader="/nix/store/x-glibc/lib/ld-linux.so.2")),
                entry("nix/store/x-glibc/lib/ld-linux.so.2", elf(loader="")),
                entry("nix/store/x-glibc/lib/libc.so.6", libc("2.38")),
                entry("lib/libc.so.6", libc("2.17")),
            ),
            (2, 38),
        ),
        # Debian 11: the version is in the name
        (
            (
                entry("usr/bin/python3.11", elf()),
                link("lib/x86_64-linux-gnu/libc.so.6", "libc-2.31.so"),
                entry("lib/x86_64-linux-gnu/libc-2.31.so", elf(loader="")),
                link(LOADER[1:], "/lib/x86_64-linux-gnu/ld-2.31.so"),
                entry("lib/x86_64-linux-gnu/ld-2.31.so", elf(loader="")),
            ),
            (2, 31),
        ),
        # one of another processor is passed over
        (
            (
                entry("usr/bin/python3.11", elf()),
                entry("lib/x86_64-linux-gnu/libc.so.6", libc("2.30", ARM64)),
                entry("usr/lib64/libc.so.6", libc("2.34")),
            ),
            (2, 34),
        ),
    ],
)
def test_the_c_library_is_that_of_the_python(
    load: Load, tmp_path: Path, members: Members, version: tuple[int, int]
) -> None:
    assert load(write(tmp_path, *members)).glibc == version


@pytest.mark.parametrize("library", [b"", b"GNU C Library version 2.36", elf(loader="") * 40])
def test_a_base_without_a_c_library_that_can_be_told_is_refused(
    load: Load, tmp_path: Path, library: bytes
) -> None:
    path = write(tmp_path, entry("bin/python3.11", elf()), entry("lib64/libc.so.6", library))
    with pytest.raises(BaseImageError, match="no glibc"):
        load(path)


def test_a_program_with_hostile_headers_is_only_no_program_for_this(
    load: Load, tmp_path: Path
) -> None:
    hostile = bytearray(elf())
    hostile[32:40] = b"\xff" * 8
    hostile[54:58] = b"\x00\x00\xff\xff"
    path = write(tmp_path, entry("bin/python3.11", bytes(hostile)), LIBC)
    assert load(path).glibc == (2, 36)
