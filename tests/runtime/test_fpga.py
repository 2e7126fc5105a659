"""``inferry fpga ...``, and FPGA images from the command line."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from fpga import trial
from fpga.artifact import load
from fpga.board import designs
from fpga.isa.shape import SMALL
from runtime.cli import fpga_board
from runtime.cli.fpga_board import addresses, chosen_python, command
from runtime.errors import BadValueError, NoBoardError
from runtime.fpga_compiler import order
from tests.fpga.build import networks
from tests.fpga.build.bitstreams import vivado_bit, vivado_hwh
from tests.runtime.conftest import Cli
from tests.runtime.server import environment
from tests.runtime.test_model import assert_refused

BUILD = ("--calibration", "calibration.npz", "--lanes", "8")


@pytest.fixture
def files(cli: Cli, tmp_path: Path) -> Path:
    networks.write(tmp_path)
    return tmp_path


@pytest.fixture
def model(cli: Cli, files: Path) -> str:
    assert cli("model", "register", "model.onnx", "--name", "tiny").code == 0
    return "tiny:1"


@pytest.fixture
def folder(cli: Cli, files: Path) -> str:
    done = cli("fpga", "build", "model.onnx", *BUILD, "--out", "out")
    assert done.code == 0, done.stderr
    return "out"


@pytest.fixture
def image(cli: Cli, model: str) -> str:
    done = cli("image", "create", "i", "--model", model, "--kind", "fpga", *BUILD)
    assert done.code == 0, done.stderr
    return "i:1"


def test_build_says_what_each_layer_costs(cli: Cli, files: Path) -> None:
    done = cli(
        "fpga", "build", "model.onnx", *BUILD, "--held-out", "held_out.npz", "--out", "a/out"
    )
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("Built a/out\n")
    for words in ("LAYER", "gemm0", "clocks,", " us", "samples/s", "W: ", "simulation", "right: "):
        assert words in done.stdout
    for phase in ("Quantising", "Proving", "Trying"):
        assert phase in done.stderr
    assert load(files / "a/out").shape == SMALL


def test_build_is_silent_and_whole_for_programs(cli: Cli, files: Path) -> None:
    done = cli("fpga", "build", "./model.onnx", *BUILD, "--out", "out", "-o", "json")
    assert (done.code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["folder"] == "out"
    assert found["hardware"]["provenance"] == "simulation"
    assert found["latency_us"] == found["latency_cycles"] / 100
    assert [layer["name"] for layer in found["layers"]] == ["gemm0", "gemm2"]
    again = json.loads(cli("fpga", "report", "out", "-o", "json").stdout)
    assert again == {key: value for key, value in found.items() if key != "folder"}


def test_a_registered_model_is_built_and_two_meanings_are_refused(cli: Cli, model: str) -> None:
    assert cli("fpga", "build", "tiny", *BUILD, "--out", "a").code == 0
    assert cli("fpga", "build", "model:tiny:1", *BUILD, "--out", "b").code == 0
    Path("tiny").mkdir()
    done = cli("fpga", "build", "tiny", *BUILD, "--out", "c")
    assert_refused(done, "./tiny", "model:tiny")
    assert_refused(cli("fpga", "build", "nobody", *BUILD, "--out", "c"), "nobody")
    assert_refused(cli("fpga", "build", "image:i", *BUILD, "--out", "c"), "name its model")
    assert not Path("c").exists()


def test_nothing_is_overwritten(cli: Cli, folder: str) -> None:
    done = cli("fpga", "build", "model.onnx", *BUILD, "--out", folder)
    assert_refused(done, "out", "is there already")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("model.onnx", b"text\n", ["model.onnx", "no ONNX model"]),
        ("calibration.npz", b"text\n", ["calibration.npz", "neither"]),
        ("calibration.npz", b"", ["calibration.npz"]),
        ("held_out.npz", b"PK\x03\x04", ["held_out.npz", "damaged"]),
    ],
)
def test_hostile_files_are_refused_in_one_line(
    cli: Cli, files: Path, name: str, data: bytes, words: list[str]
) -> None:
    (files / name).write_bytes(data)
    build = ("fpga", "build", "model.onnx", *BUILD, "--held-out", "held_out.npz")
    assert_refused(cli(*build, "--out", "out", "-o", "json"), *words)
    assert not (files / "out").exists()


def test_a_model_without_calibration_is_refused(cli: Cli, files: Path) -> None:
    done = cli("fpga", "build", "model.onnx", "--out", "out", "-o", "json")
    assert_refused(done, "calibration")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bitstream", "d.bit"], ["belong together"]),
        (["--bitstream", "d.bit", "--hwh", "d.hwh"], ["belong together"]),
        (["--provenance", "vivado"], ["belong together"]),
        (["--synthesise"], ["--project"]),
        (["--lanes", "12"], ["--lanes"]),
        (["--board", "zcu104"], ["--board"]),
        (["--provenance", "simulation"], ["--provenance"]),
        (["--max-batch", "0"], ["--max-batch"]),
    ],
)
def test_options_that_make_no_sense_are_a_usage_error(
    cli: Cli, files: Path, arguments: list[str], words: list[str]
) -> None:
    done = cli("fpga", "build", "model.onnx", "--out", "out", *arguments)
    assert (done.code, done.stdout) == (2, "")
    for word in words:
        assert word in done.stderr


def test_a_missing_compiler_says_what_to_install(
    cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "find_spec", lambda name: None)
    done = cli("fpga", "build", "model.onnx", *BUILD, "--out", "out")
    assert_refused(done, "numpy and onnx and onnxruntime", "pip install 'inferry[")


def test_a_project_is_written_and_not_run(cli: Cli, files: Path) -> None:
    done = cli("fpga", "build", "model.onnx", *BUILD, "--out", "out", "--project", "p")
    assert done.code == 0, done.stderr
    assert "has not been run; there, vivado -mode batch -source build.tcl" in done.stderr
    assert (files / "p/build.tcl").is_file()
    assert load(files / "out").bitstream.provenance == "simulation"


def test_an_engine_without_room_gets_no_project(cli: Cli, files: Path) -> None:
    build = ("fpga", "build", "model.onnx", "--calibration", "calibration.npz", "--out", "out")
    done = cli(*build, "--lanes", "32", "--project", "p", "-o", "json")
    assert_refused(done, "DSP blocks")
    assert not (files / "p").exists()


def test_synthesis_without_vivado_says_what_to_do(
    cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(files))
    build = ("fpga", "build", "model.onnx", *BUILD, "--out", "out", "-o", "json")
    assert_refused(cli(*build, "--project", "p", "--synthesise"), "Vivado is not", "--bitstream")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("cp ../made.bit design.bit", []),
        ("echo nothing", ["ended without design.bit"]),
        ("echo timing is not met >&2; exit 1", ["vivado failed: timing is not met"]),
    ],
)
def test_what_vivado_makes_is_taken(
    cli: Cli, files: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: list[str]
) -> None:
    tool = files / "bin/vivado"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    (files / "made.bit").write_bytes(vivado_bit(user_id=designs.build_hash(SMALL)[:8]))
    build = ("fpga", "build", "model.onnx", *BUILD, "--out", "out", "-o", "json")
    done = cli(*build, "--project", "p", "--synthesise")
    if words:
        assert_refused(done, *words)
        return
    assert done.code == 0, done.stderr
    assert load(files / "out").bitstream.provenance == "vivado"
    assert (files / "out/design.bit").read_bytes() == (files / "made.bit").read_bytes()


def test_simulate_answers_for_people_and_programs(cli: Cli, folder: str, files: Path) -> None:
    done = cli("fpga", "simulate", folder, "--input", "held_out.npz")
    assert done.code == 0, done.stderr
    assert "30 more" in done.stdout
    assert "cycles_simulated" not in done.stdout
    found = json.loads(
        cli("fpga", "simulate", folder, "--input", "held_out.npz", "-o", "json").stdout
    )
    artifact = load(files / folder)
    expected = trial.emulate(artifact, networks.inputs(seed=1))
    assert np.allclose(found["outputs"], expected.outputs)
    assert found["cycles_predicted"] == expected.cycles_predicted
    assert found["cycles_simulated"] is None
    assert found["samples_per_s"] == expected.samples_per_s(100.0)


def test_simulate_takes_json_as_a_server_does(cli: Cli, folder: str, files: Path) -> None:
    (files / "one.json").write_text(json.dumps({"x": networks.inputs(1).tolist()}))
    done = cli("fpga", "simulate", folder, "--input", "one.json", "-o", "json")
    assert len(json.loads(done.stdout)["outputs"]) == 1
    (files / "one.json").write_text('{"x": [[1, 2, 3]]}')
    assert_refused(cli("fpga", "simulate", folder, "--input", "one.json"), "shape [N, 12]")
    assert_refused(cli("fpga", "simulate", folder, "--input", "none.json"), "none.json")


def test_what_is_not_compiled_is_neither_reported_nor_simulated(cli: Cli, files: Path) -> None:
    for arguments in (["report"], ["simulate", "--input", "held_out.npz"]):
        assert_refused(cli("fpga", *arguments, "."), "no program.json")
        assert_refused(cli("fpga", *arguments, "model:tiny"), "build it first")
        assert_refused(cli("fpga", *arguments, "nobody"), "nobody")


def test_an_image_is_made_shown_reported_and_simulated(cli: Cli, image: str) -> None:
    shown = json.loads(cli("image", "show", "i", "-o", "json").stdout)
    assert shown["kind"] == "fpga"
    assert shown["fpga"] == {
        "part": "xc7z020clg400-1",
        "provenance": "simulation",
        "boards": ["Pynq-Z1", "Pynq-Z2"],
    }
    assert shown.pop("came_from") == ["model tiny:1"]
    assert shown.pop("used_by") == []
    assert json.loads(cli("image", "list", "-o", "json").stdout) == [shown]
    assert "fpga (simulation)" in cli("image", "list").stdout
    table = cli("image", "show", "i").stdout
    for words in ("xc7z020clg400-1", "bitstream   simulation", "inferry fpga report i:1"):
        assert words in table
    log = cli("image", "log", "i").stdout
    for words in ("Quantising, with 40 inputs", "Trying", "bitstream: simulation"):
        assert words in log
    report = json.loads(cli("fpga", "report", "i", "-o", "json").stdout)
    assert report["hardware"]["lanes"] == 8
    done = cli("fpga", "simulate", "image:i:1", "--input", "held_out.npz", "-o", "json")
    assert len(json.loads(done.stdout)["outputs"]) == networks.ROWS


def test_an_image_takes_the_options_of_a_build(cli: Cli, model: str, files: Path) -> None:
    (files / "d.bit").write_bytes(vivado_bit())
    (files / "d.hwh").write_bytes(vivado_hwh())
    (files / "golden.json").write_text('{"v": 1, "cases": [{"input": {"x": [[0]]}}]}')
    done = cli(
        "image", "create", "i", "--model", model, "--kind", "fpga", *BUILD,
        "--held-out", "held_out.npz", "--max-batch", "3", "--golden", "golden.json",
        "--bitstream", "d.bit", "--hwh", "d.hwh", "--provenance", "vivado", "--tag", "a=1",
        "--board", "pynq-z1", "-o", "json",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["fpga"]["provenance"] == "vivado"
    assert made["tags"] == {"a": "1"}
    report = json.loads(cli("fpga", "report", "i", "-o", "json").stdout)
    assert report["max_batch"] == 3
    assert report["accuracy"]["rows"] == networks.ROWS
    assert report["hardware"]["board"] == "pynq-z1"


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("fpga", ["--script", "score.py"]),
        ("fpga", ["--source", "."]),
        ("fpga", ["--requirements", "r.txt"]),
        ("fpga", ["--conda", "c.yml"]),
        ("fpga", ["--base", "none"]),
        ("fpga", ["--platform", "linux/arm64"]),
        ("fpga", ["--dockerfile", "Dockerfile"]),
        ("fpga", ["--wheelhouse", "."]),
        ("fpga", ["--sample", "s.json"]),
        ("fpga", ["--pull"]),
        ("fpga", ["--relock"]),
        ("fpga", ["--no-proof"]),
        ("docker", ["--calibration", "calibration.npz"]),
        ("docker", ["--held-out", "held_out.npz"]),
        ("docker", ["--lanes", "16"]),
        ("docker", ["--board", "pynq-z2"]),
        ("docker", ["--tail-on-host"]),
        ("docker", ["--bitstream", "d.bit"]),
        ("docker", ["--hwh", "d.hwh"]),
        ("docker", ["--provenance", "vivado"]),
    ],
)
def test_options_of_the_other_kind_are_refused_by_name(
    cli: Cli, model: str, kind: str, arguments: list[str]
) -> None:
    done = cli("image", "create", "i", "--model", model, "--kind", kind, *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert f"{arguments[0]} cannot go with --kind {kind}" in done.stderr
    assert json.loads(cli("image", "list", "-o", "json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--calibration", "none.npz"], ["none.npz"]),
        (["--calibration", "model.onnx"], ["model.onnx", "neither"]),
        ([*BUILD, "--held-out", "none.npz"], ["none.npz"]),
        ([*BUILD, "--golden", "none.json"], ["none.json"]),
        (
            [*BUILD, "--bitstream", "no.bit", "--hwh", "no.hwh", "--provenance", "vivado"],
            ["no.bit"],
        ),
    ],
)
def test_what_is_wrong_with_the_files_leaves_no_record(
    cli: Cli, model: str, arguments: list[str], words: list[str]
) -> None:
    done = cli("image", "create", "i", "--model", model, "--kind", "fpga", *arguments)
    assert_refused(done, *words)
    assert json.loads(cli("image", "list", "-o", "json").stdout) == []


def test_an_fpga_image_is_of_one_onnx_file(cli: Cli, model: str, files: Path) -> None:
    create = ("image", "create", "i", "--kind", "fpga", *BUILD)
    (files / "weights.bin").write_bytes(b"w")
    cli("model", "register", "weights.bin", "--name", "w")
    assert_refused(cli(*create, "--model", "w"), "w:1", "one .onnx file")
    assert_refused(cli(*create, "--model", "tiny", "--model", "tiny:1"), "exactly one model")
    assert json.loads(cli("image", "list", "-o", "json").stdout) == []


def test_a_model_that_cannot_be_compiled_leaves_a_record_that_says_why(
    cli: Cli, files: Path
) -> None:
    bad = networks.tiny()
    bad.graph.node[1].op_type = "Tanh"
    onnx.save(bad, files / "bad.onnx")
    cli("model", "register", "bad.onnx", "--name", "bad")
    done = cli("image", "create", "i", "--model", "bad", "--kind", "fpga", *BUILD, "-o", "json")
    assert_refused(done, "Tanh")
    shown = json.loads(cli("image", "show", "i", "-o", "json").stdout)
    assert (shown["state"], shown["fpga"]) == ("failed", None)
    assert "Tanh" in shown["cause"]
    assert_refused(cli("fpga", "report", "i"), "i:1", "was not made")


def test_a_container_is_no_compiled_model(cli: Cli, model: str) -> None:
    assert cli("image", "create", "plain", "--model", model).code == 0
    assert json.loads(cli("image", "show", "plain", "-o", "json").stdout)["fpga"] is None
    assert_refused(cli("fpga", "report", "plain"), "plain:1 is no FPGA image")


@pytest.mark.parametrize(
    ("listen", "count", "hosts", "port"),
    [
        ("127.0.0.2", 1, ["127.0.0.2"], 7967),
        ("127.0.0.2:8000", 3, ["127.0.0.2", "127.0.0.3", "127.0.0.4"], 8000),
        ("localhost", 1, ["localhost"], 7967),
        (":80", 1, ["127.0.0.1"], 80),
    ],
)
def test_boards_have_addresses(listen: str, count: int, hosts: list[str], port: int) -> None:
    assert addresses(listen, count) == (hosts, port)


@pytest.mark.parametrize(
    ("listen", "count"),
    [("a:b", 1), ("127.0.0.1:", 1), ("127.0.0.1:70000", 1), ("::1", 1), ("localhost", 2),
     ("255.255.255.255", 2)],
)  # fmt: skip
def test_addresses_that_are_none_are_refused(listen: str, count: int) -> None:
    with pytest.raises(BadValueError):
        addresses(listen, count)


def test_the_interpreter_that_has_pynq_is_chosen() -> None:
    def choose(variables: dict[str, str], *, has: bool, image: bool) -> str:
        return chosen_python(variables, own="own", has=lambda name: has, is_file=lambda path: image)

    assert choose({"INFERRY_FPGA_PYTHON": "/p"}, has=True, image=True) == "/p"
    assert choose({}, has=True, image=True) == "own"
    assert choose({}, has=False, image=True) == fpga_board.OF_IMAGES
    with pytest.raises(NoBoardError, match="scripts/pynq"):
        choose({}, has=False, image=False)
    assert command("/p", ["a", "b"], 7967, "pynq-z1") == [
        "/p", "-m", "fpga.board", "--listen", "a", "--listen", "b", "--port", "7967",
        "--board", "pynq-z1",
    ]  # fmt: skip


def test_the_command_becomes_that_interpreter(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$@"; echo "$PYTHONPATH"\n')
    fake.chmod(stat.S_IRWXU)
    done = subprocess.run(
        [sys.executable, "-m", "runtime.cli.main", "fpga", "board", "--listen", "127.0.0.5",
         "--count", "2"],
        env=environment(INFERRY_FPGA_PYTHON=str(fake)), capture_output=True, text=True, timeout=60,
        cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, path = done.stdout.splitlines()
    assert first == (
        "-m fpga.board --listen 127.0.0.5 --listen 127.0.0.6 --port 7967 --board pynq-z2"
    )
    assert (Path(path.split(os.pathsep)[0]) / "fpga/board/__main__.py").is_file()
    missing = subprocess.run(
        [sys.executable, "-m", "runtime.cli.main", "fpga", "board"],
        env=environment(INFERRY_FPGA_PYTHON=str(tmp_path / "none")), capture_output=True, text=True,
        timeout=60, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert missing.returncode == 1
    assert len(missing.stderr.splitlines()) == 1
    assert "none" in missing.stderr
