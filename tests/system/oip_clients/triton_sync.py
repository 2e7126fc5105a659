"""tritonclient.http, the synchronous client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tritonclient.http as triton  # type: ignore[import-not-found]
from tritonclient.utils import InferenceServerException  # type: ignore[import-not-found]

from tests.system.oip_clients.cases import Servers, main
from tests.system.oip_clients.values import BF16, VALUES, Array, X, same


@contextmanager
def _client(address: str, **options: Any) -> Iterator[Any]:
    client = triton.InferenceServerClient(address, **options)
    try:
        yield client
    finally:
        client.close()


def _input(name: str, array: Array, datatype: str, *, binary: bool = True) -> Any:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def _x(*, binary: bool = True) -> list[Any]:
    return [_input("x", X, "FP32", binary=binary)]


@contextmanager
def _refused(*words: str, status: str = "400") -> Iterator[None]:
    caught = None
    try:
        yield
    except InferenceServerException as error:
        caught = error
    assert caught is not None, "not refused"
    assert caught.status() == status, caught
    assert all(word in caught.message() for word in words), caught


def case_health(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("doubling")
        assert client.is_model_ready("doubling", "1")
        assert not client.is_model_ready("doubling", "7")
        assert not client.is_model_ready("no such model")


def case_query_parameters_are_ignored(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        parameters = {"a": ["1", "2"], "b c": "ü"}
        assert client.is_server_live(query_params=parameters)
        same(client.infer("doubling", _x(), query_params=parameters).as_numpy("y"), 2 * X)


def case_server_metadata(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        document = client.get_server_metadata()
        assert document["name"] == "inferry"
        assert document["version"]
        assert "binary_tensor_data" in document["extensions"]


def case_model_metadata(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        for version in ("", "1"):
            document = client.get_model_metadata("doubling", version)
            assert document["name"] == "doubling"
            assert document["versions"] == ["1"]
            assert document["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
            assert document["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]
    with _client(servers.identity) as client:
        document = client.get_model_metadata("identity")
        assert {tensor["datatype"] for tensor in document["inputs"]} == set(VALUES)


def case_model_config(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        config = client.get_model_config("doubling")
        assert config["name"] == "doubling"
        assert isinstance(config["max_batch_size"], int)
        dims = [4] if config["max_batch_size"] else [-1, 4]
        assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": dims}]


def case_infer(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        for binary in (True, False):
            for version in ("", "1"):
                result = client.infer("doubling", _x(binary=binary), version, request_id="42")
                same(result.as_numpy("y"), 2 * X)
                document = result.get_response()
                assert document["id"] == "42"
                assert document["model_name"] == "doubling"
                assert document["model_version"] == "1"
                assert result.as_numpy("no such output") is None


def case_outputs_as_asked(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        for binary in (True, False):
            outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
            result = client.infer("doubling", _x(), outputs=outputs)
            same(result.as_numpy("y"), 2 * X)
            assert ("data" in result.get_output("y")) != binary


def case_classification(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        for binary in (True, False):
            outputs = [triton.InferRequestedOutput("y", binary_data=binary, class_count=2)]
            result = client.infer("doubling", _x(), outputs=outputs).as_numpy("y")
            expected = [["8.000000:3", "6.000000:2"], ["200.000000:3", "1.000000:2"]]
            same(result, np.array(expected, dtype=object))


def case_every_datatype(servers: Servers) -> None:
    with _client(servers.identity) as client:
        for binary in (True, False):
            inputs = [
                _input(f"in_{name}", array, name, binary=binary) for name, array in VALUES.items()
            ]
            outputs = [
                triton.InferRequestedOutput(f"out_{name}", binary_data=binary) for name in VALUES
            ]
            result = client.infer("identity", inputs, outputs=outputs)
            for name, array in VALUES.items():
                same(result.as_numpy(f"out_{name}"), array)


def case_bfloat16(servers: Servers) -> None:
    with _client(servers.bfloat16) as client:
        result = client.infer("bfloat16", [_input("in_BF16", BF16, "BF16")])
        same(result.as_numpy("out_BF16"), BF16)
        in_json = [triton.InferRequestedOutput("out_BF16", binary_data=False)]
        with _refused("ask for it as binary data"):
            client.infer("bfloat16", [_input("in_BF16", BF16, "BF16")], outputs=in_json)


def case_no_rows(servers: Servers) -> None:
    with _client(servers.identity) as client:
        for binary in (True, False):
            inputs = [
                _input(f"in_{name}", array[:0], name, binary=binary)
                for name, array in VALUES.items()
            ]
            result = client.infer("identity", inputs)
            for name, array in VALUES.items():
                same(result.as_numpy(f"out_{name}"), array[:0])


def case_large_tensors(servers: Servers) -> None:
    array = np.linspace(-1e9, 1e9, 40_000, dtype=np.float32).reshape(-1, 4)
    with _client(servers.doubling) as client:
        for binary in (True, False):
            for coding in (None, "gzip", "deflate"):
                result = client.infer(
                    "doubling",
                    [_input("x", array, "FP32", binary=binary)],
                    outputs=[triton.InferRequestedOutput("y", binary_data=binary)],
                    request_compression_algorithm=coding,
                    response_compression_algorithm=coding,
                )
                same(result.as_numpy("y"), 2 * array)


def case_compression(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        for sent in (None, "gzip", "deflate"):
            for wanted in (None, "gzip", "deflate"):
                for binary in (True, False):
                    result = client.infer(
                        "doubling",
                        _x(binary=binary),
                        request_compression_algorithm=sent,
                        response_compression_algorithm=wanted,
                    )
                    same(result.as_numpy("y"), 2 * X)


def case_many_at_once(servers: Servers) -> None:
    with _client(servers.doubling, concurrency=8) as client:
        scaled = [X * np.float32(factor) for factor in range(64)]
        waiting = [client.async_infer("doubling", [_input("x", x, "FP32")]) for x in scaled]
        for x, request in zip(scaled, waiting, strict=True):
            same(request.get_result().as_numpy("y"), 2 * x)


def case_priority_timeout_and_more(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        result = client.infer(
            "doubling",
            _x(),
            priority=1,
            timeout=10_000_000,
            sequence_id=7,
            sequence_start=True,
            parameters={"mine": "kept", "number": 3},
        )
        same(result.as_numpy("y"), 2 * X)


def case_a_timeout_that_cannot_be_met(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        began = time.monotonic()
        try:
            same(client.infer("doubling", _x(), timeout=1).as_numpy("y"), 2 * X)
        except InferenceServerException as error:
            status = error.status()
            assert status in ("429", "503", "504"), status
        assert time.monotonic() - began < 20


def case_index(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        (entry,) = client.get_model_repository_index()
        assert (entry["name"], entry["version"], entry["state"]) == ("doubling", "1", "READY")


def case_statistics(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        before = _counts(client)
        client.infer("doubling", _x())
        with _refused():
            client.infer("doubling", [_input("x", X[:, :3], "FP32")])
        # Other processes of the server tell their counts now and then.
        deadline = time.monotonic() + 45
        while (after := _counts(client)) != (before[0] + 1, before[1] + 2, before[2] + 1):
            assert time.monotonic() < deadline, (before, after)
            time.sleep(0.05)
        assert len(client.get_inference_statistics()["model_stats"]) == 1


def _counts(client: Any) -> tuple[int, int, int]:
    (entry,) = client.get_inference_statistics("doubling", "1")["model_stats"]
    assert (entry["name"], entry["version"]) == ("doubling", "1")
    stats = entry["inference_stats"]
    for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        assert set(stats[name]) == {"count", "ns"}
        assert (stats[name]["count"] > 0) or stats[name]["ns"] == 0
    runs = sum(batch["compute_infer"]["count"] for batch in entry["batch_stats"])
    assert runs == entry["execution_count"]
    return stats["success"]["count"], entry["inference_count"], stats["fail"]["count"]


def case_refusals(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        with _refused("input 'x' expects FP32 [N,4], got FP32 [2,3]"):
            client.infer("doubling", [_input("x", X[:, :3], "FP32")])
        with _refused("input 'x' expects FP32 [N,4], got FP64 [2,4]"):
            client.infer("doubling", [_input("x", X.astype(np.float64), "FP64")])
        with _refused("there is no input 'z'"):
            client.infer("doubling", [_input("z", X, "FP32")])
        with _refused("unexpected inference output 'z' for model 'doubling'"):
            client.infer("doubling", _x(), outputs=[triton.InferRequestedOutput("z")])
        with _refused("Request for unknown model", status="404"):
            client.infer("no such model", _x())
        with _refused("Request for unknown model", status="404"):
            client.infer("doubling", _x(), "7")
        with _refused("Request for unknown model", status="404"):
            client.get_model_metadata("no such model")
        same(client.infer("doubling", _x()).as_numpy("y"), 2 * X)


def case_what_is_not_offered(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        with _refused("shared memory", status="501"):
            client.get_system_shared_memory_status()
        with _refused("shared memory", status="501"):
            client.register_system_shared_memory("r", "/r", 64)
        with _refused("shared memory", status="501"):
            client.unregister_cuda_shared_memory("r")
        with _refused(status="501"):
            client.get_log_settings()
        with _refused(status="501"):
            client.update_trace_settings("doubling", {"trace_level": ["OFF"]})
        tensor = triton.InferInput("x", [2, 4], "FP32")
        tensor.set_shared_memory("r", 32)
        with _refused("shared memory"):
            client.infer("doubling", [tensor])


def case_unload_and_load(servers: Servers) -> None:
    with _client(servers.doubling) as client:
        client.unload_model("doubling")
        assert not client.is_model_ready("doubling")
        (entry,) = client.get_model_repository_index()
        assert entry["state"] == "UNAVAILABLE"
        with _refused():
            client.infer("doubling", _x())
        client.load_model("doubling")
        assert client.is_model_ready("doubling")
        same(client.infer("doubling", _x()).as_numpy("y"), 2 * X)
        client.load_model("doubling")  # again: reload
        same(client.infer("doubling", _x()).as_numpy("y"), 2 * X)
        with _refused(status="404"):
            client.load_model("no such model")


if __name__ == "__main__":
    main(globals())
