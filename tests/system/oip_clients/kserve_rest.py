"""kserve.InferenceRESTClient."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import kserve  # type: ignore[import-not-found]
import numpy as np
from kserve.protocol.infer_type import RequestedOutput  # type: ignore[import-not-found]

from tests.system.oip_clients.cases import Servers, main
from tests.system.oip_clients.values import VALUES, Array, X, same

FINITE_ROWS = slice(0, 1)
"""Its JSON writer turns NaN into null."""


def _client() -> Any:
    return kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", retries=0))


def _input(name: str, array: Array, datatype: str, *, binary: bool) -> Any:
    tensor = kserve.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def _request(model: str, inputs: list[Any], **more: Any) -> Any:
    return kserve.InferRequest(model_name=model, infer_inputs=inputs, **more)


async def case_health(servers: Servers) -> None:
    url = f"http://{servers.doubling}"
    client = _client()
    assert await client.is_server_live(url) is True
    assert await client.is_server_ready(url) is True
    assert await client.is_model_ready(url, "doubling") is True
    assert await client.is_model_ready(url, "no such model") is False
    await client.close()


async def case_infer(servers: Servers) -> None:
    client = _client()
    for binary in (True, False):
        for binary_output in (True, False):
            request = _request(
                "doubling",
                [_input("x", X, "FP32", binary=binary)],
                request_id="42",
                parameters={"binary_data_output": binary_output},
            )
            answer = await client.infer(f"http://{servers.doubling}", request, "doubling")
            assert answer.id == "42"
            assert answer.model_name == "doubling"
            same(answer.outputs[0].as_numpy(), 2 * X)
    await client.close()


async def case_a_plain_dictionary(servers: Servers) -> None:
    client = _client()
    data = {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": X.tolist()}]}
    answer = await client.infer(f"http://{servers.doubling}", data, "doubling")
    same(answer.outputs[0].as_numpy(), 2 * X)
    await client.close()


async def case_every_datatype_in_binary(servers: Servers) -> None:
    client = _client()
    request = _request(
        "identity",
        [_input(f"in_{name}", array, name, binary=True) for name, array in VALUES.items()],
        parameters={"binary_data_output": True},
    )
    answer = await client.infer(f"http://{servers.identity}", request, "identity")
    assert len(answer.outputs) == len(VALUES)
    for output in answer.outputs:
        same(output.as_numpy(), VALUES[output.name.removeprefix("out_")])
    await client.close()


async def case_every_datatype_in_json(servers: Servers) -> None:
    client = _client()
    values = {name: array[FINITE_ROWS] for name, array in VALUES.items()}
    request = _request(
        "identity",
        # It refuses to send FP16 as JSON.
        [_input(f"in_{n}", array, n, binary=n == "FP16") for n, array in values.items()],
        request_outputs=[RequestedOutput(f"out_{name}") for name in values],
    )
    answer = await client.infer(f"http://{servers.identity}", request, "identity")
    assert len(answer.outputs) == len(values)
    for output in answer.outputs:
        same(output.as_numpy(), values[output.name.removeprefix("out_")])
    await client.close()


async def case_many_at_once(servers: Servers) -> None:
    client = _client()
    scaled = [X * np.float32(factor) for factor in range(50)]
    answers = await asyncio.gather(
        *(
            client.infer(
                f"http://{servers.doubling}",
                _request("doubling", [_input("x", x, "FP32", binary=True)]),
                "doubling",
            )
            for x in scaled
        )
    )
    for x, answer in zip(scaled, answers, strict=True):
        same(answer.outputs[0].as_numpy(), 2 * x)
    await client.close()


async def case_a_refusal(servers: Servers) -> None:
    client = _client()
    request = _request("doubling", [_input("x", X[:, :2], "FP32", binary=True)])
    caught = None
    try:
        await client.infer(f"http://{servers.doubling}", request, "doubling")
    except httpx.HTTPStatusError as error:
        caught = error
    assert caught is not None, "not refused"
    assert caught.response.status_code == 400, caught
    assert "got FP32 [2,2]" in str(caught), caught
    await client.close()


if __name__ == "__main__":
    main(globals())
