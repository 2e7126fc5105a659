"""What a process that serves an FPGA image has, and other modules do not: the agent's words about
the board, and the agent's rights.

A board's memory and its FPGA manager are root's alone, so that such a process is no other user than
the agent. It runs no code of its image, as an FPGA image has no script. ``check_root`` sees to it
that none comes in another way: what a hub says of a module is less than root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edge.errors import HostError
from edge.hosts.port import Instance

PYTHON = "INFERRY_FPGA_PYTHON"
OF_BOARD = r"INFERRY_FPGA_[A-Z0-9_]+|PYNQ_[A-Z0-9_]+|XILINX_XRT|BOARD"
FROM_AGENT = re.compile(OF_BOARD + "|INFERRY_CACHE")
"""What goes on from the agent's environment: which board, what the profile of a PYNQ image sets,
and where simulated boards are kept once they are built."""
NAMES = re.compile(OF_BOARD + r"|(?!INFERRY_CACHE)(INFERRY|AML|OMP|OTEL|LC)_[A-Z0-9_]+|LANG|TZ")
"""What a module may say: nothing that makes a program load other code, as a cache of built
libraries would."""
ARGUMENTS = ("--ca", "--sh")
"""How --capture, which writes a file anywhere, and --shadow, which serves any bundle, begin."""


def with_board(instance: Instance, own: Mapping[str, str]) -> Instance:
    """The instance with what the agent's environment ``own`` says of the board; what the module
    says goes before. Pure."""
    said = {name: value for name, value in own.items() if FROM_AGENT.fullmatch(name)}
    return replace(instance, env={**said, **instance.env})


def check_root(instance: Instance) -> None:
    """Whether it may run as root with what is said of it. Raises HostError."""
    others = sorted(name for name in instance.env if not NAMES.fullmatch(name))
    others += [each for each in instance.args if each.startswith(ARGUMENTS)]
    if others:
        raise HostError(
            f"{instance.id} runs as root, as a board needs it, and so cannot have"
            f" {', '.join(others)[:200]}; take that out of its env and args"
        )
    python = instance.env.get(PYTHON)
    if python is not None and not _is_roots_own(Path(python)):
        raise HostError(
            f"{instance.id}: {PYTHON} names a program that others than root can change; set it in"
            " the environment of the agent"
        )


def _is_roots_own(program: Path) -> bool:
    """Whether nobody but root can put another program there."""
    try:
        real = program.resolve(strict=True)
        places = {*program.absolute().parents, *real.parents, real}
        found = [os.stat(place) for place in places]
    except OSError:
        return False
    return all(each.st_uid == 0 and not _is_others(each) for each in found)


def _is_others(found: os.stat_result) -> bool:
    """A folder with the sticky bit, such as /tmp, is as open as any: a name may be new there."""
    return bool(found.st_mode & 0o002) or (found.st_gid != 0 and bool(found.st_mode & 0o020))
