"""The documents that clients ask for: about the server, a model, the repository; and errors.
As values for a JSON writer. Free dimensions are -1, as everywhere in the protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scoring.engines import PLATFORM
from scoring.oip.datatypes import datatype_of
from scoring.signature import Signature, TensorSpec

SERVER_NAME = "inferry"
"""What is told when nothing else is set. Some clients look for ``triton``."""
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)
_TYPES = {"BYTES": "TYPE_STRING"}


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version of a model in the repository; ``reason`` says why it is not ready."""

    name: str
    version: str
    ready: bool
    reason: str = ""


def server_metadata(version: str, name: str = SERVER_NAME) -> dict[str, Any]:
    """GET /v2. ``version`` is the server's."""
    return {"name": name, "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(
    name: str, versions: Sequence[str], signature: Signature, platform: str = PLATFORM
) -> dict[str, Any]:
    """GET /v2/models/M. Inputs that may be left out are listed after those that may not."""
    inputs = (*signature.inputs, *signature.optional_inputs)
    return {
        "name": name,
        "versions": list(versions),
        "platform": platform,
        "inputs": [_tensor(spec) for spec in inputs],
        "outputs": [_tensor(spec) for spec in signature.outputs],
    }


def model_config(
    name: str,
    versions: Sequence[str],
    signature: Signature,
    *,
    max_batch_size: int = 0,
    filename: str = "model.onnx",
    platform: str = PLATFORM,
) -> dict[str, Any]:
    """GET /v2/models/M/config, Triton's. ``max_batch_size`` 0 says that the server does not batch:
    ``dims`` are whole shapes then. Otherwise the first dimension is the batch and is left out; 0 is
    told anyway where an input or output has no free first dimension."""
    specs = (*signature.inputs, *signature.optional_inputs, *signature.outputs)
    batches = max_batch_size if all(_has_batch(spec) for spec in specs) else 0
    config: dict[str, Any] = {
        "name": name,
        "platform": platform,
        "backend": platform.partition("_")[0],
        "version_policy": {"specific": {"versions": [int(v) for v in versions if v.isdecimal()]}},
        "max_batch_size": batches,
        "input": [
            *(_config_tensor(spec, batches) for spec in signature.inputs),
            *(
                {**_config_tensor(spec, batches), "optional": True}
                for spec in signature.optional_inputs
            ),
        ],
        "output": [_config_tensor(spec, batches) for spec in signature.outputs],
        "default_model_filename": filename,
    }
    if batches:
        config["dynamic_batching"] = {}
    return config


def repository_index(entries: Iterable[IndexEntry], *, only_ready: bool) -> list[dict[str, str]]:
    """POST /v2/repository/index; the request's ``ready`` is ``only_ready``."""
    return [
        {
            "name": entry.name,
            "version": entry.version,
            "state": "READY" if entry.ready else "UNAVAILABLE",
            "reason": entry.reason,
        }
        for entry in entries
        if entry.ready or not only_ready
    ]


def error_document(text: str) -> dict[str, str]:
    """The body of every answer that is no 200."""
    return {"error": text}


def live_document(*, is_live: bool) -> dict[str, bool]:
    """GET /v2/health/live. Triton sends no body; KServe's client reads this one."""
    return {"live": is_live}


def ready_document(*, is_ready: bool) -> dict[str, bool]:
    """GET /v2/health/ready."""
    return {"ready": is_ready}


def model_ready_document(name: str, *, is_ready: bool) -> dict[str, Any]:
    """GET /v2/models/M/ready."""
    return {"name": name, "ready": is_ready}


def unknown_model(name: str, version: str = "") -> str:
    """Why a model is not found; clients look for these words of Triton's."""
    which = f" version {version}" if version else ""
    return f"Request for unknown model: '{name[:100]}'{which[:40]} is not found"


def failed_to_load(name: str, reason: str) -> str:
    """Why a model cannot be loaded; clients look for these words of Triton's."""
    return f"failed to load '{name[:100]}', {reason}"


def not_offered(why: str) -> str:
    """What to say of Ask.NOT_OFFERED (HTTP: 501)."""
    return f"not offered by this server: {why}"


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": datatype_of(spec), "shape": _dims(spec)}


def _config_tensor(spec: TensorSpec, batches: int) -> dict[str, Any]:
    datatype = datatype_of(spec)
    dims = _dims(spec)
    return {
        "name": spec.name,
        "data_type": _TYPES.get(datatype, f"TYPE_{datatype}"),
        "dims": dims[1:] if batches else dims,
    }


def _dims(spec: TensorSpec) -> list[int]:
    """-1 for each free dimension, and alone for a shape that nobody knows."""
    if spec.shape is None:
        return [-1]
    return [dim if isinstance(dim, int) else -1 for dim in spec.shape]


def _has_batch(spec: TensorSpec) -> bool:
    return spec.shape is not None and spec.shape != () and not isinstance(spec.shape[0], int)
