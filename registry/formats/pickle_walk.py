"""Whether bytes are a pickle: their ops are walked as the pickle machine would, and none is run.

A pickle runs code by what it calls. To come so far every op before must be a right one, so a file
whose ops make no sense before the first call cannot harm, whatever comes later.
"""

from __future__ import annotations

import io
import pickletools
import re
from collections.abc import Callable
from typing import IO, Any

MAX_OPS = 100_000
MAX_LINE_BYTES = 64 * 1024
_GLOBALS = frozenset(b"c\x93\x82\x83\x84")
"""GLOBAL, STACK_GLOBAL, EXT1, EXT2, EXT4: what can be called."""
_ITERABLES = frozenset(b")t\x85\x86\x87]l}d\x8f\x91SVTUX\x8c\x8dBC\x8e\x96ghj")
"""What it can be called with: tuples, but also lists, text and bytes; and what the memo has."""
_CALLS = frozenset(b"R\x81\x92b")
"""REDUCE, NEWOBJ, NEWOBJ_EX, BUILD."""
_MARK, _MARK_CALLS = b"("[0], frozenset(b"io")
"""INST and OBJ, which take all that is above a mark."""
_PROTO, _STOP = b"\x80"[0], b"."[0]
_LEAST_OPS = 3
"""Of a file that says that it is a pickle; random bytes say so now and then."""
_OPCODES = {op.code.encode("latin-1")[0]: op for op in pickletools.opcodes}
_NAME = re.compile(r"[\w-]+(\.[\w-]+)*")
"""Of a module, or of something in it; nothing else is ever found."""
_COUNTED = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def is_pickle(file: IO[bytes], size_bytes: int | None = None) -> bool:
    """Whether the file, from where it is on, says that it is a pickle and its first ops are right,
    or comes to a call. ``size_bytes``: None where ``file`` is only a beginning."""
    end = _end(file) if size_bytes is None else size_bytes
    is_whole = size_bytes is not None
    is_declared, ops = False, 0
    seen: set[int] = set()
    while ops < MAX_OPS:
        code = file.read(1)
        if not code:
            return is_declared and ops >= _LEAST_OPS
        op = _OPCODES.get(code[0])
        if op is None:
            return False
        if code[0] == _PROTO and ops == 0:
            [version] = file.read(1) or b"\xff"
            if version > 5:
                return False
            is_declared, ops = True, 1
            continue
        if not _skip(file, op.arg, end):
            # A text or array that is longer than what is here of the file.
            return is_declared and not is_whole and ops >= _LEAST_OPS - 1
        ops += 1
        if code[0] == _STOP:
            return is_declared
        if (not seen and op.stack_before) or (code[0] in _MARK_CALLS and _MARK not in seen):
            return False  # it takes what is not there, and that ends the machine
        if _is_call(code[0], seen) or (is_declared and code[0] in _GLOBALS):
            return True
        seen.add(code[0])
    return True  # so many right ops are no accident


def _is_call(code: int, seen: set[int]) -> bool:
    """Whether the op can call something, after those that were seen."""
    if code in _MARK_CALLS:
        return _MARK in seen
    return code in _CALLS and bool(seen & _GLOBALS) and bool(seen & _ITERABLES)


def begins_as_pickle(data: bytes) -> bool:
    """The same of the beginning of a file."""
    return is_pickle(io.BytesIO(data))


def _skip(file: IO[bytes], argument: Any, end: int) -> bool:
    """Past the argument of an op; False where it cannot be one."""
    if argument is None:
        return True
    if argument.n >= 0:
        width = int(argument.n)
        return len(file.read(width)) == width
    if argument.n == pickletools.UP_TO_NEWLINE:
        lines = 2 if argument.name == "stringnl_noescape_pair" else 1
        return all(_skip_line(file, argument.name) for _ in range(lines))
    width = _COUNTED[argument.n]
    data = file.read(width)
    count = int.from_bytes(data, "little")
    if len(data) < width or file.tell() + count > end:
        return False
    file.seek(count, io.SEEK_CUR)
    return True


def _skip_line(file: IO[bytes], kind: str) -> bool:
    """As the machine written in Python reads one: the last byte is cut off, whatever it is."""
    line = file.readline(MAX_LINE_BYTES)
    if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
        return bool(line) and _is_right(_text(line[:-1]).removesuffix("\r"), kind)
    while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
        line = file.readline(MAX_LINE_BYTES)
    return kind not in ("stringnl_noescape_pair", "floatnl")


def _is_right(text: str, kind: str) -> bool:
    if kind == "stringnl_noescape_pair":  # a module or a name in it
        return _NAME.fullmatch(text) is not None
    if kind in ("decimalnl_short", "decimalnl_long"):
        return _is_number(lambda: int(text.removesuffix("L"), 0)) or _is_number(lambda: int(text))
    if kind == "floatnl":
        return _is_number(lambda: float(text))
    if kind == "stringnl":
        return len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return True


def _is_number(read: Callable[[], object]) -> bool:
    try:
        read()
    except ValueError:
        return False
    return True


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _end(file: IO[bytes]) -> int:
    here = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(here)
    return end
