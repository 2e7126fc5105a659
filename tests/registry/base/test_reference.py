"""What ``--base`` can name."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.base.reference import (
    EngineImage,
    Layout,
    RegistryImage,
    RootArchive,
    cache_key,
    parse_base,
    parse_registry_image,
)
from registry.errors import BaseImageError
from tests.registry.base.samples import LayoutMaker

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python:3.11-slim", "docker.io/library/python:3.11-slim"),
        ("python", "docker.io/library/python:latest"),
        ("team/base:1", "docker.io/team/base:1"),
        ("localhost/base", "localhost/base:latest"),
        ("localhost:5000/base:2", "localhost:5000/base:2"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
        ("[::1]:5000/base", "[::1]:5000/base:latest"),
        ("ghcr.io/team/base__x:A_1.2", "ghcr.io/team/base__x:A_1.2"),
        (f"python@{DIGEST}", f"docker.io/library/python@{DIGEST}"),
        (f"python:3.11@{DIGEST}", f"docker.io/library/python@{DIGEST}"),
        ("docker://python:3.11", "docker.io/library/python:3.11"),
    ],
)
def test_a_name_is_that_of_a_registry_image(text: str, expected: str) -> None:
    parsed = parse_base(text)
    assert isinstance(parsed, RegistryImage)
    assert str(parsed) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Python:3.11",
        "python:",
        "python: 3",
        "python:3;id",
        "python:$(id)",
        "python:3\n",
        "-v",
        "--privileged",
        "a//b",
        "a/../b",
        "a/b/",
        "python:3@sha256:1234",
        "python@sha512:" + "a" * 128,
        "https://ghcr.io/a",
        "user:secret@ghcr.io/a",
        "p\u00fcthon",
        "\u202epython",
        "x" * 256,
        "x" * 5000,
        "docker:",
        "docker:-rf",
        "docker:a b",
        "oci:",
        "oci:/nowhere",
        "/nowhere/base.tar",
        "./nowhere",
        "nowhere.tar.gz",
        "[::1/base",
        "host:99999999/base",
    ],
)
def test_a_bad_name_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BaseImageError) as caught:
        parse_base(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 400


def test_a_tag_that_python_takes_for_digits_of_another_script_is_refused() -> None:
    with pytest.raises(BaseImageError):
        parse_registry_image("python:\u0663")


def test_a_file_is_an_archive_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "rootfs").write_bytes(b"")
    assert parse_base(str(tmp_path / "rootfs")) == RootArchive(tmp_path / "rootfs")


def test_a_folder_of_that_name_hides_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").mkdir()
    monkeypatch.chdir(tmp_path)
    assert isinstance(parse_base("python"), RegistryImage)
    with pytest.raises(BaseImageError, match="no OCI image layout"):
        parse_base("./python")


def test_a_layout_is_named_with_and_without_its_scheme(tmp_path: Path) -> None:
    LayoutMaker(tmp_path / "a:b")
    where = tmp_path / "a:b"
    assert parse_base(str(where)) == Layout(where)
    assert parse_base(f"oci:{where}") == Layout(where)
    assert parse_base(f"oci:{where}:v1") == Layout(where, "v1")


def test_the_engine_s_images_have_a_scheme() -> None:
    assert parse_base("docker:team/base:1") == EngineImage("team/base:1")


def test_the_key_of_a_file_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "base.tar"
    path.write_bytes(b"1")
    first = cache_key(str(path))
    assert cache_key(str(path)) == first
    (tmp_path / "other").write_bytes(b"1")
    (tmp_path / "other").rename(path)
    assert cache_key(str(path)) != first


def test_names_of_one_image_have_one_key() -> None:
    assert cache_key("python:3.11") == cache_key("docker.io/library/python:3.11")
