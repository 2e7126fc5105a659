"""An OCI layout of the client as the base of an image that is made by URL."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.errors import ImageFailedError, InvalidSourceError
from registry.tree import walk
from runtime.remote import RemoteWorkspace
from runtime.remote.transfers import Transfers
from tests.registry.base.samples import LayoutMaker, debian, tar
from tests.registry.small_containers import Parts, assert_complete, make_parts
from tests.runtime.remote.served import Served

Change = Callable[[list[dict[str, Any]]], object]
ZEROS = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, served: Served) -> Parts:
    made = make_parts(tmp_path_factory.mktemp("p") / "parts")
    served.local().models.register(made.model, name="m")
    return made


def layout_of(folder: Path) -> LayoutMaker:
    """With two images."""
    made = LayoutMaker(folder)
    made.image([tar(*debian(minor=10))], tag="ten")
    made.image([tar(*debian(minor=11))], tag="eleven")
    return made


def create(remote: RemoteWorkspace, parts: Parts, base: str) -> Any:
    return remote.images.create(
        "laid",
        models=["m"],
        script=parts.script,
        requirements=parts.root / "requirements.txt",
        wheelhouse=parts.wheelhouse,
        base=base,
        platform="linux/amd64",
        proof=False,
    )


def test_a_layout_is_uploaded_and_is_the_base(served: Served, parts: Parts, tmp_path: Path) -> None:
    layout = layout_of(tmp_path / "oci")
    (layout.root / "notes.txt").write_text("not of the layout")
    (layout.root / "elsewhere").symlink_to("/etc")
    with tarfile.open(tmp_path / "oci.tar", "w") as packed:
        packed.add(layout.root, ".")
    with served.remote() as remote:
        for number, base in enumerate((layout.root, tmp_path / "oci.tar")):
            made = create(remote, parts, f"oci:{base}:eleven")
            assert_complete(served.local(), made, tmp_path / f"bundle{number}")
            assert (made.details.python, made.details.base) == ("3.11", "uploaded oci:eleven")
            assert str(served.local().root) not in repr(made)
        with pytest.raises(ImageFailedError, match=r"base 'uploaded oci:nine'.*nine"):
            create(remote, parts, f"oci:{layout.root}:nine")
        with pytest.raises(ImageFailedError, match="base 'uploaded oci'"):
            create(remote, parts, f"oci:{layout.root}")  # which of the two?
        assert list((served.local().root / "making").iterdir()) == []


def test_a_tar_that_is_uploaded_is_called_by_its_name(served: Served, parts: Parts) -> None:
    with served.remote() as remote:
        made = create(remote, parts, str(parts.base))
    assert made.details.base == "uploaded base.tar"
    assert str(served.local().root) not in repr(made)


def test_a_blob_that_is_a_link_is_refused_here(
    served: Served, parts: Parts, tmp_path: Path
) -> None:
    layout = layout_of(tmp_path / "oci")
    blob = next((layout.root / "blobs" / "sha256").iterdir())
    blob.unlink()
    blob.symlink_to("/etc/passwd")
    with served.remote() as remote, pytest.raises(InvalidSourceError, match="symbolic link"):
        create(remote, parts, f"oci:{layout.root}:ten")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: files[-1].update(path="../../etc/x"), "no path of a file"),
        (lambda files: files[-1].update(path="etc/passwd"), "no file of an OCI image layout"),
        (lambda files: files[0].update(path="blobs/sha256/" + "0" * 64), "has other bytes"),
        (lambda files: files[0].update(digest=ZEROS), "has other bytes"),
        (lambda files: files[-1].update(digest=ZEROS), "was not uploaded"),
        (lambda files: files.append(files[0]), "one path"),
        (lambda files: files.pop(), "has the files"),
    ],
)
def test_what_is_no_layout_is_refused_in_a_line(
    served: Served, parts: Parts, tmp_path: Path, change: Change, words: str
) -> None:
    layout = layout_of(tmp_path / "oci")
    with served.remote() as remote:
        sent = Transfers(remote.client).send(walk(layout.root))
    files = [{"path": each.path, "digest": each.digest} for each in sent]
    change(files)
    said = _refused(served, {"base_layout": files, "base_tag": "ten"})
    assert words in said
    assert str(served.local().root) not in said


@pytest.mark.parametrize("tag", ["../../x", "a:b", "a/b", "", "x\n", "-a"])
def test_a_tag_leads_to_no_other_folder(
    served: Served, parts: Parts, tmp_path: Path, tag: str
) -> None:
    layout = layout_of(tmp_path / "oci")
    with served.remote() as remote:
        sent = Transfers(remote.client).send(walk(layout.root))
    files = [{"path": each.path, "digest": each.digest} for each in sent]
    assert "no tag" in _refused(served, {"base_layout": files, "base_tag": tag})
    assert "no tag" in _refused(served, {"base_tag": "ten"})
    assert "or uploaded" in _refused(served, {"base_layout": files, "base": "none"})


def _refused(served: Served, given: dict[str, Any]) -> str:
    url = f"{served.url}/api/v1/workspaces/default/images"
    answer = httpx.post(url, json={"name": "wrong", "models": ["m"], **given})
    assert answer.status_code == 400, answer.text
    said: str = json.loads(answer.text)["error"]["message"]
    assert "\n" not in said
    return said
