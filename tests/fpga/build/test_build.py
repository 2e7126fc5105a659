"""The whole folder of an image from an ONNX file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from benchmarks.fpga import models
from fpga import build as building
from fpga import report as reports
from fpga.artifact import load
from fpga.board import designs
from fpga.build import SHAPES, Order, build, onnx_file
from fpga.compiler import reference
from fpga.compiler.compilation import compile_model
from fpga.compiler.graph import Graph
from fpga.design import Given
from fpga.errors import (
    BitstreamError,
    CapacityError,
    DataError,
    FpgaError,
    ModelError,
    ProgramError,
)
from fpga.isa.shape import SMALL
from tests.fpga.build import networks
from tests.fpga.build.bitstreams import vivado_bit, vivado_hwh


@pytest.fixture
def order(tmp_path: Path) -> Order:
    model = networks.write(tmp_path)
    return Order(model, tmp_path / "calibration.npz", tmp_path / "held_out.npz", lanes=8)


def test_a_float_model_becomes_a_whole_folder(order: Order, tmp_path: Path) -> None:
    said: list[str] = []
    report = build(order, tmp_path / "fpga", said.append)
    names = sorted(path.name for path in (tmp_path / "fpga").iterdir())
    assert names == ["design.bit", "design.hwh", "load.bin", "program.json", "report.json"]
    artifact = load(tmp_path / "fpga")
    design = designs.simulated(SMALL, "pynq-z2")
    assert (tmp_path / "fpga/design.bit").read_bytes() == design.bit
    assert artifact.build == design.build
    assert artifact.bitstream.provenance == "simulation"
    assert artifact.latency_cycles == report.latency_cycles
    assert reports.read(tmp_path / "fpga") == report
    assert (report.calibration, report.tried) == (networks.ROWS, building.TRIED)
    assert [layer.macs for layer in report.layers] == [72, 24]
    assert report.latency_us == report.latency_cycles / 100
    phases = ("Reading", "Quantising", "Proving", "Placing", "Counting", "Comparing", "Trying")
    assert [line.split()[0].rstrip(",") for line in said] == ["Note:", *phases]


def test_accuracy_is_told_where_there_are_labels(order: Order, tmp_path: Path) -> None:
    found = build(order, tmp_path / "a").accuracy
    assert found is not None
    assert found.rows == networks.ROWS
    assert found.int8_right is not None
    np.savez(tmp_path / "rows.npz", x=networks.inputs(7))
    found = build(replace(order, held_out=tmp_path / "rows.npz"), tmp_path / "b").accuracy
    assert found is not None
    assert (found.rows, found.int8_right) == (7, None)
    assert build(replace(order, held_out=None), tmp_path / "c").accuracy is None


def test_the_same_inputs_give_the_same_folder(order: Order, tmp_path: Path) -> None:
    for name in ("a", "b"):
        build(order, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_quantised_model_needs_no_calibration_and_takes_none(
    order: Order, tmp_path: Path
) -> None:
    quantised = compile_model(networks.tiny(), networks.inputs()).model
    onnx.save(quantised, tmp_path / "int8.onnx")
    plain = replace(order, source=tmp_path / "int8.onnx", calibration=None, held_out=None)
    report = build(plain, tmp_path / "a")
    assert (report.calibration, report.tried) == (0, building.TRIED)
    for wrong in (
        replace(plain, calibration=order.calibration),
        replace(plain, held_out=order.held_out),
    ):
        with pytest.raises(ModelError, match=r"int8\.onnx is quantised already"):
            build(wrong, tmp_path / "b")


def test_a_real_bitstream_goes_into_the_folder(order: Order, tmp_path: Path) -> None:
    (tmp_path / "d.bit").write_bytes(vivado_bit(user_id=designs.build_hash(SMALL)[:8]))
    (tmp_path / "d.hwh").write_bytes(vivado_hwh(50.0))
    real = Given(tmp_path / "d.bit", tmp_path / "d.hwh", "vivado")
    report = build(replace(order, bitstream=real), tmp_path / "fpga")
    assert report.hardware.provenance == "vivado"
    assert report.latency_us == report.latency_cycles / 50
    assert load(tmp_path / "fpga").bitstream.provenance == "vivado"
    with pytest.raises(BitstreamError, match="of the engine"):
        build(replace(order, bitstream=real, lanes=16), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_batches_are_bounded(order: Order, tmp_path: Path) -> None:
    report = build(replace(order, max_batch=5), tmp_path / "fpga")
    assert report.max_batch == load(tmp_path / "fpga").max_batch == 5
    assert report.cma_bytes < build(order, tmp_path / "more").cma_bytes


def test_the_end_of_a_model_is_left_to_the_host_when_that_is_allowed(
    order: Order, tmp_path: Path
) -> None:
    onnx.save(networks.tiny(softmax=True), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="Softmax"):
        build(order, tmp_path / "fpga")
    assert build(replace(order, is_tail_on_host=True), tmp_path / "fpga").tail == ("softmax",)


@pytest.mark.parametrize("lanes", SHAPES)
def test_every_engine_can_be_built_for(order: Order, tmp_path: Path, lanes: int) -> None:
    report = build(replace(order, lanes=lanes, held_out=None), tmp_path / "fpga")
    assert report.hardware.lanes == lanes == load(tmp_path / "fpga").shape.n


def test_an_engine_that_is_not_there_or_too_small_is_refused(order: Order, tmp_path: Path) -> None:
    with pytest.raises(CapacityError, match="8, 16, 32 lanes, not 12"):
        build(replace(order, lanes=12), tmp_path / "fpga")
    with pytest.raises(BitstreamError, match="there are"):
        build(replace(order, board="zcu104"), tmp_path / "fpga")
    net = models.Network("wide", (1, 40, 40))
    net.put("Flatten", net.conv("x", np.ones((4, 1, 3, 3))), axis=1)
    onnx.save(net.model(2), tmp_path / "model.onnx")
    np.savez(tmp_path / "calibration.npz", x=np.ones((3, 1, 40, 40), np.float32))
    with pytest.raises(CapacityError, match="the one of 16 is larger"):
        build(replace(order, held_out=None), tmp_path / "fpga")


def foreign() -> bytes:
    """An operator that nobody knows, in ONNX's own domain."""
    model = networks.tiny()
    model.graph.node[1].op_type = "Teleport"
    return bytes(model.SerializeToString())


def unsupported() -> bytes:
    """One that ONNX knows, and the engine does not."""
    model = networks.tiny()
    model.graph.node[1].op_type = "Tanh"
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"just some text\n", "model.onnx is no ONNX model"),
        (b"", "."),
        (b"\x08\x07" + b"\xff" * 200, "model.onnx is no ONNX model"),
        (foreign(), "Teleport"),
        (unsupported(), "Tanh"),
    ],
)
def test_what_is_no_model_is_refused_by_name(
    order: Order, tmp_path: Path, data: bytes, words: str
) -> None:
    order.source.write_bytes(data)
    with pytest.raises(FpgaError, match=words) as refusal:
        build(order, tmp_path / "fpga")
    assert "\n" not in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)
    assert not (tmp_path / "fpga").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.zeros((5, 13), np.float32), r"holds \[5, 13\]; the model takes \[N, 12\]"),
        (np.zeros((5, 3, 4), np.float32), r"the model takes \[N, 12\]"),
        (np.full((5, 12), np.nan, np.float32), "nan"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    order: Order, tmp_path: Path, rows: networks.Array, words: str
) -> None:
    np.savez(tmp_path / "wrong.npz", x=rows, y=np.zeros(5, int))
    for wrong in (
        replace(order, calibration=tmp_path / "wrong.npz"),
        replace(order, held_out=tmp_path / "wrong.npz"),
    ):
        with pytest.raises(DataError, match=words):
            build(wrong, tmp_path / "fpga")
    with pytest.raises(ModelError, match="needs calibration"):
        build(replace(order, calibration=None), tmp_path / "fpga")


def test_a_program_that_computes_something_else_is_never_written(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = reference.run

    def wrong(graph: Graph, values: networks.Array) -> dict[str, networks.Array]:
        found = dict(right(graph, values))
        found[graph.output] = found[graph.output].copy()
        found[graph.output][-1, -1] ^= 1
        return found

    monkeypatch.setattr(reference, "run", wrong)
    with pytest.raises(ModelError, match="defect of Inferry"):
        build(order, tmp_path / "fpga")
    assert not (tmp_path / "fpga").exists()


def test_a_name_of_any_length_is_cut_and_a_folder_that_no_board_reads_is_refused(
    order: Order, tmp_path: Path
) -> None:
    model = networks.tiny()
    model.graph.name = "n" * 5000
    onnx.save(model, order.source)
    report = build(order, tmp_path / "a")
    assert load(tmp_path / "a").name == report.name == "n" * 200
    model.graph.input[0].name = model.graph.node[0].input[0] = "i" * 5000
    onnx.save(model, order.source)
    with pytest.raises(ProgramError, match="no text"):
        build(order, tmp_path / "b")


def test_one_onnx_file_is_found_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has none"):
        onnx_file(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/m.onnx").write_bytes(b"")
    assert onnx_file(tmp_path) == tmp_path / "a/m.onnx"
    (tmp_path / "n.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"a/m\.onnx, n\.onnx"):
        onnx_file(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (b"", "malformed"),
        (b"[]", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b"\xff\xfe", "malformed"),
        ({"latency_cycles": "many"}, "malformed"),
        ({"layers": [{}]}, "malformed"),
        ({"v": 2}, "version 2"),
        ({"interval_cycles": 0}, "no sense"),
        ({"latency_cycles": -1}, "no sense"),
        ({"hardware": None}, "malformed"),
    ],
)
def test_a_report_that_is_none_is_refused(
    order: Order, tmp_path: Path, change: bytes | dict[str, object], words: str
) -> None:
    reports.write(build(replace(order, held_out=None), tmp_path / "fpga"), tmp_path / "fpga")
    path = tmp_path / "fpga/report.json"
    if isinstance(change, dict):
        change = msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), **change})
    path.write_bytes(change)
    with pytest.raises(FpgaError, match=words):
        reports.read(tmp_path / "fpga")
    path.unlink()
    with pytest.raises(FpgaError, match=r"no report\.json"):
        reports.read(tmp_path / "fpga")
