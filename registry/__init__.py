"""What there is: workspace database, models, images and the content-addressed blob store.

from registry import Workspace

with Workspace.init(".inferry") as workspace:
    model = workspace.models.register("model.onnx", name="digits", tags={"task": "digits"})
    image = workspace.images.create("digits", models=[model.reference], script="score.py")
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.errors import (
        DamagedBlobError,
        InUseError,
        InvalidNameError,
        InvalidSourceError,
        NotFoundError,
        RegistryError,
    )
    from registry.records import Image, Model, PurgeReport
    from registry.workspace import Workspace

__all__ = [
    "DamagedBlobError",
    "Image",
    "InUseError",
    "InvalidNameError",
    "InvalidSourceError",
    "Model",
    "NotFoundError",
    "PurgeReport",
    "RegistryError",
    "Workspace",
]
_HOMES = {
    "Image": "records",
    "Model": "records",
    "PurgeReport": "records",
    "Workspace": "workspace",
}


def __getattr__(name: str) -> object:
    """Imported when asked for: a device uses parts of this package, and has 15 MB less to hold."""
    if name not in __all__:
        raise AttributeError(f"module 'registry' has no attribute {name!r}")
    return getattr(importlib.import_module(f"registry.{_HOMES.get(name, 'errors')}"), name)
