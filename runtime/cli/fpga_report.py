"""How a compiled model's report is printed: a table of its layers and what it costs, or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runtime.cli.output import Record, print_json, print_record, print_records
from runtime.cli.text import size

if TYPE_CHECKING:
    from fpga.report import Accuracy, Layer, Report

COLUMNS = ("layer", "operation", "macs", "clocks", "array", "weights", "limit")


def print_report(report: Report, output: str, **more: str) -> None:
    """``more``: what JSON has besides."""
    if output == "json":
        print_json({**document(report), **more})
        return
    print_records([_layer(each) for each in report.layers], COLUMNS, output)
    click.echo()
    print_record(overview(report), output)


def document(report: Report) -> dict[str, Any]:
    """As JSON has it: report.json, and times."""
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(report)
    return {**found, "latency_us": report.latency_us, "samples_per_s": report.samples_per_s}


def overview(report: Report) -> Record:
    """For people."""
    hardware, clock = report.hardware, f"{report.hardware.clock_mhz:g} MHz"
    is_real = hardware.provenance != "simulation"
    found: dict[str, Any] = {
        "model": report.name,
        "hardware": f"{hardware.lanes} lanes, for {hardware.board} ({hardware.part})",
        "bitstream": hardware.provenance,
        "clock": clock if is_real else f"{clock}, assumed: a simulation proves no clock rate",
        "latency": f"{report.latency_cycles:,} clocks, {report.latency_us:,.2f} us",
        "throughput": f"{report.samples_per_s:,.0f} samples/s, one in"
        f" {report.interval_cycles:,.1f} clocks",
        "array": f"{report.utilisation:.1%} in use, of {report.macs:,} multiplications a sample",
        "memories": [
            f"{name}: {used:,} of {there:,} words" for name, (used, there) in report.words.items()
        ],
        "sent": f"{size(report.load_bytes)} once, {size(report.stream_bytes)} of weights a sample",
        "batch": f"up to {report.max_batch:,} samples, in {size(report.cma_bytes)} of the board's"
        " contiguous memory",
        "proved": f"{report.proof.sums:,} sums of {report.proof.channels:,} channels, one by one",
        "tried": f"{report.tried} inputs on the emulated engine",
    }
    if report.tail:
        found["host"] = f"{', '.join(report.tail)} after the engine"
    if report.accuracy is not None:
        found["accuracy"] = _accuracy(report.accuracy)
    return found


def headline(report: Report) -> str:
    """In one line."""
    return (
        f"{report.latency_us:,.2f} us for a sample, {report.samples_per_s:,.0f} samples/s at"
        f" {report.hardware.clock_mhz:g} MHz"
    )


def _accuracy(found: Accuracy) -> list[str]:
    lines = [
        f"{found.same_answer:.2%} of {found.rows:,} answers are the same in float and int8",
        f"outputs differ by {found.mean_error:.2f} steps of int8, and {found.largest_error:.2f} at"
        " most",
    ]
    if found.float_right is not None and found.int8_right is not None:
        lines.append(f"right: {found.float_right:.2%} in float, {found.int8_right:.2%} in int8")
    return lines


def _layer(layer: Layer) -> Record:
    weights = size(layer.weight_bytes)
    return {
        "layer": layer.name,
        "operation": layer.operation,
        "macs": f"{layer.macs:,}",
        "clocks": f"{layer.cycles:,}",
        "array": f"{layer.utilisation:.1%}",
        "weights": f"{weights}, streamed" if layer.is_streamed else weights,
        "limit": layer.limit,
    }
