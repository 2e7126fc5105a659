"""``inferry score``: one request from the command line."""

from __future__ import annotations

import sys
from typing import BinaryIO

import click

from runtime.scoring_call import DEFAULT_TIMEOUT_S, call


@click.command()
@click.argument("url")
@click.option(
    "--data",
    "-d",
    required=True,
    type=click.File("rb"),
    metavar="FILE|-",
    help="The request body; - reads standard input.",
)
@click.option(
    "--content-type", default="application/json", show_default=True, help="What the body is."
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    help="How long to wait for the answer.",
)
def score(url: str, data: BinaryIO, content_type: str, timeout_s: float) -> None:
    """Send data to a scoring server and print the answer.

    URL is the server's address, such as http://127.0.0.1:8000; /score is added to a bare one."""
    answer = call(url, data.read(), content_type=content_type, timeout_s=timeout_s)
    stdout = sys.stdout.buffer
    stdout.write(answer)
    if not answer.endswith(b"\n"):
        stdout.write(b"\n")
    stdout.flush()
