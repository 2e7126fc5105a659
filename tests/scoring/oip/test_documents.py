"""What clients are told."""

from __future__ import annotations

from scoring.oip.documents import (
    IndexEntry,
    error_document,
    failed_to_load,
    model_config,
    model_metadata,
    repository_index,
    server_metadata,
    unknown_model,
)
from scoring.signature import Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("N", 64)), TensorSpec("t", "string", (None, None))),
    (TensorSpec("y", "float16", ("N", 10)),),
    (TensorSpec("mask", "bool", ("N",)),),
)
ODD = Signature(
    (TensorSpec("x", "float8_e4m3fn", (2, 3)), TensorSpec("s", "int64", ("N",), is_sequence=True)),
    (TensorSpec("y", "complex64", None),),
)


def test_the_server() -> None:
    document = server_metadata("0.1", "triton")
    assert (document["name"], document["version"]) == ("triton", "0.1")
    assert {"binary_tensor_data", "statistics", "model_repository"} <= set(document["extensions"])
    assert server_metadata("0.1")["name"] == "inferry"


def test_a_model() -> None:
    assert model_metadata("m", ["1"], SIGNATURE) == {
        "name": "m",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 64]},
            {"name": "t", "datatype": "BYTES", "shape": [-1, -1]},
            {"name": "mask", "datatype": "BOOL", "shape": [-1]},
        ],
        "outputs": [{"name": "y", "datatype": "FP16", "shape": [-1, 10]}],
    }


def test_what_the_protocol_has_no_name_for_is_told_all_the_same() -> None:
    document = model_metadata("m", ["1"], ODD)
    tensors = [*document["inputs"], *document["outputs"]]
    assert [tensor["datatype"] for tensor in tensors] == [
        "FLOAT8_E4M3FN",
        "LIST_INT64",
        "COMPLEX64",
    ]
    assert tensors[2]["shape"] == [-1]


def test_the_configuration_of_a_model_that_batches() -> None:
    config = model_config("m", ["3"], SIGNATURE, max_batch_size=8, filename="digits.onnx")
    assert config["max_batch_size"] == 8
    assert config["input"] == [
        {"name": "x", "data_type": "TYPE_FP32", "dims": [64]},
        {"name": "t", "data_type": "TYPE_STRING", "dims": [-1]},
        {"name": "mask", "data_type": "TYPE_BOOL", "dims": [], "optional": True},
    ]
    assert config["output"] == [{"name": "y", "data_type": "TYPE_FP16", "dims": [10]}]
    assert config["version_policy"] == {"specific": {"versions": [3]}}
    assert config["backend"] == "onnxruntime"
    assert config["default_model_filename"] == "digits.onnx"
    assert "dynamic_batching" in config


def test_the_configuration_of_a_model_that_does_not() -> None:
    for config in (
        model_config("m", ["1"], SIGNATURE),
        model_config("m", ["1"], ODD, max_batch_size=8),
        model_config("m", ["1"], Signature((TensorSpec("x", "int8", ()),), ()), max_batch_size=8),
    ):
        assert config["max_batch_size"] == 0
        assert "dynamic_batching" not in config
    assert model_config("m", ["1"], SIGNATURE)["input"][0]["dims"] == [-1, 64]


def test_the_index() -> None:
    entries = [IndexEntry("a", "1", True), IndexEntry("b", "2", False, "unloaded")]
    assert repository_index(entries, only_ready=False) == [
        {"name": "a", "version": "1", "state": "READY", "reason": ""},
        {"name": "b", "version": "2", "state": "UNAVAILABLE", "reason": "unloaded"},
    ]
    assert len(repository_index(entries, only_ready=True)) == 1


def test_words_that_clients_look_for() -> None:
    assert error_document("x") == {"error": "x"}
    assert unknown_model("m", "2") == "Request for unknown model: 'm' version 2 is not found"
    assert failed_to_load("m", "no file").startswith("failed to load 'm'")
