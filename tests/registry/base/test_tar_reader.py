"""Reading hostile tars."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.base import tar_reader
from registry.base.tar_reader import Kind, Member, TarReader
from registry.errors import BaseImageError
from tests.registry.base.samples import entry, folder, link, tar

SAMPLE = tar(
    folder("a"),
    entry("a/b", b"x" * 700),
    entry("./" + "long/" * 60 + "name", b"y"),
    link("c", "z" * 200),
    link("d", "a/b", tarfile.LNKTYPE),
    entry("\u00e4", b""),
)


def read(data: bytes, step: int = 10_000, *, is_strict: bool = True) -> list[Member]:
    pieces = (data[at : at + step] for at in range(0, len(data), step))
    return list(TarReader(pieces, is_strict=is_strict))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("step", [1, 511, 512, 4096, 1_000_000])
def test_all_forms_are_read_in_pieces_of_any_size(form: int, step: int) -> None:
    members = [folder("f"), entry("./f/" + "n" * 90, b"abc"), link("f/l", "../x")]
    if form != tarfile.USTAR_FORMAT:
        members.append(entry("deep/" * 30 + "n" * 150, b"d" * 1000))
    found = read(tar(*members, form=form), step)
    assert [(m.path, m.kind, m.size_bytes) for m in found[:3]] == [
        ("f", Kind.FOLDER, 0),
        ("f/" + "n" * 90, Kind.FILE, 3),
        ("f/l", Kind.SYMBOLIC_LINK, 0),
    ]
    assert found[2].target == "../x"
    assert [m.path for m in found[3:]] in ([], ["deep/" * 30 + "n" * 150])


def test_content_is_given_whole_or_in_part() -> None:
    reader = TarReader(iter([tar(entry("a", b"12" * 600), entry("b", b"34"))]), is_strict=True)
    found = {}
    for member in reader:
        found[member.path] = next(reader.content())[:4]
    assert found == {"a": b"1212", "b": b"34"}


@pytest.mark.parametrize("cut", [1, 511, 512, 600, 1024, 1500, len(SAMPLE) // 2])
def test_a_cut_archive_is_refused(cut: int) -> None:
    with pytest.raises(BaseImageError, match="cut off"):
        read(SAMPLE[:cut])


def test_an_archive_without_an_end_is_cut_unless_its_digest_is_known() -> None:
    whole = tar(entry("a", b"x" * 512))[:1024]
    assert len(read(whole, is_strict=False)) == 1
    with pytest.raises(BaseImageError, match="cut off"):
        read(whole)


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "a/..", "..", "/etc/passwd", "//x", "./../x"]
)
def test_names_that_leave_the_root_are_refused(name: str) -> None:
    for member in (entry(name), link(name, "x"), link("a", name, tarfile.LNKTYPE)):
        if member[0].islnk() and name.startswith("/"):
            continue
        with pytest.raises(BaseImageError, match=r"leaves the root|absolute"):
            read(tar(member))


def test_a_symbolic_link_may_point_anywhere_because_it_is_followed_inside() -> None:
    assert read(tar(link("a", "/../../etc")))[0].target == "/../../etc"


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (link("dev/sda", "", tarfile.BLKTYPE), "device"),
        (link("tmp/null", "", tarfile.CHRTYPE), "device"),
        (link("x", "", b"S"), "sparse"),
        (link("x", "", b"M"), "type"),
        (link("x", "", b"\xff"), "type"),
        (entry("d/" * 300 + "x"), "deep"),
        (entry("n" * 5000), "no file can have"),
    ],
)
def test_what_a_root_file_system_does_not_have_is_refused(
    member: tuple[tarfile.TarInfo, bytes], reason: str
) -> None:
    with pytest.raises(BaseImageError, match=reason):
        read(tar(member))


def test_devices_of_dev_are_what_debootstrap_makes() -> None:
    assert read(tar(link("./dev/null", "", tarfile.CHRTYPE)))[0].kind is Kind.CHARACTER_DEVICE


def pax(records: bytes, letter: bytes = b"x") -> bytes:
    info = tarfile.TarInfo("h")
    info.type, info.size = letter, len(records)
    return info.tobuf() + records + bytes(-len(records) % 512)


@pytest.mark.parametrize(
    "records",
    [
        b"",
        b"x",
        b"5 a=b",
        b"99 path=x\n",
        b"0 path=x\n",
        b"-9 path=x\n",
        b"10 size=-5\n",
        b"11 size=\xb2\xb2\n",
        b"30 size=99999999999999999999\n",
        b"27 GNU.sparse.realsize=999\n",
        b"13 path=../x\n",
        b"12 path=a\0b\n",
        b"1000000000000000000000000 path=x\n",
        b" " * 20,
    ],
)
def test_a_bad_pax_header_is_refused_or_says_nothing(records: bytes) -> None:
    data = pax(records) + tar(entry("a", b"1"))
    if not records:
        assert len(read(data)) == 1
        return
    with pytest.raises(BaseImageError):
        read(data)


def test_a_global_pax_header_may_comment_but_not_name() -> None:
    assert len(read(pax(b"13 comment=xy\n"[:0] + b"14 comment=xy\n", b"g") + tar(entry("a")))) == 1
    with pytest.raises(BaseImageError, match="alike"):
        read(pax(b"10 path=x\n", b"g") + tar(entry("a")))


@pytest.mark.parametrize("letter", [b"x", b"g", b"L", b"K"])
def test_a_header_of_a_gigabyte_takes_no_memory(letter: bytes) -> None:
    info = tarfile.TarInfo("h")
    info.type, info.size = letter, 1024**3
    with pytest.raises(BaseImageError, match="header of 1073741824"):
        read(info.tobuf())


def test_a_file_of_a_terabyte_is_refused_before_it_is_read() -> None:
    info = tarfile.TarInfo("x")
    info.size = 1024**4
    with pytest.raises(BaseImageError, match="file of"):
        read(info.tobuf(tarfile.GNU_FORMAT))


@pytest.mark.parametrize(
    "field", [b"-0000000001\0", b"0o000000001\0", b"0_000000001\0", b"\xff" * 12]
)
def test_a_size_that_is_no_number_is_refused(field: bytes) -> None:
    block = bytearray(tarfile.TarInfo("x").tobuf()[:512])
    block[124:136] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(BaseImageError, match="no number"):
        read(bytes(block))


def test_a_changed_header_is_noticed() -> None:
    data = bytearray(SAMPLE)
    data[3] ^= 1
    with pytest.raises(BaseImageError, match="checksum"):
        read(bytes(data))


@pytest.mark.parametrize("data", [b"PK\x03\x04" + b"x" * 600, b"%PDF" * 200, b"\x7fELF" * 300])
def test_another_kind_of_file_is_no_archive(data: bytes) -> None:
    with pytest.raises(BaseImageError, match="no tar archive"):
        read(data)


def test_an_archive_behind_the_archive_is_refused() -> None:
    with pytest.raises(BaseImageError, match="behind its end"):
        read(SAMPLE + SAMPLE)
    assert read(SAMPLE + SAMPLE, is_strict=False) == read(SAMPLE)


def test_more_members_than_an_image_has_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_reader, "MAX_MEMBERS", 1000)

    def endless() -> Iterator[bytes]:
        block = tarfile.TarInfo("x").tobuf()
        while True:
            yield block

    with pytest.raises(BaseImageError, match="more than 1000"):
        list(TarReader(endless(), is_strict=True))


@pytest.mark.slow
def test_a_hundred_thousand_members_take_no_second_each_ten_thousand() -> None:
    block = tarfile.TarInfo("a/b/c/d").tobuf() * 1000
    started = time.process_time()
    count = sum(1 for _ in TarReader(iter([block] * 100), is_strict=False))
    assert count == 100_000
    assert time.process_time() - started < 10


@given(st.data())
def test_what_is_damaged_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(SAMPLE) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BaseImageError):
        read(bytes(damaged))


@given(st.binary(max_size=2000))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with suppress(BaseImageError):
        read(data)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1).filter(
    lambda name: name.strip(".")
)


@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_what_tarfile_writes_is_read_as_tarfile_reads_it(
    files: list[tuple[str, bytes]], form: int
) -> None:
    data = tar(*(entry(name, content) for name, content in files), form=form)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [(info.name, info.size) for info in archive]
    assert [(member.path, member.size_bytes) for member in read(data)] == expected
