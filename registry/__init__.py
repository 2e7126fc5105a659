"""What there is: workspace database, models, images and the content-addressed blob store.

from registry import Workspace

with Workspace.init(".inferry") as workspace:
    model = workspace.models.register("model.onnx", name="digits", tags={"task": "digits"})
    image = workspace.images.create("digits", models=[model.reference], script="score.py")
"""

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
