"""A float model and some of its inputs to int8: onnxruntime's `quantize_static`, and what the
engine needs beyond that.

Before, the model is prepared (see preparation). Weights have 7 bits by default
(reduce_range): kernels of CPUs without VNNI saturate with 8, so only then does onnxruntime agree.
Scales are harmonised afterwards (see scales).
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from fpga.compiler.admission import admit
from fpga.compiler.batches import batch_of, batches
from fpga.compiler.onnx_file import OnnxFile
from fpga.compiler.preparation import prepared
from fpga.compiler.scales import fuse_limits, harmonise, tame_biases
from fpga.compiler.shapes import input_sizes
from fpga.errors import ModelError

Array = Any
_PATH = re.compile(r"/\S*/(\S+)")
"""A place on this machine, which is nobody's business; its last part may help."""


ERRORS_ONLY = 3
MOST_NODES = 1000
"""The time of onnxruntime's quantiser grows with their square."""
_EXTRA = {
    # Pools and reshapes of what is not quantised, as the input is not, are so too.
    "ForceQuantizeNoInputCheck": True,
    # It leaves Relu and Clip to the range of int8. But that always has 0 in it, and grows where
    # scales are harmonised: a Clip from 0.1 on, or up to 6, would be none.
    "QDQKeepRemovableActivations": True,
}


def quantise(
    model: onnx.ModelProto, calibration: Array, *, reduce_range: bool = True
) -> onnx.ModelProto:
    """A quantised model (QuantizeLinear, DequantizeLinear) from a float one.

    calibration: real inputs [rows, ...], a hundred or more. Raises ModelError.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    calibration = np.asarray(calibration, np.float32)
    if len(calibration) < 1 or not np.isfinite(calibration).all():
        raise ModelError("calibration needs inputs without nan or infinity")
    input_sizes(OnnxFile(model))
    admit(model)
    with _reported():
        plain = prepared(_checked(model))
        if len(plain.graph.node) > MOST_NODES:
            raise ModelError(
                f"{len(plain.graph.node)} operators; {MOST_NODES} at most: leave out what computes"
                " nothing"
            )
        made = fuse_limits(_quantised(plain, calibration, reduce_range))
        return harmonise(tame_biases(made))


def _quantised(model: onnx.ModelProto, rows: Array, reduce_range: bool) -> onnx.ModelProto:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    name, size = model.graph.input[0].name, batch_of(model)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = batches(rows, size)

        def get_next(self) -> dict[str, Array] | None:
            found = next(self._batches, None)
            return None if found is None else {name: found[0]}

    with tempfile.TemporaryDirectory(prefix="inferry-quantise-") as folder:
        source, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            str(source), str(made), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            reduce_range=reduce_range, activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options=_EXTRA,
        )  # fmt: skip
        return onnx.load(made)


@contextmanager
def _reported() -> Iterator[None]:
    """onnxruntime's errors in a line, and its advice not at all."""
    import onnxruntime as ort

    ort.set_default_logger_severity(ERRORS_ONLY)
    quiet = logging.getLogger().level
    logging.getLogger().setLevel(logging.CRITICAL)  # it advises, and prints tracebacks
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        reason = _PATH.sub(r"\1", lines[0])[:200]
        raise ModelError(
            f"onnxruntime cannot quantise the model: {type(error).__name__}: {reason}"
        ) from None
    finally:
        logging.getLogger().setLevel(quiet)


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in model.graph.initializer:
        if (
            tensor.data_type == onnx.TensorProto.FLOAT
            and not np.isfinite(numpy_helper.to_array(tensor)).all()
        ):
            raise ModelError(f"the weights {tensor.name} hold nan or infinity")
    return model
