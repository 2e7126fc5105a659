"""tritonclient.http.aio, the asyncio client."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import tritonclient.http.aio as triton  # type: ignore[import-not-found]
from tritonclient.utils import InferenceServerException  # type: ignore[import-not-found]

from tests.system.oip_clients.cases import Servers, main
from tests.system.oip_clients.values import VALUES, Array, X, same


def _input(name: str, array: Array, datatype: str, *, binary: bool = True) -> Any:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


async def case_health_and_metadata(servers: Servers) -> None:
    async with triton.InferenceServerClient(servers.doubling) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("doubling")
        assert (await client.get_server_metadata())["name"] == "inferry"
        assert (await client.get_model_metadata("doubling"))["name"] == "doubling"
        assert (await client.get_model_config("doubling"))["name"] == "doubling"
        statistics = await client.get_inference_statistics("doubling")
        assert len(statistics["model_stats"]) == 1
        (entry,) = await client.get_model_repository_index()
        assert entry["name"] == "doubling"


async def case_infer_in_every_way(servers: Servers) -> None:
    async with triton.InferenceServerClient(servers.doubling) as client:
        for binary in (True, False):
            for coding in (None, "gzip", "deflate"):
                result = await client.infer(
                    "doubling",
                    [_input("x", X, "FP32", binary=binary)],
                    outputs=[triton.InferRequestedOutput("y", binary_data=binary)],
                    priority=2,
                    timeout=10_000_000,
                    request_compression_algorithm=coding,
                    response_compression_algorithm=coding,
                )
                same(result.as_numpy("y"), 2 * X)


async def case_large_answers_are_compressed(servers: Servers) -> None:
    array = np.zeros((20_000, 4), np.float32)
    async with triton.InferenceServerClient(servers.doubling) as client:
        for coding in ("gzip", "deflate"):
            result = await client.infer(
                "doubling", [_input("x", array, "FP32")], response_compression_algorithm=coding
            )
            same(result.as_numpy("y"), array)


async def case_every_datatype(servers: Servers) -> None:
    async with triton.InferenceServerClient(servers.identity) as client:
        inputs = [_input(f"in_{name}", array, name) for name, array in VALUES.items()]
        result = await client.infer("identity", inputs)
        for name, array in VALUES.items():
            same(result.as_numpy(f"out_{name}"), array)


async def case_many_at_once(servers: Servers) -> None:
    scaled = [X * np.float32(factor) for factor in range(200)]
    async with triton.InferenceServerClient(servers.doubling) as client:
        results = await asyncio.gather(
            *(client.infer("doubling", [_input("x", x, "FP32")]) for x in scaled)
        )
    for x, result in zip(scaled, results, strict=True):
        same(result.as_numpy("y"), 2 * x)


async def case_a_refusal(servers: Servers) -> None:
    async with triton.InferenceServerClient(servers.doubling) as client:
        caught = None
        try:
            await client.infer("doubling", [_input("x", X[:, :2], "FP32")])
        except InferenceServerException as error:
            caught = error
        assert caught is not None, "not refused"
        assert "got FP32 [2,2]" in caught.message(), caught


if __name__ == "__main__":
    main(globals())
