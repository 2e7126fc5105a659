"""Archives for the engine, and that it is sent no layer which it has."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from registry.docker_engine import DockerEngine, connect
from registry.engine_archive import (
    EngineLayer,
    dockerfile_context,
    folder_tar,
    load_image,
    load_tar,
    shared_layers,
)
from registry.errors import EngineError
from tests.engine import Engine
from tests.registry.base.samples import digest, entry, tar


def layer(name: str) -> tuple[bytes, EngineLayer]:
    data = tar(entry(name, name.encode() * 1000))
    return data, EngineLayer(digest(data), len(data), lambda: iter([data[:100], data[100:]]))


def config(layers: Sequence[EngineLayer]) -> tuple[bytes, str]:
    text = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        }
    ).encode()
    return text, f"sha256:{hashlib.sha256(text).hexdigest()}"


@pytest.mark.parametrize(
    ("wanted", "chains", "count"),
    [
        ("abc", [], 0),
        ("abc", ["abc"], 3),
        ("abc", ["abcd"], 3),
        ("abc", ["ab"], 2),
        ("abc", ["abx", "a"], 2),
        ("abc", ["bc", "xabc", ""], 0),
    ],
)
def test_only_layers_with_the_same_ones_below_are_shared(
    wanted: str, chains: list[str], count: int
) -> None:
    assert shared_layers(wanted, chains) == count


def test_the_archive_has_what_is_not_left_out_and_twice_nothing() -> None:
    (_, one), (two_data, two) = layer("one"), layer("two")
    text, name = config([one, two, two])
    data = b"".join(load_tar(text, name, [one, two, two], "a:1", 1))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
        read = {each: archive.extractfile(each) for each in names}
        listed = json.load(read["manifest.json"])  # type: ignore[arg-type]
        content = read[names[2]]
        assert content is not None
        assert content.read() == two_data
    assert names == ["manifest.json", f"{name[7:]}.json", f"{two.diff_id[7:]}.tar"]
    assert listed[0]["RepoTags"] == ["a:1"]
    assert len(listed[0]["Layers"]) == 3
    assert len(data) % 512 == 0


class Watched:
    """A real engine that counts what it is sent, and may claim to have layers that it lacks."""

    def __init__(self, inner: DockerEngine, claims: Sequence[str] = ()) -> None:
        self.inner = inner
        self.claims = claims
        self.sent: list[int] = []

    def layer_chains(self) -> Iterator[tuple[str, ...]]:
        if self.claims:
            yield tuple(self.claims)
        yield from self.inner.layer_chains()

    def image_id(self, name: str) -> str | None:
        return self.inner.image_id(name)

    def load(self, chunks: Iterable[bytes]) -> None:
        self.sent.append(0)

        def counted() -> Iterator[bytes]:
            for chunk in chunks:
                self.sent[-1] += len(chunk)
                yield chunk

        self.inner.load(counted())


@pytest.fixture
def docker(engine: Engine) -> Iterator[DockerEngine]:
    del engine  # skips without one
    connected = connect()
    yield connected
    connected.close()


def unique(engine: Engine, name: str) -> tuple[bytes, EngineLayer]:
    return layer(f"{engine.owner}-{name}")


def test_a_layer_that_the_engine_has_is_not_sent(engine: Engine, docker: DockerEngine) -> None:
    (_, base), (_, old), (new_data, new) = (unique(engine, name) for name in ("base", "old", "new"))
    tags = [engine.tag(), engine.tag()]
    watched = Watched(docker)
    assert load_image(watched, *config([base, old]), [base, old], tags[0]) == 2
    assert load_image(watched, *config([base, new]), [base, new], tags[1]) == 1
    assert watched.sent[1] < len(new_data) + 8192
    assert new_data in b"".join(docker.save(tags[1]))
    assert load_image(watched, *config([base, new]), [base, new], tags[1]) == 0


def test_an_engine_that_lacks_a_layer_after_all_is_sent_it(
    engine: Engine, docker: DockerEngine
) -> None:
    layers = [unique(engine, "one")[1], unique(engine, "two")[1]]
    tag = engine.tag()
    watched = Watched(docker, [layers[0].diff_id])
    text, name = config(layers)
    assert load_image(watched, text, name, layers, tag) == 2
    assert len(watched.sent) == 2
    assert docker.image_id(tag) == name


def test_a_layer_of_other_bytes_is_refused(engine: Engine, docker: DockerEngine) -> None:
    data, good = unique(engine, "good")
    bad = EngineLayer(good.diff_id, len(data), lambda: iter([data.replace(b"good", b"evil")]))
    tag = engine.tag()
    with pytest.raises(EngineError, match="cannot load"):
        load_image(docker, *config([bad]), [bad], tag)
    assert docker.image_id(tag) is None


def test_an_error_while_a_layer_is_read_passes(engine: Engine, docker: DockerEngine) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 100
        raise ZeroDivisionError

    _, good = unique(engine, "good")
    tag = engine.tag()
    bad = EngineLayer(good.diff_id, 1000, broken)
    with pytest.raises(ZeroDivisionError):
        load_image(docker, *config([bad]), [bad], tag)
    assert docker.image_id(tag) is None


def test_a_context_is_the_folder_and_the_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "a/empty").mkdir(parents=True)
    (tmp_path / "a/run").write_text("x" * 1000)
    (tmp_path / "a/run").chmod(0o700)
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "n\u00e4me").write_text("")
    name, chunks = dockerfile_context("FROM x", folder_tar(tmp_path))
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        infos = {info.name: info for info in archive}
    assert list(infos) == [name, "a", "a/empty", "a/run", "link", "n\u00e4me"]
    assert infos["a/run"].mode == 0o755
    assert infos["link"].linkname == "/etc/passwd"
    assert {(info.uid, info.mtime) for info in infos.values()} == {(0, 0)}


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(10_000_000))
    chunks = folder_tar(tmp_path)
    next(chunks)
    next(chunks)
    path.write_bytes(b"")
    with pytest.raises(EngineError, match="a became shorter"):
        list(chunks)
