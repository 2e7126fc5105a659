"""The files of an image as far as they matter to find its Python and its C library: symbolic links,
programs of certain names, and the folders above them. Layers go in from the lowest up; whiteouts
hide what lower ones have. Nothing else of an image is kept, so memory stays small."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from registry.base.programs import Program, read_program
from registry.base.tar_reader import Kind, Member
from registry.errors import BaseImageError

MAX_NODES = 300_000
MAX_LINKS_FOLLOWED = 40
MAX_STEPS = 20_000_000
"""Of all walks together; only a tree made to be tangled needs more than a few thousand."""
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_PROGRAM = re.compile(r"python(3(\.\d{1,3})?)?|libc\.so\.6|libc-2\.\d{1,3}\.so|ld-[^/]{1,60}")
_PYTHON_FOLDER = re.compile(r"python3\.\d{1,3}")


@dataclass(slots=True)
class Node:
    """A folder, a symbolic link (``target``) or a program, written by layer number ``layer``."""

    layer: int
    children: dict[str, Node] = field(default_factory=dict)
    target: str | None = None
    program: Program | None = None


class FileTree:
    """``next_layer()``, then ``add`` for each of its members."""

    def __init__(self) -> None:
        self._root = Node(0)
        self._layer = 0
        self._nodes = self._steps = 0

    def next_layer(self) -> None:
        """What is added from now on lies above what is there."""
        self._layer += 1

    def add(self, member: Member, content: Callable[[], Iterator[bytes]]) -> None:
        """Take in one member; ``content`` is called for what is read of a program."""
        folder, _, name = member.path.rpartition("/")
        if not name:
            return
        if name.startswith(WHITEOUT):
            self._white_out(folder, name)
        elif member.kind is Kind.FOLDER:
            self._add_folder(member.path, name)
        elif member.kind is Kind.SYMBOLIC_LINK:
            node = self._put(member.path)
            node.target = member.target
        elif member.kind is Kind.FILE and _PROGRAM.fullmatch(name):
            node = self._put(member.path)
            node.program = read_program(name, content(), is_executable=member.is_executable)
        elif member.kind is Kind.HARD_LINK and _PROGRAM.fullmatch(name):
            original = self._find(member.target)
            node = self._put(member.path)
            node.program = None if original is None else original.program
            node.target = None if original is None else original.target
        else:
            self._remove(member.path)

    def resolve(self, path: str) -> tuple[str, Node] | None:
        """The real path of what ``path`` names, and its node; None when it is not there or its
        links go round in circles. A link never leaves the image."""
        waiting = _parts(path)[::-1]
        done: list[tuple[str, Node | None]] = []
        links = 0
        while waiting:
            self._spend(1)
            part = waiting.pop()
            if part == "..":
                del done[-1:]
                continue
            above = done[-1][1] if done else self._root
            node = None if above is None else above.children.get(part)
            if node is None or node.target is None:
                done.append((part, node))
                continue
            links += 1
            if links > MAX_LINKS_FOLLOWED:
                return None
            if node.target.startswith("/"):
                done = []
            waiting.extend(_parts(node.target)[::-1])
        found = done[-1][1] if done else self._root
        real = "".join(f"/{part}" for part, _ in done)
        return None if found is None else (real, found)

    def names(self, folder: str) -> list[str]:
        """What is known to be in a folder."""
        found = self.resolve(folder)
        return [] if found is None else sorted(found[1].children)

    def _add_folder(self, path: str, name: str) -> None:
        node = self._find(path)
        if node is None and not _PYTHON_FOLDER.fullmatch(name):
            return
        if node is None or node.target is not None or node.program is not None:
            self._put(path)

    def _put(self, path: str) -> Node:
        """A new node in the place of what is there."""
        node = self._root
        *above, name = path.split("/")
        for part in above:
            child = node.children.get(part)
            if child is None or child.target is not None or child.program is not None:
                child = node.children[part] = self._new()
            node = child
        node.children[name] = made = self._new()
        return made

    def _new(self) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise BaseImageError(f"it has more than {MAX_NODES} symbolic links")
        return Node(self._layer)

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise BaseImageError("its symbolic links and whiteouts are too tangled to follow")

    def _find(self, path: str) -> Node | None:
        node = self._root
        for part in path.split("/") if path else ():
            found = node.children.get(part)
            if found is None:
                return None
            node = found
        return node

    def _remove(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        parent = self._find(folder)
        if parent is not None:
            parent.children.pop(name, None)

    def _white_out(self, folder: str, name: str) -> None:
        parent = self._find(folder)
        hidden = name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            raise BaseImageError(f"it has the whiteout {ascii(f'{folder}/{name}')[:120]}")
        if parent is None:
            return
        if name == OPAQUE:
            for child in list(parent.children):
                self._hide(parent, child)
        elif not hidden.startswith(WHITEOUT):  # others are notes of a builder to itself
            self._hide(parent, hidden)

    def _hide(self, parent: Node, name: str) -> None:
        """Remove what lower layers put there: a whiteout hides nothing of its own layer."""
        node = parent.children.get(name)
        if node is None:
            return
        kept = self._kept(node)
        if kept is None:
            del parent.children[name]

    def _kept(self, top: Node) -> Node | None:
        """``top`` with nothing of lower layers below; None when nothing is left. Without
        recursion: a hostile tree is deeper than Python's stack."""
        order = [top]
        for node in order:
            order.extend(node.children.values())
        self._spend(len(order))
        for node in reversed(order):
            node.children = {
                name: child
                for name, child in node.children.items()
                if child.layer == self._layer or child.children
            }
        return top if top.layer == self._layer or top.children else None


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
