"""Which board: what INFERRY_FPGA_BOARD says, and the hardware that it stands for.

choice = parse("remote:192.168.2.99")
hardware, lock = choice.open(artifact)
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fpga.artifact import Artifact
from fpga.driver.hardware import Hardware
from fpga.driver.lock import BoardLock
from fpga.errors import BoardError

CHOICES = "auto, local, remote:HOST[:PORT], simulated[:BOARD] or emulated"
AUTO, LOCAL, REMOTE, SIMULATED, EMULATED = "auto", "local", "remote", "simulated", "emulated"
PYNQ_PORT = 7967
MANAGER = "/sys/class/fpga_manager/fpga0"
_REMOTE = re.compile(r"remote:([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_SIMULATED = re.compile(r"simulated(?::([A-Za-z0-9._-]{1,40}))?")
_EMULATED = re.compile(r"emulated(?::([A-Za-z0-9._-]{1,40}))?")


@dataclass(frozen=True)
class Choice:
    """``which``: the host, the kind of simulated board, or the name that processes share an
    emulated board under ("": it has its own)."""

    kind: str
    which: str = ""
    port: int = PYNQ_PORT

    def __str__(self) -> str:
        return ":".join(
            part
            for part in (self.kind, self.which, str(self.port) if self.kind == REMOTE else "")
            if part
        )

    @property
    def needs_pynq(self) -> bool:
        return self.kind != EMULATED

    def open(self, artifact: Artifact) -> tuple[Hardware, BoardLock]:
        """What drives it, and its lock, not taken yet. Raises FpgaError, and ImportError where
        pynq is not installed."""
        if self.kind == EMULATED:
            return self._emulated(artifact)
        from fpga.driver import on_pynq

        module: Any = on_pynq
        device = None
        if self.kind == REMOTE:
            device = _remote(module.pynq.__name__, self.which, self.port)
        elif self.kind == SIMULATED:
            device = _simulated(self.which)
        board = on_pynq.PynqHardware(device)
        return board, BoardLock(board.lock_name)

    def _emulated(self, artifact: Artifact) -> tuple[Hardware, BoardLock]:
        from fpga.driver.emulated import EmulatedHardware

        board = EmulatedHardware(artifact.shape, artifact.build or "0" * 32)
        return board, BoardLock(f"emulated-{self.which or os.getpid()}")


def parse(text: str) -> Choice:
    """Raises BoardError, which lists the choices."""
    if text in (AUTO, LOCAL):
        return Choice(text)
    remote = _REMOTE.fullmatch(text)
    if remote is not None:
        port = int(remote[2] or PYNQ_PORT)
        if 0 < port < 65536:
            return Choice(REMOTE, remote[1], port)
    for kind, pattern in ((SIMULATED, _SIMULATED), (EMULATED, _EMULATED)):
        matched = pattern.fullmatch(text)
        if matched is not None:
            return Choice(kind, matched[1] or "")
    raise BoardError(f"INFERRY_FPGA_BOARD is {text[:100]!r}: it is {CHOICES}")


def resolve(choice: Choice, exists: Callable[[str], bool]) -> Choice:
    """What auto means here. Raises BoardError where there is no board."""
    if choice.kind != AUTO:
        return choice
    if exists(MANAGER):
        return Choice(LOCAL)
    raise BoardError(
        "this machine has no FPGA board; set INFERRY_FPGA_BOARD to remote:HOST[:PORT] (a board that"
        " runs PYNQ.remote), simulated (needs Verilator) or emulated"
    )


def _remote(package: str, host: str, port: int) -> Any:
    """pynq's own variable, PYNQ_REMOTE_DEVICES, knows one port only."""
    remote = importlib.import_module(f"{package}.pl_server.remote_device")
    try:
        return remote.RemoteDevice(0, host, port=port)
    except Exception as error:  # gRPC's, pynq's own: they share no base
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BoardError(f"no board answers at {host}:{port}: {said}") from None


def _simulated(kind: str) -> Any:
    from fpga.board.inprocess import attach
    from fpga.board.machine import Machine

    return attach(Machine(kind or "pynq-z2"))
