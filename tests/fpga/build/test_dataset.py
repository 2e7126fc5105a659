"""Arrays from users' files, whatever is in them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpga.dataset import MOST_BYTES, read_inputs, read_labelled
from fpga.errors import DataError

ROWS = np.arange(6, dtype=np.float64).reshape(3, 2)


def npy(header: str, data: bytes = b"") -> bytes:
    """A .npy file with a header of one's own."""
    text = header.encode().ljust(118 - 10) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def claim(shape: tuple[int, ...], kind: str = "<f4") -> str:
    return repr({"descr": kind, "fortran_order": False, "shape": shape})


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def saved(value: Any, **more: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, value, **more)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        saved(ROWS),
        saved(np.asfortranarray(ROWS)),
        zipped(x=saved(ROWS)),
        zipped(other=saved(ROWS)),
        zipped(x=saved(ROWS), y=saved(np.arange(3))),
        zipped(pixels=saved(ROWS), x=saved(ROWS + 1), y=saved(np.arange(3))),
        json.dumps(ROWS.tolist()).encode(),
        json.dumps({"pixels": ROWS.tolist(), "y": [0, 1, 2]}).encode(),
        b'  {"x": [[0, 1], [2, 3], [4, 5]]}\n',
    ],
)
def test_one_array_is_found_in_every_kind_of_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    found = read_inputs(tmp_path / "a", "pixels")
    assert found.dtype == np.float32
    assert (found == ROWS).all()


def test_labels_are_there_or_none(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=ROWS, y=np.array([2, 0, 1]))
    rows, labels = read_labelled(path, "input")
    assert (rows == ROWS).all()
    assert labels is not None
    assert list(labels) == [2, 0, 1]
    np.savez(path, x=ROWS)
    assert read_labelled(path, "input")[1] is None


@pytest.mark.parametrize("labels", [np.zeros(2, int), np.zeros((3, 1), int), np.zeros(3)])
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: Any) -> None:
    np.savez(tmp_path / "a.npz", x=ROWS, y=labels)
    with pytest.raises(DataError, match="whole numbers, one for each"):
        read_labelled(tmp_path / "a.npz", "x")


class Trap:
    """What runs where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("/tmp/inferry-was-pickled",)


FIVE_GB = (1_250_000_000,)
HOSTILE = {
    "text": (b"not a model\n", "neither .npz, .npy nor JSON"),
    "empty": (b"", "neither"),
    "pickle": (pickle.dumps(Trap()), "neither"),
    "pickled .npy": (saved(np.array([Trap()]), allow_pickle=True), "pickled"),
    "pickled .npz": (zipped(x=saved(np.array([[Trap()]]), allow_pickle=True)), "pickled"),
    "5 GB claimed": (npy(claim(FIVE_GB)), "claims 4768 MiB"),
    "5 GB claimed in .npz": (zipped(x=npy(claim(FIVE_GB))), "claims 4768 MiB"),
    "more than there is": (npy(claim((100, 1000))), "cut short"),
    "more than there is in .npz": (zipped(x=npy(claim((100, 1000)), b"abc")), "cut short"),
    "beyond all numbers": (npy(claim((1 << 62, 1 << 62))), "claims"),
    "negative": (npy(claim((-1, 4)), bytes(64)), "negative"),
    "text in it": (saved(np.array([["a", "b"]])), "numbers are needed"),
    "records": (saved(np.zeros(3, [("a", "f4")])), "numbers are needed"),
    "code as header": (npy("__import__('os').mkdir('/tmp/inferry-was-evaluated')"), "no .npy"),
    "cut header": (b"\x93NUMPY\x01\x00\xff\xff{", "no .npy"),
    "version 9": (b"\x93NUMPY\x09\x00" + bytes(100), "version 9"),
    "cut .npz": (zipped(x=saved(ROWS))[:-30], "damaged"),
    "no array": (zipped(), "one array"),
    "two arrays": (zipped(a=saved(ROWS), b=saved(ROWS)), "'a', 'b'"),
    "nan": (saved(np.array([[1.0, np.nan]])), "nan"),
    "infinity": (saved(np.array([[1e300]])), "infinity"),
    "a scalar": (saved(np.float32(1)), "rows"),
    "no rows": (saved(np.zeros((0, 4))), "rows"),
    "JSON text": (b'{"x": "abc"}', "no number"),
    "JSON nan": (b"[[NaN]]", "neither"),
    "JSON ragged": (b"[[1, 2], [3]]", "different lengths"),
    "JSON deep": (b"[" * 100_000, "neither"),
    "JSON null": (b"null", "no number"),
    "JSON mixed": (b'[[1, "2"]]', "no number"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_array_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    data, words = HOSTILE[name]
    (tmp_path / "given.npz").write_bytes(data)
    with pytest.raises(DataError, match=words) as refusal:
        read_inputs(tmp_path / "given.npz", "x")
    assert "\n" not in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)
    assert not Path("/tmp/inferry-was-pickled").exists()
    assert not Path("/tmp/inferry-was-evaluated").exists()


def test_a_small_archive_of_endless_zeros_is_never_unpacked(tmp_path: Path) -> None:
    size = MOST_BYTES + (64 << 20)
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy(claim((size // 4,))))
    with pytest.raises(DataError, match="claims"):
        read_inputs(path, "x")


def test_missing_files_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("none.npz", "No such file"), (".", "plain file"), ("pipe", "plain file")):
        with pytest.raises(DataError, match=words):
            read_inputs(tmp_path / name, "x")


@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"PK\x03\x04", b"\x93NUMPY"]))
@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, start: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + data)
    with contextlib.suppress(DataError):
        assert np.isfinite(read_inputs(path, "x")).all()


@given(at=st.integers(0, 600), bit=st.integers(0, 7))
@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_a_damaged_archive_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    data = bytearray(zipped(x=saved(ROWS), y=saved(np.arange(3))))
    data[at % len(data)] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        assert np.isfinite(read_labelled(path, "x")[0]).all()
