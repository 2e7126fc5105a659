"""A compiled model on disk: what is written comes back, and what is not ours is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpga.artifact import INPUT, Artifact, Bitstream, load
from fpga.compiler.compilation import artifact_of
from fpga.compiler.lowering import lower
from fpga.emulator import EmulatedEngine
from fpga.errors import ProgramError
from fpga.isa import packet
from fpga.isa.shape import SMALL
from tests.fpga.compiler.random_graphs import random_graph

Array = Any
STREAMED = replace(SMALL, w_words=60)


def artifact(is_streamed: bool = False) -> Artifact:
    """Of the first random network that has streamed weights, or has none."""
    for seed in range(100):
        graph, shape = random_graph(seed), STREAMED if is_streamed else SMALL
        try:
            program = lower(graph, shape)
        except Exception:
            continue
        if (program.blocks > 1) == is_streamed and graph.tensors[graph.input].shape[0] == 3:
            made = artifact_of(graph, program, shape, "0123456789abcdef" * 2)
            return replace(made, latency_cycles=100, interval_cycles=80.5)
    raise AssertionError("no such network")


PLAIN, IN_BLOCKS = artifact(), artifact(is_streamed=True)


def saved(tmp_path: Path, made: Artifact = PLAIN) -> Path:
    made.save(tmp_path / "fpga")
    return tmp_path / "fpga"


def changed(folder: Path, *path: str, to: Any) -> None:
    """One value of program.json."""
    document = json.loads((folder / "program.json").read_text())
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    (folder / "program.json").write_text(json.dumps(document))


@pytest.mark.parametrize("made", [PLAIN, IN_BLOCKS], ids=["resident", "streamed"])
def test_what_is_saved_is_loaded(tmp_path: Path, made: Artifact) -> None:
    made = replace(made, tail=("flatten", "softmax"))
    found = load(saved(tmp_path, made))
    assert found.digest() == made.digest()
    assert replace(found, load=0, stream=0) == replace(made, load=0, stream=0)
    assert (found.load == made.load).all()
    assert (found.stream == made.stream).all()
    assert found.program() == made.program()


def test_the_number_tells_models_apart_and_never_is_0() -> None:
    other = replace(PLAIN, output=replace(PLAIN.output, scale=PLAIN.output.scale * 2))
    assert PLAIN.model_number() != other.model_number() != 0
    # The hardware is chosen later: it does not change which model it is.
    assert replace(PLAIN, bitstream=Bitstream("simulation")).digest() == PLAIN.digest()


def test_quantising_is_quantizelinear() -> None:
    port = PLAIN.input
    height, width, channels = port.pixels
    values = np.random.default_rng(0).normal(0, 100 * port.scale, (5, *port.shape))
    values = values.astype(np.float32)
    values.flat[0], values.flat[1] = 1e30, -1e30
    beats = PLAIN.quantise(values)
    assert beats.shape == (5, PLAIN.input_words * SMALL.word_beats)
    lanes = beats.view(np.int8).reshape(5, height, width, -1)
    expected = np.clip(np.rint(values / np.float32(port.scale)) + port.zero_point, -128, 127)
    assert (lanes[..., :channels] == expected.transpose(0, 2, 3, 1)).all()
    assert not lanes[..., channels:].any()


def test_the_output_comes_back_in_the_models_layout() -> None:
    port = PLAIN.output
    engine = EmulatedEngine(SMALL)
    engine.send(PLAIN.load)
    values = np.zeros((2, *PLAIN.input.shape), np.float32)
    (beats,) = engine.send(PLAIN.run_packet(PLAIN.quantise(values)))
    beats = beats.reshape(2, -1)
    real = PLAIN.dequantise(beats)
    assert real.shape == (2, *port.shape)
    whole = PLAIN.unpack(beats).astype(np.float32)
    assert (real == (whole - port.zero_point) * np.float32(port.scale)).all()
    flat = replace(PLAIN, tail=("flatten", "softmax")).dequantise(beats)
    assert np.allclose(flat.sum(axis=1), 1)
    picked = replace(PLAIN, tail=("flatten", "argmax")).dequantise(beats)
    assert (picked == flat.argmax(axis=1)).all()
    gate = replace(PLAIN, tail=("sigmoid",)).dequantise(beats)
    assert np.allclose(gate, 1 / (1 + np.exp(-real.astype(float))))


@pytest.mark.parametrize("shape", [(2, 1), (2,), ()])
def test_an_input_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ProgramError, match="is needed"):
        PLAIN.quantise(np.zeros(shape, np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_input_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ProgramError, match="nan or infinity"):
        PLAIN.quantise(np.full((1, *PLAIN.input.shape), bad, np.float32))


def test_a_run_repeats_the_order_for_each_sample() -> None:
    payloads = IN_BLOCKS.quantise(np.zeros((3, *IN_BLOCKS.input.shape), np.float32))
    beats = IN_BLOCKS.run_packet(payloads)
    assert beats.nbytes == IN_BLOCKS.run_bytes(3)
    ops = [each.op for each in packet.parse(beats, IN_BLOCKS.shape)]
    sample = [packet.INPUT if at == INPUT else packet.WSTREAM for at in IN_BLOCKS.order]
    assert ops == [packet.RUN, *sample * 3]


@pytest.mark.parametrize("name", ["program.json", "load.bin", "stream.bin"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    folder = saved(tmp_path, IN_BLOCKS)
    (folder / name).unlink()
    with pytest.raises(ProgramError, match=name):
        load(folder)


def test_what_streams_nothing_has_no_file_of_blocks(tmp_path: Path) -> None:
    folder = saved(tmp_path, IN_BLOCKS)
    assert (folder / "stream.bin").exists()
    saved(tmp_path)  # in its place
    assert not (folder / "stream.bin").exists()
    assert len(load(folder).stream) == 0


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("v",), 2, "compile it anew"),
        (("model",), 7, "no text"),
        (("model",), "x" * 2000, "no text"),
        (("shape",), {}, "integers"),
        (("shape", "n"), 12, "lanes"),
        (("shape", "n"), "16", "integers"),
        (("shape", "w_words"), 1 << 40, "w_words"),
        (("shape", "w_words"), 2, "beyond a memory"),
        (("build",), "0" * 31, "hexadecimal"),
        (("build",), "z" * 32, "hexadecimal"),
        (("bitstream", "provenance"), "guess", "guess"),
        (("bitstream", "clock_mhz"), float("nan"), "number"),
        (("input", "layout"), "CHWN", "layout"),
        (("input", "shape"), [3], "layout"),
        (("input", "shape"), [3, -1, 4], "not a number"),
        (("input", "shape"), [3, 1000, 1000], "input of"),
        (("input", "scale"), 0, "scale"),
        (("input", "scale"), float("inf"), "no number"),
        (("input", "scale"), True, "no number"),
        (("input", "zero_point"), 128, "not a number"),
        (("output", "shape"), [1000, 1000, 1000], "words"),
        (("output", "scale"), -1.0, "no number"),
        (("order",), [], "order"),
        (("order",), [-1, -1], "order"),
        (("order",), [-1, 0], "order"),
        (("order",), "everything", "not a number"),
        (("max_batch",), 0, "not a number"),
        (("max_batch",), 1 << 20, "DMA"),
        (("cma_bytes",), -1, "not a number"),
        (("cma_bytes",), 1.5, "not a number"),
        (("interval_cycles",), float("nan"), "no number"),
        (("latency_cycles",), None, "not a number"),
        (("tail",), ["rm -rf"], "host cannot"),
        (("tail",), None, "malformed"),
        (("input",), None, "malformed"),
        (("digest",), "0" * 64, "belong together"),
        (("latency_cycles",), 101, "belong together"),
    ],
)  # fmt: skip
def test_a_value_that_is_wrong_is_refused(
    tmp_path: Path, path: tuple[str, ...], value: Any, words: str
) -> None:
    folder = saved(tmp_path)
    changed(folder, *path, to=value)
    with pytest.raises(ProgramError, match=words):
        load(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"v": 1}', "[" * 100_000, '{"v": 1e999}', "\xff\xfe"]
)
def test_a_program_that_is_no_program_is_refused(tmp_path: Path, text: str) -> None:
    folder = saved(tmp_path)
    (folder / "program.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ProgramError):
        load(folder)


def test_beats_that_are_cut_or_swapped_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, IN_BLOCKS)
    whole = (folder / "load.bin").read_bytes()
    for wrong in (whole[:-3], whole[:-8], b"", whole + whole, IN_BLOCKS.stream.tobytes()):
        (folder / "load.bin").write_bytes(wrong)
        with pytest.raises(ProgramError):
            load(folder)
    (folder / "load.bin").write_bytes(whole)
    for wrong in (b"", whole, IN_BLOCKS.stream.tobytes() * 2):
        (folder / "stream.bin").write_bytes(wrong)
        with pytest.raises(ProgramError):
            load(folder)


@given(data=st.data())
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_no_damage_passes_and_none_raises_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = saved(tmp_path_factory.mktemp("damaged"), IN_BLOCKS)
    name = data.draw(st.sampled_from(["program.json", "load.bin", "stream.bin"]))
    whole = bytearray((folder / name).read_bytes())
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    whole[at] ^= 1 << bit
    (folder / name).write_bytes(whole)
    try:
        found = load(folder)
    except ProgramError as error:
        refusal = str(error)
        if "\n" in refusal or str(folder) in refusal:
            pytest.fail(refusal)
        return
    # What is not in the digest says only what the hardware file should be.
    assert found.digest() == IN_BLOCKS.digest()
    assert name == "program.json"


def test_a_board_reads_it_without_the_compilers_libraries() -> None:
    script = (
        "import sys; sys.modules.update(dict.fromkeys(['onnx', 'onnxruntime', 'scipy', 'pynq']));"
        " import fpga.artifact; print(sorted(m for m in sys.modules if m.startswith('fpga.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "compiler" not in done.stdout
    assert "emulator" not in done.stdout
