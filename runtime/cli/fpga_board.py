"""``inferry fpga board``: simulated boards, which pynq reaches as real ones over the network.

They answer with pynq's own protocol, so that they run in a Python that has pynq: this one, the one
of $INFERRY_FPGA_PYTHON, or the one of a PYNQ image. This process becomes that one."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import click

from fpga.driver.parts import KINDS
from runtime.errors import BadValueError, NoBoardError

PORT = 7967
NEEDED = ("pynq", "grpc")
VARIABLE = "INFERRY_FPGA_PYTHON"
OF_IMAGES = "/usr/local/share/pynq-venv/bin/python3"


@click.command()
@click.option(
    "--listen",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS[:PORT]",
    help="Where it answers; pynq knows no port but 7967, so that each board has an address.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="So many boards, at this address and those that follow.",
)
@click.option(
    "--board",
    "kind",
    type=click.Choice(sorted(KINDS)),
    default="pynq-z2",
    show_default=True,
    help="Which board it is.",
)
def board(listen: str, count: int, kind: str) -> NoReturn:
    """Simulate boards behind PYNQ.remote, until Ctrl-C or SIGTERM.

    The engine is Verilog in Verilator. A board takes whatever bitstream `inferry fpga build` made;
    programs reach it with PYNQ_REMOTE_DEVICES=ADDRESS, unchanged."""
    hosts, port = addresses(listen, count)
    python = chosen_python(os.environ, own=sys.executable, has=_has, is_file=os.path.isfile)
    sys.stdout.flush()
    os.execve(python, command(python, hosts, port, kind), environment(os.environ))


def addresses(listen: str, count: int) -> tuple[list[str], int]:
    """Each board's address, and the port. Raises BadValueError."""
    host, colon, number = listen.partition(":")
    if not (number.isdigit() and 0 < int(number) < 65_536 if colon else True):
        raise BadValueError(f"'{listen}' is no ADDRESS[:PORT]")
    port = int(number) if colon else PORT
    if count == 1:
        return [host or "127.0.0.1"], port
    try:
        first = ipaddress.IPv4Address(host)
        return [str(first + place) for place in range(count)], port
    except (ipaddress.AddressValueError, ValueError):
        raise BadValueError(f"--count needs the IPv4 address of the first, not '{host}'") from None


def chosen_python(
    variables: Mapping[str, str],
    *,
    own: str,
    has: Callable[[str], bool],
    is_file: Callable[[str], bool],
) -> str:
    """The interpreter that has pynq. Raises NoBoardError, saying what to do."""
    if variables.get(VARIABLE):
        return variables[VARIABLE]
    if all(has(name) for name in NEEDED):
        return own
    if is_file(OF_IMAGES):
        return OF_IMAGES
    raise NoBoardError(
        "a simulated board needs pynq, which this Python does not have: make an environment with"
        " 'pynq==4.0.0' and 'numpy<2' (scripts/pynq does), and name its interpreter in"
        f" ${VARIABLE}"
    )


def command(python: str, hosts: Sequence[str], port: int, kind: str) -> list[str]:
    """What this process becomes."""
    listen = [part for host in hosts for part in ("--listen", host)]
    return [python, "-m", "fpga.board", *listen, "--port", str(port), "--board", kind]


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Where that interpreter finds this package, whichever it has of its own."""
    import fpga

    root = str(Path(fpga.__file__).parents[1])
    path = variables.get("PYTHONPATH")
    return {**variables, "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root}


def _has(name: str) -> bool:
    return find_spec(name) is not None
