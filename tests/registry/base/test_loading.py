"""Bases from everywhere, with the real programs that make them, and from whoever lies."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import resource
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from registry import media_types
from registry.base import BaseImage, load_base, unpacking
from registry.base.documents import MAX_DOCUMENT_BYTES
from registry.blobs import BlobStore
from registry.docker_engine import ContainerEngine, connect
from registry.errors import BaseImageError, CancelledError, EngineError, RemoteError, StoreFullError
from registry.platforms import Platform
from tests.engine import Engine, program
from tests.registry.base.conftest import Load
from tests.registry.base.samples import (
    ARM64,
    LayoutMaker,
    debian,
    digest,
    elf,
    entry,
    link,
    tar,
)

DEBIAN = tar(*debian())


def blobs(store: BlobStore) -> list[Path]:
    return [*store.paths.blobs.iterdir(), *store.paths.uploads.iterdir()]


def file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "base.tar"
    path.write_bytes(data)
    return path


def no_bytes(size: int) -> None:
    del size


# Root file systems


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lzma.compress, bz2.compress], ids=["tar", "gzip", "xz", "bzip2"]
)
def test_a_root_file_system_is_one_layer_whatever_packs_it(
    load: Load, store: BlobStore, tmp_path: Path, pack: Any
) -> None:
    data = pack(DEBIAN)
    base = load(file(tmp_path, data))
    [layer] = base.layers
    assert base.digest == layer.diff_id == digest(DEBIAN)
    assert layer.media_type == media_types.LAYER_GZIP
    stored = store.read(layer.digest)
    assert gzip.decompress(stored) == DEBIAN
    assert len(stored) == layer.size_bytes
    assert (stored == data) == (pack is gzip.compress)


def test_packed_or_not_it_is_the_same_layer(load: Load, tmp_path: Path) -> None:
    first = load(file(tmp_path, DEBIAN))
    assert load(file(tmp_path, lzma.compress(DEBIAN))).layers == first.layers


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_packed_streams_may_follow_each_other(load: Load, tmp_path: Path, pack: Any) -> None:
    parts = (DEBIAN[:5000], DEBIAN[5000:])
    assert load(file(tmp_path, b"".join(map(pack, parts)))).digest == digest(DEBIAN)


def crc_changed(data: bytes) -> bytes:
    return data[:-6] + bytes([data[-6] ^ 1]) + data[-5:]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cut off"),
        (b"x", "cut off"),
        (DEBIAN[: len(DEBIAN) // 2], "cut off"),
        (gzip.compress(DEBIAN)[:-1], "end is missing"),
        (gzip.compress(DEBIAN)[:-3000], "end is missing"),
        (lzma.compress(DEBIAN)[:-20], "end is missing"),
        (gzip.compress(DEBIAN[: len(DEBIAN) // 2]), "cut off"),
        (crc_changed(gzip.compress(DEBIAN)), "damaged: .*incorrect data check"),
        (gzip.compress(DEBIAN)[:1000] + b"x" * 1000, "damaged"),
        (gzip.compress(DEBIAN) + b"garbage", "damaged"),
        (lzma.compress(DEBIAN)[:1000] + b"x" * 1000, "damaged"),
        (bz2.compress(DEBIAN)[:1000] + b"x" * 1000, "damaged"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 1000, "zstd"),
        (b"BZh9" + b"x" * 1000, "damaged"),
        (tar(*debian(), entry("../x")), "leaves the root"),
        (tar(*debian(), link("x", "../../etc/shadow", tarfile.LNKTYPE)), "leaves the root"),
        (tar(*debian(), link("x", "", tarfile.BLKTYPE)), "device"),
        (gzip.compress(lzma.compress(os.urandom(2000))), "no tar archive"),
    ],
)
def test_a_bad_archive_is_refused_and_leaves_nothing(
    load: Load, store: BlobStore, tmp_path: Path, data: bytes, says: str
) -> None:
    path = file(tmp_path, data)
    with pytest.raises(BaseImageError, match=says) as caught:
        load(path)
    assert str(caught.value).startswith(f"base '{path}': it ")
    assert "\n" not in str(caught.value)
    assert blobs(store) == []


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_a_bomb_is_stopped(
    load: Load, store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Any
) -> None:
    monkeypatch.setattr(unpacking, "FREE_BYTES", 1024 * 1024)
    bomb = pack(tar(entry("zeros", bytes(30_000_000))))
    with pytest.raises(BaseImageError, match="unpacks to more than"):
        load(file(tmp_path, bomb))
    assert blobs(store) == []


def test_a_pipe_and_a_folder_are_no_archives(load: Load, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(BaseImageError, match="it is no file"):
        load(tmp_path / "pipe.tar")


def test_who_cancels_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    def cancel(size: int) -> None:
        raise CancelledError("cancelled")

    with pytest.raises(CancelledError):
        load_base(str(file(tmp_path, DEBIAN)), Platform(), store, on_bytes=cancel)
    assert blobs(store) == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_a_full_disk_is_no_damaged_base(
    load: Load, store: BlobStore, tmp_path: Path, pack: Any
) -> None:
    path = file(tmp_path, pack(tar(*debian(), entry("x", os.urandom(4_000_000)))))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreFullError):
            load(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert blobs(store) == []


def test_all_bytes_are_told(store: BlobStore, tmp_path: Path) -> None:
    told: list[int] = []
    load_base(str(file(tmp_path, DEBIAN)), Platform(), store, on_bytes=told.append)
    assert sum(told) == len(DEBIAN)


def test_what_is_known_of_a_base_survives_the_database(load: Load, tmp_path: Path) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    layout.image([DEBIAN], settings={"Env": ["A=\u00e4"], "Labels": {"x": "y"}, "Cmd": None})
    base = load(layout.root)
    assert BaseImage.from_json(base.to_json()) == base


# OCI layouts


@pytest.mark.parametrize(
    ("layer_type", "config_type", "manifest_type"),
    [
        (media_types.LAYER_GZIP, media_types.CONFIG, media_types.MANIFEST),
        (media_types.LAYER, media_types.CONFIG, media_types.MANIFEST),
        (
            media_types.DOCKER_LAYER_GZIP,
            media_types.DOCKER_CONFIG,
            media_types.DOCKER_MANIFEST,
        ),
    ],
)
def test_oci_and_docker_layouts_keep_their_layers_bytes(
    load: Load,
    store: BlobStore,
    tmp_path: Path,
    layer_type: str,
    config_type: str,
    manifest_type: str,
) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    described = layout.image(
        [DEBIAN, tar(entry("x", b"1"))],
        settings={"Env": ["A=1"], "WorkingDir": "/x"},
        layer_type=layer_type,
        config_type=config_type,
        manifest_type=manifest_type,
    )
    base = load(layout.root)
    assert base.digest == described["digest"]
    assert base.config == {"Env": ["A=1"], "WorkingDir": "/x"}
    assert [layer.diff_id for layer in base.layers] == [
        digest(DEBIAN),
        digest(tar(entry("x", b"1"))),
    ]
    for layer in base.layers:
        assert store.read(layer.digest) == layout.path(layer.digest).read_bytes()
        assert layer.media_type in (media_types.LAYER, media_types.LAYER_GZIP)


def test_an_upper_layer_brings_the_python(load: Load, tmp_path: Path) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    upper = tar(
        entry("usr/bin/.wh.python3.11"),
        link("usr/bin/python3", "python3.12"),
        entry("usr/bin/python3.12", elf()),
    )
    layout.image([DEBIAN, upper])
    assert load(layout.root).python.version == (3, 12)


def test_the_index_chooses_the_platform(load: Load, tmp_path: Path) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    layout.image([tar(*debian(minor=10))], platform="linux/amd64")
    layout.image([tar(*debian(ARM64))], architecture="arm64", platform="linux/arm64")
    layout.image([b"{}"], platform="unknown/unknown")
    assert load(layout.root).python.version == (3, 10)
    assert load(layout.root, "arm64").python.version == (3, 11)
    nested = LayoutMaker(tmp_path / "nested")
    for path in (layout.root / "blobs/sha256").iterdir():
        nested.path(f"sha256:{path.name}").write_bytes(path.read_bytes())
    index = nested.blob((layout.root / "index.json").read_bytes(), media_types.INDEX)
    nested.manifests.append(index)
    nested.write_index()
    assert load(nested.root, "arm64").platform.architecture == "arm64"


def test_the_tag_chooses_the_image(load: Load, tmp_path: Path) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    layout.image([tar(*debian(minor=10))], tag="ten")
    layout.image([tar(*debian(minor=12))], tag="twelve")
    assert load(f"oci:{layout.root}:ten").python.version == (3, 10)
    with pytest.raises(BaseImageError, match="2 images; name one of: ten, twelve"):
        load(layout.root)
    with pytest.raises(BaseImageError, match="no image 'nine'; there are: ten, twelve"):
        load(f"oci:{layout.root}:nine")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"architecture": "arm64"}, "it is for linux/arm64, the image for linux/amd64"),
        ({"platform": "linux/s390x"}, "no image for linux/amd64; there are: linux/s390x"),
        ({"layer_type": media_types.LAYER_ZSTD}, "zstd"),
        (
            {"layer_type": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
            "may not be passed on",
        ),
        (
            {"layer_type": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"},
            "may not be passed on",
        ),
        ({"layer_type": "application/x-rar"}, "unknown type"),
        ({"config_type": "application/vnd.oci.empty.v1+json"}, "no container image"),
        (
            {"manifest_type": "application/vnd.docker.distribution.manifest.v1+prettyjws"},
            "(not supported|no image)",
        ),
        ({"diff_ids": [digest(b"other")]}, "not the one that its config names"),
        ({"diff_ids": [digest(b"1"), digest(b"2")]}, "1 layers and its config 2"),
        ({"diff_ids": ["sha256:../../../etc/passwd"]}, "config cannot be read"),
        ({"diff_ids": ["sha512:" + "a" * 128]}, "config cannot be read"),
        ({"settings": {"Env": "A=1"}}, "config cannot be read"),
        ({"settings": {"Labels": {"a": 1}}}, "config cannot be read"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(
    load: Load, store: BlobStore, tmp_path: Path, options: Mapping[str, Any], says: str
) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    layout.image([DEBIAN], **options)
    with pytest.raises(BaseImageError, match=says) as caught:
        load(layout.root)
    assert "\n" not in str(caught.value)
    assert blobs(store) == []


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
@pytest.mark.parametrize("how", ["gone", "changed", "longer", "shorter", "link", "pipe", "folder"])
def test_a_layout_whose_blobs_are_not_theirs_is_refused(
    load: Load, store: BlobStore, tmp_path: Path, which: str, how: str
) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    described = layout.image([DEBIAN])
    manifest = json.loads(layout.path(described["digest"]).read_bytes())
    of = {"manifest": described, "config": manifest["config"], "layer": manifest["layers"][0]}
    path = layout.path(of[which]["digest"])
    data = path.read_bytes()
    path.unlink()
    if how == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to(tmp_path / "elsewhere")
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how != "gone":
        changed = data[:-1] + bytes([data[-1] ^ 1])
        path.write_bytes({"changed": changed, "longer": data + b" ", "shorter": data[:-1]}[how])
    with pytest.raises(BaseImageError, match=r"^base '"):
        load(layout.root)
    assert blobs(store) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"manifests": 1}',
        '{"manifests": [{}]}',
        '{"manifests": []}',
        '{"manifests": [{"digest": "sha256:../../x", "size": 1}]}',
        '{"manifests": [{"digest": "sha256:' + "a" * 64 + '", "size": -1}]}',
        '{"manifests": [{"digest": "sha256:' + "a" * 64 + '\\n", "size": 1}]}',
        '{"manifests": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"manifests": [], "x": ' + "9" * 5000 + "}",
        " " * (MAX_DOCUMENT_BYTES + 1),
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_an_index_that_is_none_is_refused(load: Load, tmp_path: Path, text: str) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    (layout.root / "index.json").write_text(text)
    with pytest.raises(BaseImageError) as caught:
        load(layout.root)
    assert "\n" not in str(caught.value)


def test_an_index_in_itself_is_no_endless_search(load: Load, tmp_path: Path) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    inner = layout.image([DEBIAN])
    for _ in range(5):
        inner = layout.blob(json.dumps({"manifests": [inner]}).encode(), media_types.INDEX)
    layout.manifests[:] = [inner]
    layout.write_index()
    with pytest.raises(BaseImageError, match="not supported"):
        load(layout.root)


# Registries


def pulled(layout: LayoutMaker, described: Mapping[str, Any]) -> Any:
    """What a registry client does with the image of a layout."""

    def pull(
        reference: str, platform: Platform, store: BlobStore, on_bytes: Any
    ) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
        asked.append(reference)
        manifest = json.loads(layout.path(described["digest"]).read_bytes())
        for blob in (manifest["config"], *manifest["layers"]):
            store.put([layout.path(blob["digest"]).read_bytes()])
        config = json.loads(layout.path(manifest["config"]["digest"]).read_bytes())
        return described["digest"], manifest, config

    asked: list[str] = []
    pull.asked = asked  # type: ignore[attr-defined]
    return pull


def test_a_registry_is_asked_for_the_full_name(store: BlobStore, tmp_path: Path) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    described = layout.image([DEBIAN])
    pull = pulled(layout, described)
    base = load_base("python:3.11", Platform(), store, on_bytes=no_bytes, pull=pull)
    assert pull.asked == ["docker.io/library/python:3.11"]
    assert (base.digest, base.reference) == (described["digest"], "python:3.11")


@pytest.mark.parametrize(
    "options", [{"diff_ids": [digest(b"x")]}, {"architecture": "arm64"}, {"config_type": "x/y"}]
)
def test_a_registry_that_lies_is_refused(
    store: BlobStore, tmp_path: Path, options: Mapping[str, Any]
) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    pull = pulled(layout, layout.image([DEBIAN], **options))
    with pytest.raises(BaseImageError):
        load_base("python:3.11", Platform(), store, on_bytes=no_bytes, pull=pull)


def unreachable(*_: object) -> Any:
    raise RemoteError("docker.io does not answer")


def test_a_registry_that_answers_no_is_believed(store: BlobStore) -> None:
    def denied(*_: object) -> Any:
        raise RemoteError("docker.io: no such image", status=404)

    with pytest.raises(RemoteError, match="no such image"):
        load_base(
            "python:3.11", Platform(), store, on_bytes=no_bytes, pull=denied, engine=no_engine
        )


def no_engine() -> ContainerEngine:
    raise EngineError("no Docker Engine answers")


def test_without_a_registry_and_an_engine_both_reasons_are_told(store: BlobStore) -> None:
    with pytest.raises(BaseImageError, match=r"does not answer.*no Docker Engine answers"):
        load_base(
            "python:3.11", Platform(), store, on_bytes=no_bytes, pull=unreachable, engine=no_engine
        )


# Real programs


def test_a_registry_that_is_away_gives_way_to_the_engine(
    engine: Engine, store: BlobStore, tmp_path: Path
) -> None:
    tag = imported(engine, tmp_path, DEBIAN)
    told: list[str] = []
    base = load_base(
        tag,
        Platform(),
        store,
        on_bytes=no_bytes,
        pull=unreachable,
        engine=connect,
        on_line=told.append,
    )
    assert base.python.version == (3, 11)
    assert len(told) == 1
    assert "the Docker Engine's image of that name is used" in told[0]


def imported(engine: Engine, tmp_path: Path, data: bytes) -> str:
    tag = engine.tag()
    path = tmp_path / "imported.tar"
    path.write_bytes(data)
    engine.run("import", "--change", "ENV A=1", str(path), tag)
    return tag


def test_an_image_of_the_engine_is_a_base_layer_by_layer(
    engine: Engine, store: BlobStore, tmp_path: Path
) -> None:
    lower = imported(engine, tmp_path, DEBIAN)
    (tmp_path / "Dockerfile").write_text(f"FROM {lower}\nCOPY Dockerfile /a\nCOPY Dockerfile /b\n")
    tag = engine.tag()
    engine.run("build", "--tag", tag, str(tmp_path))
    base = load_base(f"docker:{tag}", Platform(), store, on_bytes=no_bytes, engine=connect)
    said = json.loads(engine.run("image", "inspect", tag))[0]
    assert [layer.diff_id for layer in base.layers] == said["RootFS"]["Layers"]
    assert base.digest == said["Id"]
    assert "A=1" in base.config["Env"]
    for layer in base.layers:
        assert digest(gzip.decompress(store.read(layer.digest))) == layer.diff_id


def test_an_image_that_the_engine_lacks_is_named(engine: Engine, store: BlobStore) -> None:
    with pytest.raises(EngineError, match="inferry-test/none"):
        load_base("docker:inferry-test/none", Platform(), store, on_bytes=no_bytes, engine=connect)


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_what_skopeo_copies_is_a_base(
    engine: Engine, load: Load, tmp_path: Path, form: str
) -> None:
    skopeo = program("skopeo")
    tag = imported(engine, tmp_path, DEBIAN)
    target = f"oci:{tmp_path}/copied:v1"
    engine.run("save", "--output", str(tmp_path / "saved.tar"), tag)
    subprocess.run(
        [skopeo, "copy", f"docker-archive:{tmp_path}/saved.tar", target],
        check=True,
        capture_output=True,
        timeout=60,
    )
    base = load(f"oci:{tmp_path}/copied:v1" if form == "oci" else tmp_path / "copied")
    assert [layer.diff_id for layer in base.layers] == [digest(DEBIAN)]
    assert "A=1" in base.config["Env"]


@pytest.mark.slow
def test_debian_s_root_file_system_is_a_base(load: Load, debian_base: Path) -> None:
    base = load(debian_base)
    assert base.python.path.startswith("/usr/bin/python3.")
    assert base.glibc >= (2, 36)


class Lying:
    """An engine whose ``docker save`` is not to be trusted."""

    def __init__(self, saved: bytes) -> None:
        self.saved = saved

    def save(self, name: str) -> Iterator[bytes]:
        yield self.saved


GOOD_CONFIG = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest(DEBIAN)]},
    }
).encode()
LISTED = b'[{"Config": "c.json", "RepoTags": [], "Layers": ["1/layer.tar"]}]'


def saved(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return tar(*members)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ((), "list of its layers"),
        ((entry("manifest.json", b"[]"),), "list of its layers"),
        ((entry("manifest.json", b"{"),), "list of its layers"),
        ((entry("manifest.json", LISTED[:-1] + b"," + LISTED[1:]),), "list of its layers"),
        ((entry("manifest.json", LISTED),), "config"),
        ((entry("manifest.json", LISTED), entry("c.json", GOOD_CONFIG)), "other layers"),
        (
            (
                entry("1/layer.tar", tar(entry("x"))),
                entry("manifest.json", LISTED),
                entry("c.json", GOOD_CONFIG),
            ),
            "other layers",
        ),
        (
            (
                link("1/layer.tar", "../../../etc/passwd"),
                entry("manifest.json", LISTED),
                entry("c.json", GOOD_CONFIG),
            ),
            "other layers",
        ),
        ((entry("x.json", bytes(MAX_DOCUMENT_BYTES + 1)),), "too large"),
        ((entry("../x", b""),), "leaves the root"),
    ],
)
def test_an_engine_that_lies_is_refused(
    store: BlobStore, members: tuple[tuple[tarfile.TarInfo, bytes], ...], says: str
) -> None:
    lying: Any = Lying(saved(*members))
    with pytest.raises(BaseImageError, match=says):
        load_base("docker:x", Platform(), store, on_bytes=no_bytes, engine=lambda: lying)


@pytest.mark.parametrize("form", ["legacy", "linked", "oci"])
def test_every_form_of_docker_save_is_read(store: BlobStore, form: str) -> None:
    layer = {
        "legacy": (entry("1/layer.tar", DEBIAN),),
        "linked": (link("1/layer.tar", "../2/layer.tar"), entry("2/layer.tar", DEBIAN)),
        "oci": (
            entry(f"blobs/sha256/{digest(DEBIAN)[7:]}", DEBIAN),
            entry("blobs/sha256/x", b"{}"),
            entry("index.json", b"{}"),
        ),
    }[form]
    listed = LISTED
    if form == "oci":
        listed = listed.replace(b"1/layer.tar", f"blobs/sha256/{digest(DEBIAN)[7:]}".encode())
    data = saved(*layer, entry("c.json", GOOD_CONFIG), entry("manifest.json", listed))
    lying: Any = Lying(data)
    base = load_base("docker:x", Platform(), store, on_bytes=no_bytes, engine=lambda: lying)
    assert [layer.diff_id for layer in base.layers] == [digest(DEBIAN)]
    assert base.digest == digest(GOOD_CONFIG)
    assert base.glibc == (2, 36)
