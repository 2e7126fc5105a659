"""The documentation is true: README's blocks run, and every command and option is described.

A ```bash block runs as it stands, in README's order, in a folder that has model.onnx and examples/.
One after ``<!-- test: server -->`` runs in the background until the next such block, on a free port
that takes the place of 8000. ```python blocks run too; ```text blocks do not.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from runtime.cli.main import cli
from scoring.metrics.families import FAMILIES
from tests.engine import Engine
from tests.ports import free_port
from tests.runtime.server import Server, environment, train_digits

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SERVING_GUIDE = (ROOT / "docs/guides/serving.md").read_text()
CONTAINER = "\n## In a container\n"
READY = {"registry": "/healthz"}
"""Where a server that is not the scoring server says that it is ready."""
CLI_GUIDE = (ROOT / "docs/guides/cli.md").read_text()
BLOCK = re.compile(r"(<!-- test: server -->\n)?^```(bash|python)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code in a page."""

    language: str
    is_server: bool
    code: str


def blocks(text: str) -> list[Block]:
    return [Block(m[2], m[1] is not None, m[3]) for m in BLOCK.finditer(text)]


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Each command below one, by its whole name."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for child in command.list_commands(context):
        found = command.get_command(context, child)
        assert found is not None
        yield from commands(found, f"{name} {child}")


@pytest.mark.slow
def test_the_blocks_of_the_readme_run_and_answer_as_it_says(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("README calls curl")
    train_digits(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    before, _, after = README.partition(CONTAINER)
    rest = before + after[after.index("\n## ") :]
    output = run_blocks(blocks(rest), tmp_path)
    assert "Registered digits:1" in output
    assert re.search(r'"label": ?\[4\]', output)
    assert '"predictions": [6]' in output
    assert "\n[4]{" in output
    assert '"openapi"' in output
    assert "digits 2 {'stage': 'python'}" in output


@pytest.mark.slow
@pytest.mark.engine
def test_the_blocks_of_the_container_section_run_and_answer_as_it_says(
    tmp_path: Path, engine: Engine, debian_base: Path
) -> None:
    train_digits(tmp_path)
    section = README.partition(CONTAINER)[2].partition("\n## ")[0]
    begin = Block("bash", False, "inferry init; inferry model register model.onnx --name digits")
    output = run_blocks([begin, *blocks(section)], tmp_path, str(debian_base))
    assert "container: " in output
    assert "signed by key" in output
    assert re.search(r'"label": ?\[4\]', output)
    for image in engine.run("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        if image.endswith("/digits-box:1"):
            engine.owned(image)


@pytest.mark.slow
def test_the_blocks_of_the_serving_guide_run_and_answer_as_it_says(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the guide calls curl")
    train_digits(tmp_path)
    output = run_blocks(blocks(SERVING_GUIDE), tmp_path)
    assert output.count('"label":[') == 3  # two answers and a line of the capture
    assert '"versions":["1"]' in output
    assert 'inferry_batching{model="model",reason="it pays",version="1"} 1.0' in output
    assert '"request_id":' in output
    assert 'inferry_shadowed_total{model="model",verdict="equal",version="1"} 2.0' in output


def test_the_serving_guide_names_metrics_that_are_there() -> None:
    named = set(re.findall(r"`(inferry_[a-z_]+)", SERVING_GUIDE))
    assert len(named) > 15
    assert named <= set(FAMILIES)


def run_blocks(found: list[Block], folder: Path, base: str = "none") -> str:
    """Runs the blocks in ``folder``; returns what they printed. ``base``: of images."""
    output, server, port = "", None, "8000"
    try:
        for block in found:
            if block.is_server:
                if server is not None:
                    assert server.stop() == 0
                port = str(free_port())
                command = block.code.replace("8000", port).split()
                server = Server(command, cwd=folder, INFERRY_BASE=base)
                server.wait_until_ready(int(port), READY.get(command[1], "/readyz"))
            else:
                output += run_block(block, folder, port, base)
        assert server is not None
        assert server.stop() == 0
        server = None
    finally:
        if server is not None:
            server.stop()
    return output


def run_block(block: Block, folder: Path, port: str, base: str) -> str:
    code = block.code.replace("8000", port)
    command = {
        "bash": ["bash", "-euo", "pipefail", "-c", code],
        "python": [sys.executable, "-c", code],
    }
    done = subprocess.run(
        command[block.language],
        cwd=folder,
        env=environment(INFERRY_BASE=base),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"
    return done.stdout + "\n"


@pytest.mark.parametrize(
    ("name", "command"), list(commands(cli, "inferry")), ids=lambda v: str(v)[:40]
)
def test_the_guide_describes_every_command_and_its_options(
    name: str, command: click.Command
) -> None:
    assert f"`{name}" in CLI_GUIDE
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            longest = max(parameter.opts, key=len)
            assert f"`{longest}" in CLI_GUIDE, f"{name} {longest}"
            assert parameter.help, f"{name} {longest} has no help"


def test_the_guide_describes_no_command_that_is_not_there() -> None:
    known = {name for name, _ in commands(cli, "inferry")}
    for words in re.findall(r"`(inferry(?: [a-z]+(?:-[a-z]+)*)+)", CLI_GUIDE):
        assert words.rstrip() in known


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        *(f"docs/guides/{page.name}" for page in sorted((ROOT / "docs/guides").glob("*.md"))),
    ],
)
def test_links_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_decisions_are_numbered_without_gaps() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [int(page.name.split("-")[0]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    for number, page in zip(numbers, pages, strict=True):
        assert page.read_text().startswith(f"# {number}. ")
