"""Layers are what tar and the tools of OCI read, the same on any machine, or not there at all."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry import Workspace, layers, media_types
from registry.blobs import BlobStore
from registry.errors import CancelledError, ImageFailedError, InvalidSourceError
from registry.image_tree import BUNDLE_ROOT
from registry.layers import Entry, Layer, bytes_entry, read_layer, write_layer
from registry.paths import WorkspacePaths
from tests.engine import program
from tests.registry.base import samples

BLOCK = 4096
FUNCTION_FIXTURE = [HealthCheck.function_scoped_fixture]
PARTS = st.text(
    st.characters(blacklist_categories=("Cc", "Cs"), blacklist_characters="/\\"),
    min_size=1,
    max_size=60,
).filter(lambda part: part not in (".", "..") and len(part.encode()) <= 255)
SIZES = st.one_of(
    st.integers(0, 3 * BLOCK),
    st.sampled_from([511, 512, 513, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK - 512, 20 * BLOCK]),
)
FILES = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=6).map(tuple), st.tuples(SIZES, st.booleans()), max_size=8
).filter(lambda files: not any(a != b and b[: len(a)] == a for a in files for b in files))


def ignore(count: int) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def store(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    """An empty one; what is packed in blocks is cut into many."""
    monkeypatch.setattr(layers, "BLOCK_BYTES", BLOCK)
    return BlobStore(WorkspacePaths(workspace.root))


def remains(store: BlobStore) -> list[Path]:
    return [*store.paths.blobs.iterdir(), *store.paths.uploads.iterdir()]


def filled(size: int, seed: str) -> bytes:
    """Bytes that hardly compress, and are others for each seed."""
    return (samples.digest(seed.encode()).encode() * (size // 71 + 1))[:size]


def entries(files: dict[tuple[str, ...], tuple[int, bool]]) -> list[Entry]:
    return [
        bytes_entry("/".join(path), filled(size, "/".join(path)), is_executable=is_executable)
        for path, (size, is_executable) in files.items()
    ]


def read(data: bytes) -> dict[str, tuple[bytes, int]]:
    """Bytes and mode of all in a plain tar, by path; a folder has no bytes."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for info in archive:
            assert info.name not in found
            assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")
            content = archive.extractfile(info)
            found[info.name] = (b"" if content is None else content.read(), info.mode)
    return found


@given(files=FILES, compress=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=FUNCTION_FIXTURE)
def test_any_files_are_read_back_as_they_were(
    store: BlobStore, files: dict[tuple[str, ...], tuple[int, bool]], compress: bool
) -> None:
    counted: list[int] = []
    made = write_layer(store, entries(files), counted.append, compress=compress)
    data = store.read(made.digest)
    plain = gzip.decompress(data) if compress else data
    assert made.size_bytes == len(data)
    assert made.diff_id == samples.digest(plain)
    assert sum(counted) == len(plain)
    wanted = {
        "/".join(path): (filled(size, "/".join(path)), 0o755 if is_executable else 0o644)
        for path, (size, is_executable) in files.items()
    }
    folders = {"/".join(path[:n]): (b"", 0o755) for path in files for n in range(1, len(path))}
    assert read(plain) == {**folders, **wanted}


@given(files=FILES)
@settings(max_examples=8, deadline=None, suppress_health_check=FUNCTION_FIXTURE)
def test_gnu_tar_lists_the_same_files(
    store: BlobStore, files: dict[tuple[str, ...], tuple[int, bool]]
) -> None:
    made = write_layer(store, entries(files), ignore, compress=True)
    listed = subprocess.run(
        ["tar", "-tzf", str(store.paths.blob(made.digest)), "--quoting-style=literal"],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    ).stdout.decode()
    names = {line for line in listed.split("\n") if line and not line.endswith("/")}
    assert names == {"/".join(path) for path in files}


@given(files=FILES, threads=st.integers(1, 5), compress=st.booleans(), data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=FUNCTION_FIXTURE)
def test_the_digest_depends_on_the_files_only(
    store: BlobStore,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[tuple[str, ...], tuple[int, bool]],
    threads: int,
    compress: bool,
    data: st.DataObject,
) -> None:
    """Not on threads or on the order of the entries."""
    given_entries = entries(files)
    made = write_layer(store, given_entries, ignore, compress=compress)
    others = data.draw(st.permutations(given_entries))
    with monkeypatch.context() as changed:
        changed.setattr(layers, "THREADS", threads)
        assert write_layer(store, others, ignore, compress=compress) == made


@given(
    pieces=st.lists(st.integers(0, 3 * BLOCK), max_size=20),
    sizes=st.lists(st.integers(1, 2 * BLOCK), min_size=1, max_size=5),
    threads=st.integers(1, 5),
)
@settings(max_examples=30, deadline=None, suppress_health_check=FUNCTION_FIXTURE)
def test_what_is_packed_does_not_depend_on_the_pieces_it_comes_in(
    store: BlobStore,
    monkeypatch: pytest.MonkeyPatch,
    pieces: list[int],
    sizes: list[int],
    threads: int,
) -> None:
    data = filled(sum(pieces), "pieces")
    again = [sizes[number % len(sizes)] for number in range(len(data))]
    with monkeypatch.context() as changed:
        changed.setattr(layers, "THREADS", threads)
        found = packed(cut(data, pieces))
    assert packed(cut(data, again)) == packed([data]) == found
    assert not data or gzip.decompress(found) == data


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        if at < len(data):
            yield data[at : at + size]
            at += size


def packed(chunks: Iterable[bytes]) -> bytes:
    found = io.BytesIO()
    with layers.packed(found.write) as put:
        for chunk in chunks:
            put(chunk)
    return found.getvalue()


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("at", [0, 1, 5, 30])
@pytest.mark.parametrize("error", [CancelledError("enough"), KeyboardInterrupt()])
def test_who_is_told_of_bytes_may_stop_it_and_nothing_is_left(
    store: BlobStore, compress: bool, at: int, error: BaseException
) -> None:
    calls = 0

    def stop(count: int) -> None:
        nonlocal calls
        calls += 1
        if calls > at:
            raise error

    threads = threading.active_count()
    with pytest.raises(type(error)):
        write_layer(store, many(), stop, compress=compress)
    assert calls > at
    assert remains(store) == []
    assert threading.active_count() == threads


def many() -> list[Entry]:
    return [bytes_entry(f"f{number:02}", filled(3 * BLOCK, str(number))) for number in range(40)]


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("fails", ["open", "read", "short", "close"])
def test_an_entry_that_fails_leaves_nothing(store: BlobStore, compress: bool, fails: str) -> None:
    @contextmanager
    def opened() -> Iterator[io.BytesIO]:
        if fails == "open":
            raise InvalidSourceError("the entry fails")
        yield Broken(bytes(BLOCK)) if fails == "read" else io.BytesIO(bytes(BLOCK - 1))
        if fails == "close":
            raise InvalidSourceError("the entry fails")

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise InvalidSourceError("the entry fails")

    size = BLOCK if fails != "close" else BLOCK - 1
    threads = threading.active_count()
    with pytest.raises(Exception, match=r"the entry fails|unexpected end of data"):
        write_layer(store, [*many(), Entry("z", size, opened)], ignore, compress=compress)
    assert remains(store) == []
    assert threading.active_count() == threads


def test_a_failing_compressor_leaves_nothing(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread, where nobody but the one who waits for it sees it."""

    def fail(data: bytes) -> bytes:
        raise MemoryError

    monkeypatch.setattr(layers, "_gzip", fail)
    threads = threading.active_count()
    with pytest.raises(MemoryError):
        write_layer(store, many(), ignore, compress=True)
    assert remains(store) == []
    assert threading.active_count() == threads


def test_a_sparse_file_is_no_terabyte_of_zeros() -> None:
    info = tarfile.TarInfo(f"{BUNDLE_ROOT}/zeros")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": info.name,
        "GNU.sparse.size": str(1 << 40),
        "GNU.sparse.map": "0,0",
    }
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(info)
    made.seek(0)
    with pytest.raises(ImageFailedError, match="does not hold a bundle"):
        list(read_layer(made))


def test_skopeo_and_umoci_read_layers_of_many_gzip_members(
    store: BlobStore, tmp_path: Path
) -> None:
    skopeo, umoci = program("skopeo"), program("umoci")
    made: list[Layer] = [
        write_layer(store, many(), ignore, compress=True),
        write_layer(store, [bytes_entry("deep/er/ü" + "x" * 120, b"plain")], ignore),
    ]
    layout = samples.LayoutMaker(tmp_path / "layout")
    for layer in made:
        layout.path(layer.digest).write_bytes(store.read(layer.digest))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in made]},
    }
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "config": layout.blob(json.dumps(config).encode(), media_types.CONFIG),
        "layers": [
            {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size_bytes}
            for layer in made
        ],
    }
    note = {"org.opencontainers.image.ref.name": "one"}
    data = json.dumps(document).encode()
    layout.manifests.append(layout.blob(data, media_types.MANIFEST, annotations=note))
    layout.write_index()
    run = [skopeo, "--insecure-policy", "copy", "--quiet"]
    subprocess.run(
        [*run, f"oci:{layout.root}:one", f"oci:{tmp_path / 'copy'}:one"], check=True, timeout=60
    )
    subprocess.run(
        [umoci, "unpack", "--rootless", "--image", f"{tmp_path / 'copy'}:one", tmp_path / "out"],
        check=True,
        timeout=60,
        capture_output=True,
    )
    root = tmp_path / "out/rootfs"
    assert (root / ("deep/er/ü" + "x" * 120)).read_bytes() == b"plain"
    for number in range(40):
        assert (root / f"f{number:02}").read_bytes() == filled(3 * BLOCK, str(number))
