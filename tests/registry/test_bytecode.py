"""Compiled Python in images: what is compiled, and that its bytes depend on nothing else."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from registry import bytecode
from registry.layers import Entry, bytes_entry

ROOT = "opt/lib"
NONE: frozenset[str] = frozenset()


def made(found: list[Entry]) -> set[str]:
    tag = f".{sys.implementation.cache_tag}.pyc"
    return {
        entry.path.removeprefix(f"{ROOT}/").replace("__pycache__/", "").replace(tag, "")
        for entry in found
    }


def test_what_an_import_loads_is_compiled_and_no_more() -> None:
    given_files = [
        bytes_entry(f"{ROOT}/a/__init__.py", b"from . import b\nfrom .c import x\n"),
        bytes_entry(f"{ROOT}/a/b.py", b"import d.e\ndef f():\n    import late\n"),
        bytes_entry(
            f"{ROOT}/a/c.py", b"try:\n    from ..a import never\nexcept ImportError: x = 1"
        ),
        bytes_entry(f"{ROOT}/a/unused.py", b""),
        bytes_entry(f"{ROOT}/d/__init__.py", b""),
        bytes_entry(f"{ROOT}/d/e.py", b"class K:\n    import f.g\n"),
        bytes_entry(f"{ROOT}/f/__init__.py", b""),
        bytes_entry(f"{ROOT}/f/g.py", b""),
        bytes_entry(f"{ROOT}/late.py", b""),
        bytes_entry(f"{ROOT}/a/data.txt", b"import late"),
    ]
    found = bytecode.compiled(given_files, ROOT, imported=frozenset({"a"}), whole=NONE)
    assert made(found) == {"a/__init__", "a/b", "a/c", "d/__init__", "d/e", "f/__init__", "f/g"}


def test_of_a_whole_package_everything_is_compiled_but_tests() -> None:
    given_files = [
        bytes_entry(f"{ROOT}/{path}", b"")
        for path in ("a/__init__.py", "a/x.py", "a/tests/t.py", "a/b/test/t.py", "other.py")
    ]
    found = bytecode.compiled(given_files, ROOT, imported=NONE, whole=frozenset({"a"}))
    assert made(found) == {"a/__init__", "a/x"}


def test_what_is_no_python_is_left_out_and_the_rest_compiled() -> None:
    hostile = {
        "syntax": b"def (:\n",
        "nul": b"x = 1\0",
        "latin": b"# coding: latin-1\nx = '\xe9'\n",
        "unknown": b"# coding: nothing\n",
        "deep": b"(" * 100_000,
        "good": b"x = 1\n",
    }
    given_files = [bytes_entry(f"{ROOT}/p/{name}.py", data) for name, data in hostile.items()]
    found = bytecode.compiled(given_files, ROOT, imported=NONE, whole=frozenset({"p"}))
    assert made(found) == {"p/latin", "p/good"}


@given(st.binary(max_size=200))
def test_any_bytes_are_compiled_or_left_out(data: bytes) -> None:
    found = bytecode.compiled(
        [bytes_entry(f"{ROOT}/p.py", data)], ROOT, imported=frozenset({"p"}), whole=NONE
    )
    assert len(found) <= 1
    assert isinstance(bytecode.imports(data), set)


def test_python_loads_what_was_compiled_without_looking_at_the_source(tmp_path: Path) -> None:
    [entry] = bytecode.compiled(
        [bytes_entry("lib/m.py", b"VALUE = 41 + 1\n")], "lib", imported=frozenset({"m"}), whole=NONE
    )
    with entry.open() as file:
        data = file.read()
    target = tmp_path / entry.path.removeprefix("lib/")
    target.parent.mkdir()
    target.write_bytes(data)
    (tmp_path / "m.py").write_text("VALUE = 'the source was compiled again'\n")
    code = "import m; print(m.VALUE, m.__spec__.cached)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[0] == "42"
    assert data.startswith(importlib.util.MAGIC_NUMBER)


def test_the_bytes_do_not_depend_on_the_process() -> None:
    """Hash seed, and strings that are alive by chance, show in what marshal writes by default."""
    program = (
        "import sys; sys.path[:] = eval(sys.argv[1])\n"
        "junk = [sys.intern(name) for name in sys.argv[2].split()]\n"
        "import hashlib, json.decoder\n"
        "from registry import bytecode\n"
        "from registry.layers import bytes_entry\n"
        'data = open(json.decoder.__file__, \'rb\').read() + b\'\\nS = x in {"a", "b", "c"}\\n\'\n'
        "[e] = bytecode.compiled([bytes_entry('l/m.py', data)], 'l', imported={'m'}, whole=set())\n"
        "print(hashlib.sha256(e.open().read()).hexdigest())\n"
    )
    digests = set()
    for seed, junk in (("0", ""), ("1", "scan_once JSONDecoder errmsg"), ("7", "doc pos S a b c")):
        done = subprocess.run(
            [sys.executable, "-c", program, repr(sys.path), junk],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_only_the_same_version_of_python_can_compile() -> None:
    major, minor = sys.version_info[:2]
    assert bytecode.can_compile((major, minor))
    assert not bytecode.can_compile((major, minor + 1))


def test_imports_in_functions_count_for_the_server() -> None:
    text = b"import a.b\ndef f():\n    from c import d\n"
    assert bytecode.imports(text) == {"a.b", "c", "c.d"}


def test_what_a_wheel_brings_compiled_itself_stays_as_it_is() -> None:
    tag = sys.implementation.cache_tag
    given_files = [
        bytes_entry(f"{ROOT}/p/{path}", b"")
        for path in ("own.py", f"__pycache__/own.{tag}.pyc", "q/m.py", "q/__pycache__", "r.py")
    ]
    found = bytecode.compiled(given_files, ROOT, imported=NONE, whole=frozenset({"p"}))
    assert made(found) == {"p/r"}
