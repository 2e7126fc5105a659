"""``inferry fpga ...``: models compiled for an FPGA, tried without one, and simulated boards.

fpga_options.py   options that ``inferry image create`` has too
fpga_sources.py   what MODEL and FOLDER|IMAGE mean
fpga_report.py    how a report is printed
fpga_board.py     board
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.fpga_board import board
from runtime.cli.fpga_options import (
    FILE,
    build_options,
    check_bitstream,
    need_compiler,
    need_numpy,
    order_of,
)
from runtime.cli.fpga_report import print_report
from runtime.cli.fpga_sources import compiled_folder, model_file
from runtime.cli.output import output_option, print_record
from runtime.cli.text import printable
from runtime.cli.workspace import workspace_option

if TYPE_CHECKING:
    from fpga.artifact import Artifact
    from fpga.build import Order
    from fpga.trial import Trial

MOST_ROWS = 10
"""Outputs that are shown to people; JSON has all."""


@click.group()
def fpga() -> None:
    """Compile models for an FPGA, and try them without one.

    Start with: inferry fpga build, inferry fpga simulate, inferry image create --kind fpga."""


@fpga.command()
@click.argument("model", metavar="FILE.onnx|NAME[:VERSION]")
@build_options
@click.option(
    "--max-batch",
    type=click.IntRange(1, 1024),
    help="Most samples that the board takes at once. [default: as many as 4 MiB hold]",
)
@click.option("--out", type=FILE, metavar="DIR", required=True, help="The new folder to write.")
@click.option(
    "--project",
    type=FILE,
    metavar="DIR",
    help="Write what makes a real bitstream: a project for Vivado, a Makefile for openXC7.",
)
@click.option("--synthesise", is_flag=True, help="And run Vivado on it, for as long as it takes.")
@output_option
@workspace_option
def build(
    model: str,
    out: Path,
    max_batch: int | None,
    project: Path | None,
    synthesise: bool,
    output: str,
    workspace_dir: str | None,
    **options: Any,
) -> None:
    """Compile a model for an FPGA, and say what it costs, layer by layer.

    A float model is quantised to int8 with the inputs of --calibration. The folder holds the
    program, its weights, a bitstream with its description, and the report. Unless a real bitstream
    is given or made, it is that of a simulated board."""
    check_bitstream(options)
    if synthesise and (project is None or options["bitstream"] is not None):
        raise click.UsageError("--synthesise goes with --project, and not with --bitstream")
    need_compiler()
    from fpga.build import build as compile_folder  # onnx: 0.3 s
    from registry.folders import new_folder

    say = _say(output)
    with model_file(model, workspace_dir) as source, new_folder(out) as folder:
        order = order_of(source, options, max_batch)
        if project is not None:
            order = _with_project(order, project, synthesise, say)
        report = compile_folder(order, folder, say)
    if output != "json":
        click.echo(f"Built {printable(str(out))}\n")
    print_report(report, output, folder=str(out))


def _with_project(order: Order, folder: Path, is_run: bool, say: Callable[[str], None]) -> Order:
    """The project is written, and the bitstream that the tool makes is taken."""
    from fpga.build import shape_of
    from fpga.design import Given, check_fits
    from fpga.project import write
    from fpga.project.vivado import COMMAND, synthesise

    shape = shape_of(order.lanes)
    check_fits(shape, order.board)
    write(folder, shape, order.board)
    if not is_run:
        say(
            f"Project: {printable(str(folder))}, which has not been run; there, {' '.join(COMMAND)}"
            " makes design.bit"
        )
        return order
    say("Running Vivado, which may take an hour")
    synthesise(folder)
    return replace(order, bitstream=Given(folder / "design.bit", folder / "design.hwh", "vivado"))


@fpga.command()
@click.argument("what", metavar="FOLDER|IMAGE[:VERSION]")
@output_option
@workspace_option
def report(what: str, output: str, workspace_dir: str | None) -> None:
    """Print what a compiled model costs, as its compiler found."""
    from fpga.report import read

    with compiled_folder(what, workspace_dir) as folder:
        found = read(folder)
    print_report(found, output)


@fpga.command()
@click.argument("what", metavar="FOLDER|IMAGE[:VERSION]")
@click.option(
    "--input",
    "source",
    type=FILE,
    metavar="FILE",
    required=True,
    help="Rows of inputs: .npz, .npy, or JSON as POST /score takes it.",
)
@click.option(
    "--engine",
    type=click.Choice(["emulator", "rtl"]),
    default="emulator",
    show_default=True,
    help="In numpy, or Verilog in Verilator, which counts clocks.",
)
@output_option
@workspace_option
def simulate(what: str, source: Path, engine: str, output: str, workspace_dir: str | None) -> None:
    """Run a compiled model without a board and without pynq; print what it answers.

    Clocks that are predicted assume a beat of input in each; those that are simulated are what the
    engine took, with the memory of the simulated board."""
    need_numpy()
    from fpga.artifact import load
    from fpga.dataset import read_inputs

    with compiled_folder(what, workspace_dir) as folder:
        artifact = load(folder)
    inputs = read_inputs(source, artifact.input.name)
    trial = _trial(artifact, inputs, engine, _say(output))
    print_record(_trial_record(artifact, trial, engine, output), output)


def _trial(artifact: Artifact, inputs: Any, engine: str, say: Callable[[str], None]) -> Trial:
    from fpga.trial import emulate
    from fpga.trial import simulate as simulate_rtl

    def on_samples(done: int) -> None:
        if done < len(inputs):
            say(f"{done:,} of {len(inputs):,} inputs")

    if engine == "emulator":
        return emulate(artifact, inputs, on_samples)
    say("Simulating (the first time, Verilator builds the engine: some ten seconds)")
    return simulate_rtl(artifact, inputs, on_samples=on_samples)


def _trial_record(artifact: Artifact, trial: Trial, engine: str, output: str) -> dict[str, Any]:
    clock_mhz = artifact.bitstream.clock_mhz
    outputs = trial.outputs.tolist()
    facts = {
        "model": artifact.name,
        "engine": engine,
        "samples": len(outputs),
        "runs": trial.runs,
        "cycles_predicted": trial.cycles_predicted,
        "cycles_simulated": trial.cycles_simulated,
        "clock_mhz": clock_mhz,
        "samples_per_s": trial.samples_per_s(clock_mhz),
    }
    if output == "json":
        return {**facts, "outputs": outputs}
    shown = [_row(row) for row in outputs[:MOST_ROWS]]
    if len(outputs) > MOST_ROWS:
        shown.append(f"... {len(outputs) - MOST_ROWS:,} more: --output json has all")
    facts["samples_per_s"] = f"{trial.samples_per_s(clock_mhz):,.0f} at {clock_mhz:g} MHz"
    if trial.cycles_simulated is None:
        del facts["cycles_simulated"]
    return {**facts, "outputs": shown}


def _row(row: Any) -> str:
    """Short enough for a line."""
    import numpy as np

    flat = np.asarray(row).reshape(-1)
    text = " ".join(f"{value:.5g}" for value in flat[:16])
    return f"{text} ... ({len(flat):,} values)" if len(flat) > 16 else text


def _say(output: str) -> Callable[[str], None]:
    """A line on stderr; nothing where a program reads."""
    if output == "json":
        return lambda line: None
    return lambda line: click.echo(printable(line), err=True)


fpga.add_command(board)
