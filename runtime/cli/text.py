"""Text that is safe to print: a name or message from outside cannot move the cursor, change colours
or add lines to a terminal or log."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with control characters, line breaks and other unprintables as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """``text`` on one line: white space runs become one space, unprintables become escapes."""
    return printable(" ".join(text.split())) or "failed without a message"


def size(size_bytes: float) -> str:
    """``1536`` as ``1.5 KiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"


def printable_lines(text: str) -> str:
    """``text`` with its line breaks and tabs, everything else as ``printable`` has it."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.splitlines())
