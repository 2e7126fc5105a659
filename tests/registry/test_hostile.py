"""Bad names, bad folders and bad ONNX files are refused, and the workspace goes on working."""

from __future__ import annotations

import os
import re
import resource
import socket
import string
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import Workspace, tree
from registry.errors import InvalidNameError, InvalidOnnxError, InvalidSourceError, NotFoundError
from registry.names import MAX_VALUE_CHARS, check_name, parse_query, parse_reference
from registry.onnx_file import read_signature
from tests.registry import onnx_files
from tests.registry.store_check import assert_clean, assert_no_leftovers, downloaded

BAD_NAMES = [
    "",
    " ",
    ".",
    "..",
    "...",
    "../up",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "a..b",
    "trailing.",
    ".hidden",
    "-rf",
    "_x",
    "a b",
    "a\n",
    "a\r\nSet-Cookie: x",
    "a\0b",
    "\x1b[31mred",
    "a\x7f",
    "a\x85b",
    "x" * 129,
    "x" * 4096,
    "nаme",  # noqa: RUF001  (Cyrillic)
    "ｎａｍｅ",  # noqa: RUF001  (full width)
    "name\u200b",
    "\u202eeman",
    "a\u2044b",
    "a\u2024\u2024b",
    "١",  # noqa: RUF001  (Arabic digit one)
    "é",
    "e\u0301",
    "\ud800",
    "a@",
    "@a",
    "a@b@c",
    "a@b/c",
    "a%2fb",
    "$(id)",
    "`id`",
    "*",
    "'; DROP TABLE models; --",
    '" OR 1=1 --',
]
GOOD_NAMES = ["a", "0", "A-b_c.d", "x" * 128, "1.2.3", "con", "a-", "a_", "latest"]
CHARACTERS = string.ascii_letters + string.digits + "._-"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A folder that can be registered, until a test spoils it."""
    folder = tmp_path / "good"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"a")
    (folder / "deep/b.bin").write_bytes(b"b")
    return folder


def _is_refused(workspace: Workspace, path: Path, complaint: str) -> str:
    """Checks that ``path`` is refused in one printable line and that nothing is left of it."""
    with pytest.raises(InvalidSourceError, match=complaint) as caught:
        workspace.models.register(path, name="bad")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert workspace.models.list() == []
    assert_no_leftovers(workspace)
    workspace.purge()
    assert_clean(workspace)
    return str(caught.value)


def _complaint(parse: Callable[[str], object], text: str) -> str | None:
    """What ``parse`` has against ``text``, checked to be one harmless line; None if nothing."""
    try:
        parse(text)
    except InvalidNameError as error:
        said = str(error)
    else:
        return None
    assert said.isascii()
    assert said.isprintable()
    return said


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_everywhere(workspace: Workspace, good: Path, name: str) -> None:
    for act in (
        lambda: workspace.models.register(good, name=name),
        lambda: workspace.models.register(good, name="m", tags={name: "v"}),
        lambda: workspace.models.register(good, name="m", properties={name: "v"}),
        lambda: workspace.models.list(name=name),
        lambda: workspace.models.get(name),
        lambda: workspace.models.get(f"{name}:1"),
        lambda: workspace.models.delete(name),
        lambda: workspace.models.download(name, good),
        lambda: workspace.images.create(name, models=["m"]),
        lambda: workspace.images.get(name),
        lambda: workspace.images.unpack(name, good / "new"),
    ):
        with pytest.raises(InvalidNameError) as caught:
            act()
        assert str(caught.value).isprintable()
        assert str(caught.value).isascii()
        assert len(str(caught.value)) < 300
    assert workspace.models.list() == []


def test_a_name_with_an_alias_names_no_new_thing(workspace: Workspace, good: Path) -> None:
    for act in (
        lambda: workspace.models.register(good, name="a@best"),
        lambda: workspace.images.create("a@best", models=["m"]),
        lambda: workspace.images.get("a@best"),
    ):
        with pytest.raises(InvalidNameError):
            act()
    with pytest.raises(NotFoundError):
        workspace.models.get("a@best")
    assert workspace.models.list() == []


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_good_name_is_kept_as_it_is(workspace: Workspace, good: Path, name: str) -> None:
    assert workspace.models.register(good, name=name, tags={name: name}).reference == f"{name}:1"
    assert workspace.models.get(f"{name}:1").tags == {name: name}


def test_names_are_case_sensitive(workspace: Workspace, good: Path) -> None:
    assert [workspace.models.register(good, name=n).version for n in ("Net", "net")] == [1, 1]


@given(st.one_of(st.text(), st.text(CHARACTERS, max_size=140)))
def test_an_accepted_name_is_one_safe_path_part(name: str) -> None:
    said = _complaint(check_name, name)
    if said is not None:
        is_allowed = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", name)
        assert not is_allowed or ".." in name or name.endswith(".")
        return
    assert 1 <= len(name) <= 128
    assert set(name) <= set(CHARACTERS)
    assert os.path.normpath(f"/root/{name}") == f"/root/{name}"
    assert name[0] not in "-._"
    assert ".." not in name
    assert not name.endswith(".")


@given(st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9._:-]{1,20}", fullmatch=True)))
def test_an_accepted_reference_says_just_what_it_parses_to(text: str) -> None:
    if _complaint(parse_reference, text) is not None:
        return
    reference = parse_reference(text)
    assert check_name(reference.name) == reference.name
    assert text in (str(reference), f"{reference}:latest")
    assert reference.version is None or reference.version >= 1


@given(st.text())
def test_an_accepted_query_has_a_good_key(text: str) -> None:
    if _complaint(parse_query, text) is not None:
        return
    query = parse_query(text)
    check_name(query.key)
    assert text == (query.key if query.value is None else f"{query.key}={query.value}")


@pytest.mark.parametrize(
    "version",
    ["", "0", "-1", "+1", "01", "1.0", " 1", "1\n", "1e3", "١", "1:1", "9" * 10, "x"],  # noqa: RUF001
)
def test_a_bad_version_is_refused(workspace: Workspace, version: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        workspace.models.get(f"m:{version}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "value",
    ["a\0", "a\nb", "\x1b[2J", "a\r", "\ud800", "a\x85", "x" * (MAX_VALUE_CHARS + 1), "\u202e"],
)
def test_a_bad_value_is_refused(workspace: Workspace, good: Path, value: str) -> None:
    workspace.models.register(good, name="m")
    for act in (
        lambda: workspace.models.register(good, name="m", tags={"k": value}),
        lambda: workspace.models.register(good, name="m", properties={"k": value}),
        lambda: workspace.models.tag("m", set={"k": value}),
        lambda: workspace.models.add_properties("m", {"k": value}),
        lambda: workspace.images.create("i", models=["m"], tags={"k": value}),
    ):
        with pytest.raises(InvalidNameError) as caught:
            act()
        assert str(caught.value).isprintable()
    [model] = workspace.models.list()
    assert (model.tags, model.properties) == ({}, {})


@pytest.mark.parametrize("text", ["a\0", "\x1b[2J", "\ud800", "x" * 10_001])
def test_a_bad_description_is_refused(workspace: Workspace, good: Path, text: str) -> None:
    with pytest.raises(InvalidNameError):
        workspace.models.register(good, name="m", description=text)
    workspace.models.register(good, name="m")
    with pytest.raises(InvalidNameError):
        workspace.models.describe("m", text)


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE models; --",
        "?1",
        '"',
        "%",
        "日本 ü 🙂",
        "a" * MAX_VALUE_CHARS,
        "",
        "NULL",
        "=x",
    ],
)
def test_any_other_text_is_kept_as_it_is(workspace: Workspace, good: Path, text: str) -> None:
    workspace.models.register(
        good, name="m", tags={"k": text}, properties={"k": text}, description=text
    )
    [model] = workspace.models.list(tags=[f"k={text}"])
    assert (model.tags, model.properties, model.description) == ({"k": text}, {"k": text}, text)
    assert workspace.models.list(tags=[f"k={text}'"]) == []


@pytest.mark.parametrize("target", ["a.bin", "/etc/passwd", "../good", "absent", ".", "/dev/zero"])
@pytest.mark.parametrize("place", ["link", "deep/link"])
def test_a_link_is_refused_wherever_it_points(
    workspace: Workspace, good: Path, target: str, place: str
) -> None:
    (good / place).symlink_to(target)
    assert f"'{place}'" in _is_refused(workspace, good, "symbolic link")
    (good / place).unlink()
    assert set(downloaded(workspace, workspace.models.register(good, name="m").reference)) == {
        "a.bin",
        "deep/b.bin",
    }


def test_a_link_as_the_model_itself_is_refused(workspace: Workspace, good: Path) -> None:
    for target in (good, good / "a.bin"):
        link = good.parent / f"to-{target.name}"
        link.symlink_to(target)
        _is_refused(workspace, link, "symbolic link")


def test_a_pipe_is_refused_and_not_waited_for(workspace: Workspace, good: Path) -> None:
    os.mkfifo(good / "deep/pipe")
    _is_refused(workspace, good, "'deep/pipe' is a named pipe")
    _is_refused(workspace, good / "deep/pipe", "is a named pipe")


def test_a_socket_is_refused(
    workspace: Workspace, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(good)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
        _is_refused(workspace, good, "'s' is a socket")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make device nodes")
@pytest.mark.parametrize("kind", [0o020000, 0o060000])
def test_a_device_is_refused_and_not_read(workspace: Workspace, good: Path, kind: int) -> None:
    os.mknod(good / "zero", kind | 0o666, os.makedev(1, 5))
    _is_refused(workspace, good, "'zero' is a (block|character) device")
    _is_refused(workspace, good / "zero", "device")


@pytest.mark.parametrize("path", ["a.bin", "deep", "."])
def test_what_may_not_be_read_is_named(
    workspace: Workspace, good: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so there the file system's refusal is played."""
    if os.geteuid() == 0:
        function = "open" if path == "a.bin" else "scandir"
        real = getattr(os, function)

        def refuse(name: Any, *rest: Any, **named: Any) -> Any:
            if str(name).rstrip("/") in (path, str(good / path)):
                raise PermissionError(13, "Permission denied")
            return real(name, *rest, **named)

        monkeypatch.setattr(os, function, refuse)
        _is_refused(workspace, good, "cannot read .*Permission denied")
        return
    (good / path).chmod(0)
    try:
        _is_refused(workspace, good, "cannot read .*Permission denied")
    finally:
        (good / path).chmod(0o755)


@pytest.mark.parametrize(
    "name",
    [b"new\nline", b"esc\x1b[2J", b"\xff\xfe", b"back\\slash", b"tab\t", b"del\x7f", b".wh.x"],
)
def test_a_file_name_that_cannot_be_kept_is_refused(
    workspace: Workspace, good: Path, name: bytes
) -> None:
    for folder in (good, good / "deep"):
        path = os.path.join(os.fsencode(folder), name)
        os.close(os.open(path, os.O_CREAT))
        _is_refused(workspace, good, "file name")
        _is_refused(workspace, Path(os.fsdecode(path)), "file name")
        os.unlink(path)
    os.mkdir(os.path.join(os.fsencode(good), name))
    _is_refused(workspace, good, "file name")


def test_a_path_that_is_too_long_is_refused(workspace: Workspace, good: Path) -> None:
    deep = good / "/".join(["d" * 200] * 6)
    deep.mkdir(parents=True)
    (deep / "x").touch()
    _is_refused(workspace, good, "longer than 1024 bytes")


def test_a_very_deep_folder_is_no_crash(workspace: Workspace, good: Path) -> None:
    deep = good / "/".join(["d"] * 200)
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"deep")
    model = workspace.models.register(good, name="m")
    assert downloaded(workspace, model.reference)["/".join(["d"] * 200) + "/x"] == b"deep"


@pytest.mark.parametrize("path", ["absent", "a.bin/below", "x" * 5000, "nul\0"])
def test_a_path_that_is_not_there_is_refused(workspace: Workspace, good: Path, path: str) -> None:
    _is_refused(workspace, good / path, "there is no|cannot read")


def test_an_empty_folder_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty/deep/er").mkdir(parents=True)
    _is_refused(workspace, tmp_path / "empty", "has no files")


def test_the_limit_of_files_counts_folders_too(good: Path) -> None:
    assert [file.path for file in tree.walk(good, max_files=3)] == ["a.bin", "deep/b.bin"]
    with pytest.raises(InvalidSourceError, match="more than 2 files"):
        tree.walk(good, max_files=2)


def test_a_million_entries_are_not_all_listed(
    workspace: Workspace, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder gives its entries as they are asked for; the walk stops asking."""
    asked = 0
    with os.scandir(good / "deep") as entries:
        [entry] = entries

    class Endless:
        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return self._entries()

        def __exit__(self, *error: object) -> None: ...

        def _entries(self) -> Iterator[os.DirEntry[str]]:
            nonlocal asked
            while True:
                asked += 1
                yield entry

    monkeypatch.setattr(os, "scandir", lambda folder: Endless())
    with pytest.raises(InvalidSourceError, match="more than 1000 files"):
        tree.walk(good, max_files=1000)
    assert asked == 1001


@pytest.mark.slow
def test_a_folder_of_too_many_files_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    """Within a bound of memory and for real: 100,001 names of few files."""
    folder = tmp_path / "many"
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    try:
        for number in range(tree.MAX_FILES + 1):
            if number % 50_000 == 0:  # a file has a limit of links
                source = f"{number}"
                os.close(os.open(source, os.O_CREAT, dir_fd=handle))
            else:
                os.link(source, f"{number}", src_dir_fd=handle, dst_dir_fd=handle)
    except OSError:
        for number in range(tree.MAX_FILES + 1):
            os.close(os.open(f"{number}", os.O_CREAT, dir_fd=handle))
    finally:
        os.close(handle)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    _is_refused(workspace, folder, "more than 100000 files")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 10


def _corrupt(path: Path) -> None:
    path.write_bytes(b"\xff" * 1000)


def _truncated(path: Path) -> None:
    onnx_files.adder(path)
    os.truncate(path, path.stat().st_size - 20)


def _empty(path: Path) -> None:
    path.touch()


def _text(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")


def _nested(path: Path) -> None:
    """Submessages in submessages, 100,000 deep, as far as the length bytes go."""
    data = b""
    for _ in range(2000):
        size, head = len(data), b""
        while size > 127:
            head, size = head + bytes([size & 127 | 128]), size >> 7
        data = b"\x3a" + head + bytes([size]) + data
    path.write_bytes(data)


@pytest.mark.parametrize("make", [_corrupt, _truncated, _empty, _text, _nested])
@pytest.mark.parametrize("place", ["net.onnx", "deep/net.onnx"])
def test_a_bad_onnx_file_is_refused(
    workspace: Workspace, good: Path, make: Callable[[Path], None], place: str
) -> None:
    make(good / place)
    _is_refused(workspace, good, f"'{place}' is no ONNX file")


@given(st.binary(max_size=200))
def test_any_bytes_as_onnx_are_refused_cleanly(tmp_path_factory: Any, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.onnx"
    file.write_bytes(data)
    with suppress(InvalidOnnxError):
        read_signature(file, "any.onnx", {"any.onnx"})


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("../outside.bin", "outside of its own folder"),
        ("deep/../../outside.bin", "outside of its own folder"),
        ("/etc/passwd", "outside of its own folder"),
        ("..\\outside.bin", "outside of its own folder"),
        ("", "names no file|outside"),
        (".", "names no file|outside"),
        ("missing.bin", "not there"),
        ("deep", "not there"),
        ("missing\n\x1b[2J", "not there"),
    ],
)
@pytest.mark.parametrize(
    "make", [onnx_files.with_external_data, onnx_files.with_external_data_in_branch]
)
def test_external_data_must_be_in_the_model(
    workspace: Workspace,
    good: Path,
    make: Callable[[Path, str], Path],
    location: str,
    complaint: str,
) -> None:
    (good.parent / "outside.bin").write_bytes(bytes(12))
    make(good / "net.onnx", location)
    _is_refused(workspace, good, complaint)


@pytest.mark.parametrize(
    "make", [onnx_files.with_external_data, onnx_files.with_external_data_in_branch]
)
def test_external_data_beside_the_file_is_kept(
    workspace: Workspace, good: Path, make: Callable[[Path, str], Path]
) -> None:
    (good / "deep/weights.bin").write_bytes(bytes(12))
    make(good / "deep/net.onnx", "weights.bin")
    model = workspace.models.register(good, name="m")
    assert model.entry == "deep/net.onnx"
    assert "deep/weights.bin" in downloaded(workspace, "m")


def test_external_data_is_found_from_the_file_s_own_folder(
    workspace: Workspace, good: Path
) -> None:
    (good / "weights.bin").write_bytes(bytes(12))
    onnx_files.with_external_data(good / "deep/net.onnx", "weights.bin")
    _is_refused(workspace, good, "not there")


def test_an_onnx_file_alone_that_needs_data_says_to_register_the_folder(
    workspace: Workspace, good: Path
) -> None:
    (good / "weights.bin").write_bytes(bytes(12))
    file = onnx_files.with_external_data(good / "net.onnx", "weights.bin")
    _is_refused(workspace, file, "register the folder that holds both")


def test_a_folder_exchanged_for_a_link_after_the_walk_leads_nowhere(good: Path) -> None:
    [_, file] = tree.walk(good)
    (good / "deep").rename(good / "old")
    (good.parent / "elsewhere").mkdir()
    (good.parent / "elsewhere/b.bin").write_bytes(b"!")
    (good / "deep").symlink_to(good.parent / "elsewhere")
    with pytest.raises(InvalidSourceError, match=r"deep/b\.bin"):
        file.open()


def test_a_file_exchanged_for_a_link_or_pipe_after_the_walk_is_refused(good: Path) -> None:
    [file, _] = tree.walk(good)
    (good / "a.bin").unlink()
    (good / "a.bin").symlink_to("/etc/passwd")
    with pytest.raises(InvalidSourceError, match=r"a\.bin"):
        file.open()
    (good / "a.bin").unlink()
    os.mkfifo(good / "a.bin")
    with pytest.raises(InvalidSourceError, match=r"a\.bin"):
        file.open()
