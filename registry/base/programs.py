"""What a program file says about itself: the processor and the loader in its ELF header, and of the
C library its version. Pure; reads hostile bytes."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEAD_BYTES = 4096
"""The loader's name stands right behind the headers."""
MAX_LIBRARY_BYTES = 64 * 1024 * 1024
MACHINES = {3: "i386", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64"}
_LIBC_FILE = re.compile(r"libc-(2)\.(\d{1,3})\.so")
_LIBC_TEXT = re.compile(rb"GNU C Library[^\n\0]{0,200}? version (\d{1,3})\.(\d{1,3})")
_OVERLAP_BYTES = 256
_INTERPRETER = 3
_LITTLE_64 = b"\x7fELF\x02\x01"


@dataclass(frozen=True, slots=True)
class Program:
    """``machine`` is of ``MACHINES`` or a number, empty for what is no program; ``loader`` the
    path of its dynamic loader; ``glibc`` is set for a C library only."""

    machine: str = ""
    loader: str = ""
    glibc: tuple[int, int] | None = None
    is_executable: bool = False


def read_program(name: str, content: Iterator[bytes], *, is_executable: bool) -> Program:
    """Reads no more of ``content`` than it needs."""
    head = b""
    while len(head) < HEAD_BYTES and (chunk := next(content, b"")):
        head += chunk
    machine, loader = _elf(head[:HEAD_BYTES])
    glibc = _glibc(name, head, content) if name.startswith("libc") and machine else None
    return Program(machine, loader, glibc, is_executable)


def _glibc(name: str, head: bytes, content: Iterator[bytes]) -> tuple[int, int] | None:
    found = _LIBC_FILE.fullmatch(name)
    if found is not None:
        return int(found[1]), int(found[2])
    window, read = head, len(head)
    while (text := _LIBC_TEXT.search(window)) is None:
        chunk = next(content, b"")
        read += len(chunk)
        if not chunk or read > MAX_LIBRARY_BYTES:
            return None
        window = window[-_OVERLAP_BYTES:] + chunk
    return int(text[1]), int(text[2])


def _elf(head: bytes) -> tuple[str, str]:
    """Machine and loader; empty for what is no ELF file."""
    if not head.startswith(b"\x7fELF") or len(head) < 64:
        return "", ""
    number = int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")
    machine = MACHINES.get(number, f"machine {number}")
    return machine, _loader(head) if head.startswith(_LITTLE_64) else ""


def _loader(head: bytes) -> str:
    (table,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    for at in range(table, table + size * min(count, 64), max(size, 1)):
        if at + 56 > len(head):
            break
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", head, at)
        if kind == _INTERPRETER and offset + length <= len(head):
            name = head[offset : offset + length].partition(b"\0")[0]
            return name.decode("utf-8", "surrogateescape")
    return ""
