"""What lies where in layers on layers."""

from __future__ import annotations

import tarfile

import pytest

from registry.base import file_tree
from registry.base.file_tree import FileTree
from registry.base.tar_reader import TarReader
from registry.errors import BaseImageError
from tests.registry.base.samples import elf, entry, folder, link, tar

Members = tuple[tuple[tarfile.TarInfo, bytes], ...]
PYTHON = entry("usr/bin/python3", elf())


def tree(*layers: Members) -> FileTree:
    made = FileTree()
    for members in layers:
        made.next_layer()
        reader = TarReader(iter([tar(*members)]), is_strict=True)
        for member in reader:
            made.add(member, reader.content)
    return made


def real(made: FileTree, path: str) -> str | None:
    found = made.resolve(path)
    return None if found is None or found[1].program is None else found[0]


def test_links_are_followed_inside_the_image() -> None:
    made = tree((PYTHON, link("bin", "usr/bin"), link("a", "/bin/../../../bin/python3")))
    assert real(made, "/a") == "/usr/bin/python3"
    assert real(made, "/bin/python3") == "/usr/bin/python3"
    assert real(made, "/../../bin/./python3") == "/usr/bin/python3"


def test_links_in_circles_lead_nowhere() -> None:
    made = tree((link("a", "b"), link("b", "a"), link("c", "c/c"), link("d", "d/../d")))
    assert [real(made, name) for name in "abcd"] == [None] * 4


def test_links_that_multiply_are_given_up() -> None:
    made = tree(tuple(link(f"l{n}", f"l{n + 1}/" * 60) for n in range(60)))
    assert real(made, "l0") is None


def test_a_hard_link_is_the_same_program() -> None:
    made = tree((PYTHON, link("opt/python3.9", "usr/bin/python3", tarfile.LNKTYPE)))
    assert real(made, "opt/python3.9") == "/opt/python3.9"


@pytest.mark.parametrize(
    "upper",
    [
        (entry("usr/bin/.wh.python3"),),
        (entry("usr/.wh.bin"),),
        (entry(".wh.usr"),),
        (entry("usr/bin/.wh..wh..opq"),),
        (entry("usr/.wh..wh..opq"),),
        (entry(".wh..wh..opq"),),
        (entry("usr"),),
        (entry("usr/bin"),),
        (link("usr/bin", "/nowhere"),),
        (folder("usr/bin/python3"),),
    ],
)
def test_an_upper_layer_hides_what_lies_below(upper: Members) -> None:
    assert real(tree((PYTHON,)), "usr/bin/python3") is not None
    assert real(tree((PYTHON,), upper), "usr/bin/python3") is None


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("white", ["usr/bin/.wh..wh..opq", "usr/bin/.wh.python3", ".wh.usr"])
def test_a_whiteout_hides_nothing_of_its_own_layer(white: str, is_first: bool) -> None:
    lower = (entry("usr/bin/python3.9", elf()),)
    upper = (entry(white), PYTHON) if is_first else (PYTHON, entry(white))
    made = tree(lower, upper)
    assert real(made, "usr/bin/python3") == "/usr/bin/python3"
    assert (real(made, "usr/bin/python3.9") is None) == (white != "usr/bin/.wh.python3")


def test_other_files_of_builders_hide_nothing() -> None:
    made = tree((PYTHON,), (entry("usr/bin/.wh..wh.plnk"), folder("usr/bin"), entry("usr/bin/x")))
    assert real(made, "usr/bin/python3") is not None


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "usr/.wh..."])
def test_a_whiteout_of_the_folder_above_is_refused(name: str) -> None:
    with pytest.raises(BaseImageError, match="whiteout"):
        tree((entry(name),))


def test_too_many_links_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_tree, "MAX_NODES", 100)
    with pytest.raises(BaseImageError, match="more than 100"):
        tree(tuple(link(f"l{n}", "x") for n in range(101)))


def test_whiteouts_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_tree, "MAX_STEPS", 10_000)
    lower = tuple(link(f"d/l{n}", "x") for n in range(100))
    upper = (*(link(f"d/u{n}", "x") for n in range(100)), *[entry("d/.wh..wh..opq")] * 200)
    with pytest.raises(BaseImageError, match="tangled"):
        tree(lower, upper)


def test_folders_deeper_than_python_s_stack_go_too() -> None:
    made = FileTree()
    for number in range(200):
        made.next_layer()
        path = "/".join(["d"] * 250)
        reader = TarReader(
            iter([tar(link(f"{path}/l{number}", "x"), entry(".wh.d"))]), is_strict=True
        )
        for member in reader:
            made.add(member, reader.content)
    assert made.names("/") == ["d"]
