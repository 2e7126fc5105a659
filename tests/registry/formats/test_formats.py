"""What can run code when it is opened is refused unless that was allowed, and never opened here."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import multiprocessing
import os
import pickle
import pickletools
import py_compile
import random
import re
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import joblib  # type: ignore[import-untyped]
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from registry import Workspace
from registry.errors import RegistryError
from registry.formats import FormatError, check_formats
from registry.formats.pickle_walk import begins_as_pickle, is_pickle
from registry.models import PICKLE
from registry.settings import FormatPolicy
from tests.registry.onnx_files import adder


class Trap:
    """Whoever unpickles it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self._mark),)


def in_zip(entries: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return made.getvalue()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    made = io.BytesIO()
    np.save(made, array, allow_pickle=True)
    return made.getvalue()


def evil(protocol: int) -> bytes:
    return pickle.dumps(Trap(Path("/tmp/inferry-trap")), protocol)


def joblib_dumped(**options: Any) -> bytes:
    made = io.BytesIO()
    joblib.dump({"model": LogisticRegression(), "weights": np.zeros(5)}, made, **options)
    return made.getvalue()


OBJECTS = npy(np.array([Trap(Path("/tmp/inferry-trap")), None], dtype=object))
FIELDS = npy(np.zeros(2, dtype=[("a", "f4"), ("b", [("c", "O")])]))
LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00." + evil(
    2
)
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(600)
LAMBDA = b'{"config": {"layers": [{"class_name": "Lambda", "config": {"function": "4wEA"}}]}}'
DENSE = b'{"config": {"layers": [{"class_name": "Dense", "config": {"units": 3}}]}}'
PLAIN = b"harmless words\n"

CODE: dict[str, bytes] = {
    # By its name, whatever it holds.
    **{name: PLAIN for name in (
        "model.pkl", "model.PKL", "m.pickle", "m.joblib", "m.dill", "m.pt", "m.pth", "m.pth.tar",
        "m.ckpt",
        "m.skops", "m.pyc", "m.pkl.gz", "m.pkl.zst", "m.joblib.lz4", "m.pkl. .",
        "m.\uff50\uff4b\uff4c",
        "deep/er/m.pkl", "m.mar", "m.cloudpickle",
    )},
    # By what it holds, whatever its name.
    **{f"protocol{number}.bin": evil(number) for number in range(6)},
    **{f"protocol{number}.json": evil(number) for number in range(6)},
    "no-name": evil(4),
    "sklearn.bin": pickle.dumps(LogisticRegression()),
    "joblib.bin": joblib_dumped(),
    "joblib-zlib.bin": joblib_dumped(compress=3),
    "joblib-gzip.bin": joblib_dumped(compress=("gzip", 3)),
    "joblib-xz.bin": joblib_dumped(compress=("xz", 3)),
    "joblib-lzma.bin": joblib_dumped(compress=("lzma", 3)),
    "joblib-bz2.bin": joblib_dumped(compress=("bz2", 3)),
    "cloudpickle.dat": cloudpickle.dumps(lambda x: x + 1),
    "gzip.dat": gzip.compress(evil(4)),
    "twice.dat": gzip.compress(bz2.compress(evil(4))),
    "old-in-gzip.dat": gzip.compress(evil(0)),
    "lzma.dat": lzma.compress(evil(0)),
    "zlib.txt": zlib.compress(evil(3)),
    "large-first.dat": pickle.dumps((b"x" * 300_000, Trap(Path("/tmp/inferry-trap"))), 2),
    "large-first-old.dat": b"T" + struct.pack("<i", 300_000) + b"x" * 300_000 + evil(0),
    "torch.bin": in_zip({"archive/data.pkl": evil(2), "archive/version": b"3"}),
    "torchscript.bin": in_zip({"m/constants.pkl": evil(2), "m/code/__torch__.py": b""}),
    "renamed-in-zip.bin": in_zip({"archive/data": evil(2)}),
    "legacy-torch.bin": LEGACY_TORCH,
    "objects.npy": OBJECTS,
    "fields.npy": FIELDS,
    "objects.npz": in_zip({"a.npy": npy(np.zeros(3)), "b.npy": OBJECTS}),
    "objects-hidden.npy.gz": gzip.compress(OBJECTS),
    "no-array.npz": in_zip({"a.npy": PLAIN}),
    "lambda.keras": in_zip({"config.json": LAMBDA, "model.weights.h5": HDF5}),
    "lambda.h5": HDF5 + LAMBDA + bytes(100),
    "skops.zip": in_zip({"schema.json": b"{}"}),
    "broken.zip": in_zip({"a": PLAIN})[:-30],
    "inst.txt": b"(cos\nmkdir\nS'/tmp/inferry-trap'\no.",
    "inst-old.txt": b"(S'/tmp/inferry-trap'\nios\nmkdir\n.",
}  # fmt: skip

SAFE: dict[str, bytes] = {
    "config.json": b'{"a": 1}', "notes.txt": "Größe: 3".encode(), "README.md": b"# Model",
    "a.yaml": b"a: 1", "labels.csv": b"class,a,b\n1,2,3\n", "score.py": b"import os\n",
    "vocab.txt": b"in\nthe\ncat\ndog\n", "words.txt": b"cat\ncow\ncar\ndog\nRat\n",
    "nb.txt": b"N.B. this is text", "empty.bin": b"", "dot.txt": b".", "paren.txt": b"(R\no\ni\n",
    "numbers.npy": npy(np.arange(6.0).reshape(2, 3)), "named.npy": npy(np.zeros(2, "i4,f8")),
    "numbers.npz": in_zip({"a.npy": npy(np.zeros(3)), "b.npy": npy(np.ones((2, 2)))}),
    "dense.keras": in_zip({"config.json": DENSE, "model.weights.h5": HDF5}),
    "dense.h5": HDF5 + DENSE, "saved_model.pb": b"\x08\x01\x12\x00", "picture.png": b"\x89PNG\r\n",
    "table.csv.gz": gzip.compress(b"a,b\n1,2\n"), "model.gguf": b"GGUF\x03\x00\x00\x00" + bytes(16),
    "data.zip": in_zip({"a.csv": b"1,2", "b.json": b"{}"}),
}  # fmt: skip


def written(folder: Path, path: str, data: bytes) -> Path:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


@pytest.mark.parametrize("path", CODE)
def test_what_can_run_code_is_refused_unless_allowed(tmp_path: Path, path: str) -> None:
    place = written(tmp_path, path, CODE[path])
    with pytest.raises(FormatError, match="--allow-pickle") as caught:
        check_formats([(path, place)], allow_pickle=False)
    assert [name for name, _ in caught.value.files] == [path]
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, RegistryError)
    report = check_formats([(path, place)], allow_pickle=True)
    assert [name for name, _ in report.code] == [path]


@pytest.mark.parametrize("path", SAFE)
def test_what_runs_no_code_is_taken(tmp_path: Path, path: str) -> None:
    report = check_formats([(path, written(tmp_path, path, SAFE[path]))], allow_pickle=False)
    assert report.code == ()
    assert [name for name, _ in report.unknown] == []


def test_weights_of_random_bytes_are_taken_and_said_to_be_unknown(tmp_path: Path) -> None:
    source = random.Random(7)
    for number in range(500):
        # Also those that begin as a pickle of some protocol does.
        start = bytes([0x80, number % 6]) if number % 10 == 0 else b""
        data = start + source.randbytes(200)
        report = check_formats([("w.bin", written(tmp_path, "w.bin", data))], allow_pickle=True)
        assert len(report.code) <= (1 if start else 0), data


def test_a_strict_workspace_takes_no_unknown_format(tmp_path: Path) -> None:
    place = written(tmp_path, "w.bin", b"\x00\x01" * 100)
    assert check_formats([("w.bin", place)], allow_pickle=False).unknown != ()
    with pytest.raises(FormatError, match=r"'w\.bin' is of no format that is known here"):
        check_formats([("w.bin", place)], allow_pickle=False, refuse_unknown=True)


def test_every_file_that_is_refused_is_named(tmp_path: Path) -> None:
    files = [(f"{number}.pkl", written(tmp_path, f"{number}.pkl", b"x")) for number in range(9)]
    with pytest.raises(FormatError) as caught:
        check_formats(files, allow_pickle=False)
    assert [name for name, _ in caught.value.files] == [name for name, _ in files]
    assert "'0.pkl' is by its name a pickle (and so on: '1.pkl'" in str(caught.value)
    assert "4 more" in str(caught.value)


def test_compiled_python_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    source = written(tmp_path, "m.py", b"x = 1\n")
    compiled = py_compile.compile(str(source), cfile=str(tmp_path / "weights.bin"))
    assert compiled is not None
    with pytest.raises(FormatError, match="compiled Python"):
        check_formats([("weights.bin", Path(compiled))], allow_pickle=False)


def safetensors(header: object, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


TWO = {"__metadata__": {"a": "b"}, "x": tensor(0, 8, [2]), "y": tensor(8, 16, [2, 1])}
BROKEN = {
    "empty": b"",
    "header longer than the file": safetensors(TWO, bytes(16), 10**6),
    "header of 2^63": safetensors(TWO, bytes(16), 2**63),
    "no JSON": safetensors(b"{" * 50, b""),
    "deep JSON": safetensors(b'{"x":' + b"[" * 100_000, b""),
    "a list": safetensors([], b""),
    "outside": safetensors({"x": tensor(0, 80, [20])}, bytes(16)),
    "overlap": safetensors({"x": tensor(0, 8, [2]), "y": tensor(4, 12, [2])}, bytes(12)),
    "gap": safetensors({"x": tensor(0, 8, [2]), "y": tensor(12, 20, [2])}, bytes(20)),
    "backwards": safetensors({"x": tensor(8, 0, [2])}, bytes(8)),
    "negative": safetensors({"x": tensor(0, 8, [-1, -2])}, bytes(8)),
    "other bytes behind": safetensors(TWO, bytes(17)),
    "too few": safetensors(TWO, bytes(15)),
    "shape": safetensors({"x": tensor(0, 8, [3])}, bytes(8)),
    "type": safetensors({"x": tensor(0, 8, [2], "F33")}, bytes(8)),
    "huge shape": safetensors({"x": tensor(0, 8, [2**62, 2**62])}, bytes(8)),
    "float offsets": safetensors({"x": {**tensor(0, 8, [2]), "data_offsets": [0, 8.5]}}, bytes(8)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_safetensors_file_with_a_wrong_header_is_never_taken(tmp_path: Path, what: str) -> None:
    place = written(tmp_path, "m.safetensors", BROKEN[what])
    for allow_pickle in (False, True):
        with pytest.raises(FormatError, match="no right safetensors file"):
            check_formats([("m.safetensors", place)], allow_pickle=allow_pickle)


def test_a_right_safetensors_file_is_taken(tmp_path: Path) -> None:
    for data in (safetensors(TWO, bytes(16)), safetensors({}, b""), safetensors(b"{}   ", b"")):
        place = written(tmp_path, "m.safetensors", data)
        assert check_formats([("m.safetensors", place)], allow_pickle=False).code == ()


_watching: list[str] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and (event == "pickle.find_class" or event == "os.mkdir"):
        where = str(arguments[0])
        if event == "pickle.find_class" or "inferry-trap" in where or "sprung" in where:
            _watching.append(f"{event} {where}")


def test_a_pickle_that_is_allowed_is_kept_said_and_never_opened(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sprung(*_: object, **__: object) -> None:
        raise AssertionError("something unpickles")

    folder = tmp_path / "model"
    adder(written(folder, "keep", b"").with_name("m.onnx"))
    written(folder, "model.pkl", pickle.dumps(Trap(tmp_path / "sprung")))
    written(folder, "torch.bin", in_zip({"a/data.pkl": evil(2)}))
    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, sprung)
    sys.addaudithook(_watch)
    _watching.append("on")
    try:
        with pytest.raises(FormatError, match=r"'model\.pkl'.*--allow-pickle"):
            workspace.models.register(folder, name="m")
        assert workspace.models.list() == []
        made = workspace.models.register(folder, name="m", allow_pickle=True)
        again = workspace.models.register_stored(made.files, name="n", allow_pickle=True)
        workspace.images.create("web", models=["m"], proof=False)
        workspace.models.download("m", tmp_path / "out")
        workspace.purge()
        assert _watching == ["on"]
    finally:
        _watching.clear()
    said = "model.pkl: by its name a pickle; torch.bin: a zip with the pickle 'a/data.pkl'"
    assert made.properties == again.properties == {PICKLE: said}
    assert workspace.models.get("m").properties[PICKLE] == said
    assert not (tmp_path / "sprung").exists()


def test_stored_files_are_checked_as_well(workspace: Workspace, tmp_path: Path) -> None:
    run = workspace.tracking.runs.create("train")
    workspace.tracking.files.put(run.id, "m.bin", [evil(4)])
    [file] = workspace.models.register(
        written(tmp_path, "m.pkl", evil(4)), name="x", allow_pickle=True
    ).files
    with pytest.raises(FormatError):
        workspace.models.register_stored([file], name="m")
    assert [model.name for model in workspace.models.list()] == ["x"]


def test_a_workspace_can_allow_pickles_and_refuse_unknown_formats(
    workspace: Workspace, tmp_path: Path
) -> None:
    assert workspace.settings.formats == FormatPolicy(allows_pickle=False, allows_unknown=True)
    workspace.settings.set_formats(FormatPolicy(allows_pickle=True, allows_unknown=False))
    made = workspace.models.register(written(tmp_path, "m.pkl", evil(4)), name="m")
    assert PICKLE in made.properties
    with pytest.raises(FormatError, match="inferry registry formats"):
        workspace.models.register(written(tmp_path, "w.bin", b"\x00\x01" * 100), name="w")


def _alternate(root: Path, kind: str, times: int) -> None:
    settings = Workspace.open(root).settings
    for number in range(times):
        policy = settings.change_formats(**{kind: number % 2 == 0})
        assert getattr(policy, f"allows_{kind}") == (number % 2 == 0)
        # Nobody else has changed this kind since.
        assert getattr(settings.formats, f"allows_{kind}") == (number % 2 == 0)


def test_two_processes_that_decide_on_different_formats_lose_nothing(workspace: Workspace) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_alternate, args=(workspace.root, kind, 60))
        for kind in ("pickle", "unknown")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert workspace.settings.formats == FormatPolicy(False, False)
    assert workspace.settings.change_formats() == FormatPolicy(False, False)


class Called(Exception):
    """A pickle came to a call."""


def call(*_: object, **__: object) -> None:
    raise Called


class Machine(pickle._Unpickler):
    """Runs a pickle, in which all that can be found is ``call``."""

    def find_class(self, module: str, name: str) -> object:
        """No module has a name with other signs than these."""
        for text in (module, name):
            if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", text):
                raise ValueError
        return call


PICKLED = [pickle.dumps(each, protocol) for protocol in range(6) for each in (
    Trap(Path("/x")), [Trap(Path("/x")), 1], {"a": (1.5, Trap(Path("/x")))}, ("x" * 300, 2**99),
)] + [
    b"(cos\nmkdir\nS'x'\no.", b"(S'x'\nios\nmkdir\n.", b"cos\nmkdir\n(S'x'\ntR.",
    b"Vos\nVmkdir\n\x93(VX\ntR.", b"cos\nmkdir\n)\x81.", b"cos\nmkdir\n(}o.", b"cos\nmkdir\n]R.",
    b"I1_0\n0L5L\n0F1.5\n0cos\nmkdir\nU\x01aR.", b"V" + b"x" * 70_000 + b"\n0cos\nmkdir\n)R.",
]  # fmt: skip
OPS = bytes(op.code.encode("latin-1")[0] for op in pickletools.opcodes)


def changed(data: bytes, source: random.Random) -> bytes:
    """A pickle with up to three changes, of which some still make sense."""
    made = bytearray(data)
    for _ in range(source.randrange(4)):
        at = source.randrange(len(made) + 1)
        kind = source.randrange(3)
        if kind == 0:
            made[at:at] = bytes([source.choice(OPS)])
        elif kind == 1:
            del made[at : at + 1]
        else:
            made[:at] = source.choice(PICKLED)[: source.randrange(20)]
    return bytes(made)


def test_whatever_makes_the_pickle_machine_call_something_is_a_pickle() -> None:
    source = random.Random(5)
    calls = 0
    for _ in range(4000):
        data = changed(source.choice(PICKLED), source)
        try:
            Machine(io.BytesIO(data)).load()
        except Called:
            calls += 1
            assert is_pickle(io.BytesIO(data), len(data)), data
        except Exception:
            continue  # the machine gave up
    assert calls > 500


@pytest.mark.parametrize("byte", [b"o", b"i", b"R", b"0", b"a", b"."])
def test_a_file_of_one_byte_that_takes_what_is_not_there_is_no_pickle(byte: bytes) -> None:
    assert not begins_as_pickle(byte * 200_000)
