"""Whatever of a workspace is damaged: the next build mends it or says what is wrong, and never
makes an image of wrong bytes. And what hostile folders cannot put into a container."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from registry import Image, Workspace
from registry.activities import Activity
from registry.errors import InvalidSourceError, NotFoundError, RegistryError, RequirementsError
from tests.registry.small_containers import SCRIPT, Parts, assert_complete, make_parts
from tests.registry.store_check import assert_clean, assert_no_leftovers, blob_path, blobs

pytestmark = pytest.mark.slow

KINDS = ["base", "dependencies", "server", "code", "model"]
GONE = f"sha256:{0:064}"
First = tuple[Parts, Workspace, Image]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> First:
    """A workspace with one image; each test works on a copy."""
    root = tmp_path_factory.mktemp("damage")
    parts = make_parts(root / "parts")
    workspace = parts.workspace(root / "ws")
    return parts, workspace, parts.create(workspace)


@pytest.fixture
def parts(first: First) -> Parts:
    return first[0]


@pytest.fixture
def workspace(first: First, tmp_path: Path) -> Workspace:
    """A copy of that workspace."""
    shutil.copytree(first[1].root, tmp_path / "ws")
    return Workspace.open(tmp_path / "ws")


def change(workspace: Workspace, statement: str, *values: object) -> int:
    """Rows that were changed behind the workspace's back."""
    with closing(sqlite3.connect(workspace.root / "workspace.db")) as connection, connection:
        return connection.execute(statement, values).rowcount


def damage(path: Path, how: str) -> None:
    """``flipped`` keeps the size."""
    data = path.read_bytes()
    middle = len(data) // 2
    path.chmod(0o644)
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[:middle])
    elif how == "flipped":
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif how == "empty":
        path.write_bytes(b"")


def same_again(first: First, workspace: Workspace, tmp_path: Path) -> Image:
    """The next image is complete and has the layers that the first had, but for its name in the
    code's."""
    made = first[0].create(workspace)
    assert_complete(workspace, made, tmp_path / "out")
    assert layers(made) == layers(first[2])
    return made


def layers(image: Image) -> list[str]:
    return [layer.digest for layer in image.details.layers if layer.kind != "code"]


@pytest.mark.parametrize(
    ("kinds", "how"),
    [
        *((KINDS, how) for how in ("missing", "cut", "flipped", "empty")),
        *(([kind], "flipped") for kind in KINDS),
    ],
)
def test_a_damaged_layer_is_written_again(
    first: First, workspace: Workspace, tmp_path: Path, kinds: list[str], how: str
) -> None:
    for layer in first[2].details.layers:
        if layer.kind in kinds:
            damage(blob_path(workspace, layer.digest), how)
    same_again(first, workspace, tmp_path)
    if "code" in kinds:  # has the version in it, so that nothing writes it again
        workspace.images.delete("i:1")
    else:
        assert_complete(workspace, workspace.images.get("i:1"), tmp_path / "first")
    workspace.purge()
    assert_clean(workspace)


@pytest.mark.parametrize("how", ["missing", "cut", "flipped"])
def test_a_damaged_wheel_is_fetched_again(
    first: First, workspace: Workspace, tmp_path: Path, how: str
) -> None:
    [wheel] = (workspace.root / "wheels").rglob("demo-*.whl")
    whole = wheel.read_bytes()
    damage(wheel, how)
    [packages] = [la.digest for la in first[2].details.layers if la.kind == "dependencies"]
    blob_path(workspace, packages).unlink()
    same_again(first, workspace, tmp_path)
    assert wheel.read_bytes() == whole


@pytest.mark.parametrize("how", ["cut", "flipped", "empty"])
def test_a_damaged_wheel_whose_layer_is_there_stops_nothing(
    first: First, workspace: Workspace, tmp_path: Path, how: str
) -> None:
    for wheel in (workspace.root / "wheels").rglob("*.whl"):
        damage(wheel, how)
    made = same_again(first, workspace, tmp_path)
    assert workspace.images.verify(made.reference)


def test_wheels_that_go_while_they_are_used_stop_the_build_with_their_names(
    first: First, tmp_path: Path
) -> None:
    """All that is left of it is what the next build can use, which fetches them again."""
    other = first[0].workspace(tmp_path / "other")
    there = blobs(other)

    def lose(activity: Activity) -> None:
        if activity.phase == "Signing":
            for wheel in (other.root / "wheels").rglob("*.whl"):
                wheel.unlink(missing_ok=True)

    with pytest.raises(RegistryError, match=r"cannot read .*\.whl"):
        first[0].create(other, on_change=lose)
    kept = {la.digest for la in first[2].details.layers if la.kind in KINDS[:3]}
    assert blobs(other) == there | kept
    assert_no_leftovers(other)
    other.purge()
    assert blobs(other) == there
    assert_complete(other, first[0].create(other), tmp_path / "out")


@pytest.mark.parametrize(
    "text",
    ["", "{}", "{", b"\xff\0"],
)
@pytest.mark.parametrize("table", ["base_images", "locks"])
def test_a_remembered_document_that_is_none_is_mended_or_named(
    first: First, workspace: Workspace, tmp_path: Path, table: str, text: str | bytes
) -> None:
    value = text if isinstance(text, str) else text.decode("latin-1")
    assert change(workspace, f"UPDATE {table} SET document = ?", value) == 1
    if table == "locks":
        with pytest.raises(RequirementsError, match=r"stored lock is damaged.*--relock"):
            first[0].create(workspace)
        first[0].create(workspace, relock=True)
    same_again(first, workspace, tmp_path)


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("base_images", '"python": ["/usr/bin/python3.11", 3, 11]', '"python": ["/x", 3, 11]'),
        ("base_images", '"glibc": [2, 36]', '"glibc": [2, 17]'),
        ("base_images", '"config": {}', '"config": {"Env": ["LD_PRELOAD=/x"]}'),
        ("base_images", "tar+gzip", "tar"),
        ("base_images", '"linux/amd64"', '"linux/arm64"'),
        ("locks", "[2,36]", "[2,17]"),
        ("locks", "demo", "dem0"),
        ("locks", '"linux/amd64"', '"linux/arm64"'),
    ],
)
def test_a_remembered_document_that_was_changed_is_mended_or_named(
    first: First, workspace: Workspace, tmp_path: Path, table: str, old: str, new: str
) -> None:
    statement = f"UPDATE {table} SET document = replace(document, ?, ?)"
    with closing(sqlite3.connect(workspace.root / "workspace.db")) as connection:
        [(document,)] = connection.execute(f"SELECT document FROM {table}").fetchall()
    assert old in document
    change(workspace, statement, old, new)
    if table == "locks":
        with pytest.raises(RequirementsError, match="--relock"):
            first[0].create(workspace)
        first[0].create(workspace, relock=True)
    same_again(first, workspace, tmp_path)


@pytest.mark.parametrize(
    "change_to",
    [
        "digest = (SELECT b.digest FROM built_layers b WHERE b.key <> built_layers.key)",
        "diff_id = digest",
        "size_bytes = size_bytes + 1",
        "media_type = 'application/vnd.oci.image.layer.v1.tar'",
        "digest = 'nonsense'",
        "digest = '../../../etc/passwd'",
    ],
)
def test_a_remembered_layer_that_was_changed_is_built_again(
    first: First, workspace: Workspace, tmp_path: Path, change_to: str
) -> None:
    assert change(workspace, f"UPDATE built_layers SET {change_to}") == 2
    same_again(first, workspace, tmp_path)


def test_two_remembered_layers_that_were_exchanged_are_built_again(
    first: First, workspace: Workspace, tmp_path: Path
) -> None:
    """All of each row is right but for the key that it is under."""
    with closing(sqlite3.connect(workspace.root / "workspace.db")) as connection, connection:
        one, other = connection.execute("SELECT * FROM built_layers").fetchall()
        connection.execute("DELETE FROM built_layers")
        for key, row in ((one[0], other), (other[0], one)):
            connection.execute(
                "INSERT INTO built_layers VALUES (?, ?, ?, ?, ?, ?)", (key, *row[1:])
            )
    same_again(first, workspace, tmp_path)


@pytest.mark.parametrize(
    "change_to", ["size_bytes = size_bytes - 1", "digest = 'nonsense'", f"digest = '{GONE}'"]
)
def test_a_remembered_model_layer_that_was_changed_is_written_again(
    first: First, workspace: Workspace, tmp_path: Path, change_to: str
) -> None:
    assert change(workspace, f"UPDATE model_layers SET {change_to}") == 1
    same_again(first, workspace, tmp_path)


def test_a_damaged_model_is_named_and_no_image_is_made_of_it(
    first: First, workspace: Workspace
) -> None:
    [model] = [layer.digest for layer in first[2].details.layers if layer.kind == "model"]
    file = workspace.models.get("m").files[0].digest
    blob_path(workspace, model).unlink()
    damage(blob_path(workspace, file), "flipped")
    with pytest.raises(RegistryError, match=file):
        first[0].create(workspace)
    assert workspace.images.get("i").state == "failed"
    workspace.models.register(first[0].model, name="m")  # mends it
    assert first[0].create(workspace, models=["m:1"]).state == "succeeded"


def spoil_link(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")


def spoil_folder_link(folder: Path) -> None:
    (folder / "link").symlink_to("/etc", target_is_directory=True)


def spoil_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def spoil_whiteout(folder: Path) -> None:
    (folder / ".wh.score.py").touch()


def spoil_opaque(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/.wh..wh..opq").touch()


def spoil_newline(folder: Path) -> None:
    (folder / "a\nb").touch()


def spoil_bytes(folder: Path) -> None:
    os.close(os.open(os.path.join(os.fsencode(folder), b"\xff"), os.O_CREAT))


def spoil_server(folder: Path) -> None:
    (folder / "scoring").mkdir()
    (folder / "scoring/__init__.py").touch()


SPOILS = [
    spoil_link, spoil_folder_link, spoil_pipe, spoil_whiteout, spoil_opaque, spoil_newline,
    spoil_bytes,
]  # fmt: skip


@pytest.mark.parametrize("spoil", [*SPOILS, spoil_server])
def test_a_hostile_source_is_refused_before_anything_is_recorded(
    first: First, workspace: Workspace, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "score.py").write_text(SCRIPT)
    spoil(source)
    there = blobs(workspace)
    with pytest.raises(InvalidSourceError) as caught:
        first[0].create(workspace, script=source / "score.py", source=source)
    assert str(caught.value).isprintable()
    assert [image.version for image in workspace.images.list()] == [1]
    assert blobs(workspace) == there
    assert_no_leftovers(workspace)


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_hostile_model_is_refused_before_an_image_could_have_it(
    workspace: Workspace, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"w")
    spoil(folder)
    with pytest.raises(InvalidSourceError):
        workspace.models.register(folder, name="bad")
    with pytest.raises(NotFoundError):
        workspace.models.get("bad")
    assert_no_leftovers(workspace)


@pytest.mark.parametrize("becomes", ["longer", "shorter", "link", "pipe", "gone", "folder"])
def test_a_source_that_changes_during_the_build_fails_it(
    first: First, workspace: Workspace, tmp_path: Path, becomes: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "score.py").write_text(SCRIPT)
    data = source / "data.bin"
    data.write_bytes(b"d" * 1000)

    def exchange(activity: Activity) -> None:
        if activity.phase != "Packing" or not activity.is_running:
            return
        if becomes in ("longer", "shorter"):
            data.write_bytes(b"e" * (1001 if becomes == "longer" else 999))
            return
        data.unlink(missing_ok=True) if not data.is_dir() else data.rmdir()
        if becomes == "link":
            data.symlink_to("/etc/passwd")
        elif becomes == "pipe":
            os.mkfifo(data)
        elif becomes == "folder":
            data.mkdir()

    there = blobs(workspace)
    with pytest.raises(InvalidSourceError, match=r"data\.bin"):
        first[0].create(workspace, script=source / "score.py", source=source, on_change=exchange)
    assert workspace.images.get("i").state == "failed"
    assert workspace.activities.list()[0].state == "failed"
    assert blobs(workspace) == there
    assert_no_leftovers(workspace)
