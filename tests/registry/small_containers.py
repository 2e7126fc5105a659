"""What containers are made of in a fraction of a second and without a network: a base of a few
files, and a wheelhouse with a small wheel of everything that the server asks for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import Image, Workspace
from registry.dependencies import server_requirements
from registry.dependencies.standards import parse_requirement
from tests.registry.base import samples
from tests.registry.dependencies.wheel_maker import make_wheel
from tests.registry.store_check import blob_path, contents, manifest, plain

SCRIPT = "def init(): ...\ndef run(data): return data\n"
VERSION = "99.0"
BASE_BYTES = 3_000_000


@dataclass(frozen=True, slots=True)
class Parts:
    """A folder with all that ``create`` needs; as a string it is the folder."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    @property
    def base(self) -> Path:
        """A root file system like Debian's."""
        return self.root / "base.tar"

    @property
    def model(self) -> Path:
        """The weights."""
        return self.root / "weights.bin"

    @property
    def script(self) -> Path:
        """The scoring script."""
        return self.root / "score.py"

    @property
    def wheelhouse(self) -> Path:
        """All the wheels there are."""
        return self.root / "wheelhouse"

    def workspace(self, root: Path) -> Workspace:
        """A new one with the model, which makes its images from the base."""
        workspace = Workspace.init(root, base=str(self.base))
        workspace.models.register(self.model, name="m")
        return workspace

    def create(self, workspace: Workspace, name: str = "i", **changed: Any) -> Image:
        """A container of all parts."""
        given: dict[str, Any] = {
            "models": ["m"],
            "script": self.script,
            "requirements": self.root / "requirements.txt",
            "wheelhouse": self.wheelhouse,
            "platform": "linux/amd64",
            "proof": False,
        }
        return workspace.images.create(name, **(given | changed))


def make_parts(root: Path, *, random_bytes: int = 0) -> Parts:
    """All parts, in the new folder ``root``; base, model and each wheel have so many bytes that do
    not compress."""
    parts = Parts(root)
    root.mkdir(parents=True)
    filling = samples.entry("./usr/share/filling", os.urandom(random_bytes) + bytes(BASE_BYTES))
    parts.base.write_bytes(samples.tar(*samples.debian(), filling))
    parts.model.write_bytes(b"w" * 200_000 + os.urandom(random_bytes))
    parts.script.write_text(SCRIPT)
    (root / "requirements.txt").write_text("demo\n")
    needed = server_requirements(has_script=True, has_onnx=True)
    for name in ["demo", *(parse_requirement(text).name for text in needed)]:
        module = name.replace("-", "_")
        files = {
            f"{module}/__init__.py": b"from . import part\n",
            f"{module}/part.py": f"NAME = '{name}'\n".encode() + b"x = 1\n" * 500,
            f"{module}/data.bin": name.encode() * 10_000 + os.urandom(random_bytes),
        }
        make_wheel(parts.wheelhouse, module, VERSION, files)
    return parts


def assert_complete(workspace: Workspace, image: Image, folder: Path) -> None:
    """All of the image is there, is what its digests say, and its bundle can be unpacked as the new
    folder ``folder``."""
    assert (image.state, image.cause) == ("succeeded", None)
    assert image.digest is not None
    document = manifest(workspace, image.digest)
    config = manifest(workspace, document["config"]["digest"])
    assert len(config["rootfs"]["diff_ids"]) == len(document["layers"])
    for layer, diff_id in zip(document["layers"], config["rootfs"]["diff_ids"], strict=True):
        data = blob_path(workspace, layer["digest"]).read_bytes()
        assert (samples.digest(data), len(data)) == (layer["digest"], layer["size"])
        assert layer["mediaType"].endswith("gzip") == (data[:2] == b"\x1f\x8b")
        assert samples.digest(plain(data)) == diff_id
    assert [layer.digest for layer in image.details.layers] == [
        layer["digest"] for layer in document["layers"]
    ]
    unpacked = contents(workspace.images.unpack(image.reference, folder))
    assert unpacked["code/score.py"].startswith(b"def init")
    assert any(path.startswith("models/m/") for path in unpacked)
