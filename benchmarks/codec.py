"""What reading and writing JSON tensors costs, beside the usual ways. No server, no model.

    python -m benchmarks.codec          # microseconds per request, best of several runs

Requests: the digits model's (one row of 64 floats; 32 of them ran as one batch), and the text angle
classifier's (1x3x48x192 floats, 0.25 MB of JSON).
"""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from scoring.json_codec import numbers as json_numbers
from scoring.signature import Signature, TensorSpec
from scoring.tensors import Decoder, encode_each, encode_response

RUN_S = 0.1
RUNS = 7
BATCH = 32


def main() -> None:
    """Measures and prints the table."""
    random = np.random.default_rng(0)
    print(f"{'us per request':28} {'json':>9} {'orjson':>9} {'inferry':>9} {'no simdjson':>12}")
    digit = random.integers(0, 17, (1, 64)).astype(np.float32)
    _print_decode("decode 1x64", digit, ("N", 64))
    _print_decode("decode 32x64", digit.repeat(32, axis=0), ("N", 64))
    _print_decode("decode 1x3x48x192", random.random((1, 3, 48, 192)).round(5), ("N", 3, 48, 192))
    outputs: dict[str, NDArray[Any]] = {
        "label": random.integers(0, 10, BATCH),
        "probabilities": random.random((BATCH, 10), dtype=np.float32),
    }
    _print_encode(outputs)


def _print_decode(title: str, array: NDArray[Any], shape: tuple[str | int, ...]) -> None:
    body = json.dumps({"data": array.tolist()}).encode()
    decoder = Decoder(Signature((TensorSpec("x", "float32", shape),), ()))
    _print(
        title,
        lambda: np.array(json.loads(body)["data"], np.float32),
        lambda: np.array(orjson.loads(body)["data"], np.float32),
        lambda: decoder.decode(body),
        lambda: _without_simdjson(lambda: decoder.decode(body)),
    )


def _print_encode(outputs: dict[str, NDArray[Any]]) -> None:
    rows = [{name: a[i : i + 1] for name, a in outputs.items()} for i in range(BATCH)]
    option = orjson.OPT_SERIALIZE_NUMPY
    _print(
        "encode 1+1x10",
        lambda: json.dumps({name: a.tolist() for name, a in rows[0].items()}).encode(),
        lambda: orjson.dumps(rows[0], option=option),
        lambda: encode_response(rows[0]),
    )
    _print(
        f"encode {BATCH} rows, each",
        lambda: [json.dumps({n: a.tolist() for n, a in row.items()}).encode() for row in rows],
        lambda: [orjson.dumps(row, option=option) for row in rows],
        lambda: encode_each(outputs, [1] * BATCH),
        per=BATCH,
    )


def _print(title: str, *ways: Callable[[], object], per: int = 1) -> None:
    times = " ".join(f"{_best_us(way) / per:9.2f}" for way in ways)
    print(f"{title:28} {times}")


def _best_us(way: Callable[[], object]) -> float:
    timer = timeit.Timer(way)
    count = max(1, round(RUN_S / max(min(timer.repeat(3, 1)), 1e-7)))
    return min(timer.repeat(RUNS, count)) / count * 1e6


def _without_simdjson(way: Callable[[], object]) -> object:
    has, json_numbers.HAS_SIMDJSON = json_numbers.HAS_SIMDJSON, False
    try:
        return way()
    finally:
        json_numbers.HAS_SIMDJSON = has


if __name__ == "__main__":
    main()
