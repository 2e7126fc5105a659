"""Compiled Python for an image, so that a container starts in half the time.

A ``.pyc`` here depends on its source and on the version of Python (3.11, not 3.11.2) and on nothing
else: it is marked as unchecked (PEP 552: no time of the source in it), and written in marshal's
version 2, which has no references to objects that were alive by chance. Only a Python of the
image's version can write it; with another one the image has none, which ``can_compile`` says.

Not everything is compiled, which would cost a tenth of the image: of the packages that the server
asks for only what importing them loads, of those that the user asked for everything but tests.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence, Set

from registry.layers import Entry, bytes_entry

UNCHECKED_HASH = (1).to_bytes(4, "little")
NOT_LOADED = frozenset({"test", "tests"})
MAX_SOURCE_BYTES = 4 * 1024 * 1024


def can_compile(python: tuple[int, int]) -> bool:
    """Whether this interpreter writes what that version reads."""
    return sys.implementation.name == "cpython" and sys.version_info[:2] == python


def compiled(
    entries: Sequence[Entry], root: str, *, imported: Set[str], whole: Set[str]
) -> list[Entry]:
    """The compiled files of ``entries``, which lie below the folder ``root`` that will be on
    sys.path: what importing the modules ``imported`` loads, and all of the top-level packages
    ``whole``. What is no valid Python of this version is left out, as importing would fail."""
    sources = {
        module: entry
        for entry in entries
        for module in [_module(entry.path, root)]
        if module is not None and entry.size_bytes <= MAX_SOURCE_BYTES
    }
    waiting = [module for name in imported for module in _with_parents(name)]
    waiting += [module for module in sources if _is_in(module, whole)]
    taken = {entry.path for entry in entries}
    seen: set[str] = set()
    made: list[Entry] = []
    while waiting:
        module = waiting.pop()
        if module in seen or module not in sources:
            continue
        seen.add(module)
        with sources[module].open() as file:
            data = file.read()
        is_package = sources[module].path.endswith("/__init__.py")
        found = _compiled(sources[module].path, data, module, is_package)
        if found is not None:
            waiting.extend(found[1])
            if _is_free(found[0].path, taken):
                made.append(found[0])
    return made


def imports(data: bytes) -> set[str]:
    """The modules that a file of no package imports, also in its functions."""
    tree = _parsed(data)
    return set() if tree is None else set(_imports(ast.walk(tree), "", is_package=False))


def _compiled(
    path: str, data: bytes, module: str, is_package: bool
) -> tuple[Entry, set[str]] | None:
    tree = _parsed(data)
    if tree is None:
        return None
    names = {
        parent
        for name in _imports(_at_import(tree), module, is_package=is_package)
        for parent in _with_parents(name)
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(tree, f"/{path}", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    header = importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + importlib.util.source_hash(data)
    folder, _, file = path.rpartition("/")
    stem = file.removesuffix(".py")
    target = f"{folder}/__pycache__/{stem}.{sys.implementation.cache_tag}.pyc"
    return bytes_entry(target, header + marshal.dumps(code, 2)), names


def _parsed(data: bytes) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _module(path: str, root: str) -> str | None:
    """``root``/a/b.py is a.b, ``root``/a/__init__.py is a; None for what cannot be imported."""
    if not (path.startswith(f"{root}/") and path.endswith(".py")):
        return None
    parts = path.removeprefix(f"{root}/").removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) if parts and all(map(str.isidentifier, parts)) else None


def _is_free(path: str, taken: Set[str]) -> bool:
    """Whether nothing else has the place: neither a ``.pyc`` that a wheel brings itself, nor a file
    that is called as the folder."""
    return path not in taken and path.rpartition("/")[0] not in taken


def _is_in(module: str, packages: Set[str]) -> bool:
    """Whether the module belongs to one of the packages, and not to its tests."""
    parents = _with_parents(module)
    return not packages.isdisjoint(parents) and NOT_LOADED.isdisjoint(module.split("."))


def _at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: not those in functions."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(node))


def _imports(nodes: Iterable[ast.AST], module: str, *, is_package: bool) -> Iterator[str]:
    """What import statements name; ``from a import b`` may mean a module a.b."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, module, is_package)
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _origin(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    up = node.level - 1 if is_package else node.level
    kept = parts[: len(parts) - up] if up else parts
    return ".".join([*kept, *([node.module] if node.module else [])])


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]
