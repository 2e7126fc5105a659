"""Text that is safe to print: a name or message from outside cannot move the cursor, change colours
or add lines to a terminal or log."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with control characters, line breaks and other unprintables as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """``text`` on one line: white space runs become one space, unprintables become escapes."""
    return printable(" ".join(text.split())) or "failed without a message"
