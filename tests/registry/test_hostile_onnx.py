"""ONNX files: what they say is read, and what they must not say is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import FunctionProto, ModelProto, TensorProto, helper

from registry import Workspace
from registry.errors import InvalidOnnxError
from registry.onnx_file import read_signature
from tests.registry.onnx_files import adder, external_tensor, save, with_external_data
from tests.registry.store_check import assert_clean


def _refused(workspace: Workspace, path: Path, reason: str) -> None:
    with pytest.raises(InvalidOnnxError, match=reason) as caught:
        workspace.models.register(path, name="m")
    assert "\n" not in str(caught.value)
    assert workspace.models.list() == []
    assert_clean(workspace)


def test_external_data_without_a_location_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    out = helper.make_tensor_value_info("w", TensorProto.FLOAT, [3])
    save(tmp_path / "m.onnx", helper.make_graph([], "g", [], [out], [tensor]))
    _refused(workspace, tmp_path / "m.onnx", "names no file")


@pytest.mark.parametrize("place", ["attribute", "attributes", "sparse", "function", "training"])
def test_external_data_is_seen_wherever_a_tensor_can_be(
    workspace: Workspace, tmp_path: Path, place: str
) -> None:
    path = adder(tmp_path / "m.onnx")
    model = ModelProto.FromString(path.read_bytes())
    tensor = external_tensor("../w.bin")
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    if place == "attribute":
        model.graph.node.append(node)
    elif place == "attributes":
        model.graph.node[0].attribute.add(name="t").tensors.append(tensor)
    elif place == "sparse":
        model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    elif place == "function":
        model.functions.append(FunctionProto(name="f", domain="d", output=["c"], node=[node]))
    else:
        model.training_info.add().initialization.node.append(node)
    path.write_bytes(model.SerializeToString())
    _refused(workspace, path, "outside of its own folder")


@pytest.mark.parametrize(
    ("old", "new"), [(b"batch", b"\xff\xfe\xff\xfe\xff"), (b"\x01x", b"\x01\xff")]
)
def test_text_that_is_not_utf8_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = adder(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(InvalidOnnxError):
        read_signature(path, "m.onnx", set())


def test_a_location_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = with_external_data(tmp_path / "m.onnx", "w.bin")
    path.write_bytes(path.read_bytes().replace(b"w.bin", b"\xff.bin"))
    with pytest.raises(InvalidOnnxError, match="UTF-8"):
        read_signature(path, "m.onnx", {"w.bin"})


def test_a_type_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    out = helper.make_tensor_value_info("y", 9999, [3])
    path = save(tmp_path / "m.onnx", helper.make_graph([], "g", [], [out]))
    with pytest.raises(InvalidOnnxError):
        read_signature(path, "m.onnx", set())


def test_a_file_over_two_gib_says_what_to_do(tmp_path: Path) -> None:
    with (tmp_path / "m.onnx").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(InvalidOnnxError, match="2 GiB"):
        read_signature(tmp_path / "m.onnx", "m.onnx", set())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_damage_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """One byte changed, or some cut out: an answer or an InvalidOnnxError, nothing else."""
    path = tmp_path / "m.onnx"
    good = bytearray(adder(path).read_bytes())
    at = data.draw(st.integers(0, len(good) - 1))
    until = data.draw(st.integers(at, len(good)))
    path.write_bytes(bytes(good[:at]) + data.draw(st.binary(max_size=4)) + bytes(good[until:]))
    with suppress(InvalidOnnxError):
        read_signature(path, "m.onnx", {"m.onnx"})


def test_every_kind_of_type_has_a_name(tmp_path: Path) -> None:
    tensor = helper.make_tensor_type_proto(TensorProto.DOUBLE, ["n", 2, None])
    values = [
        helper.make_tensor_value_info("text", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("brain", TensorProto.BFLOAT16, []),
        helper.make_tensor_value_info("any", TensorProto.BOOL, None),
        helper.make_value_info("list", helper.make_sequence_type_proto(tensor)),
        helper.make_value_info(
            "maybe", helper.make_optional_type_proto(helper.make_sequence_type_proto(tensor))
        ),
        helper.make_value_info("map", helper.make_map_type_proto(TensorProto.STRING, tensor)),
    ]
    path = save(tmp_path / "m.onnx", helper.make_graph([], "g", values, values[:1]))
    signature = read_signature(path, "m.onnx", set())
    assert [(value.dtype, value.shape) for value in signature.inputs] == [
        ("string", (None,)),
        ("bfloat16", ()),
        ("bool", None),
        ("sequence<float64>", ("n", 2, None)),
        ("optional<sequence<float64>>", ("n", 2, None)),
        ("map", None),
    ]
