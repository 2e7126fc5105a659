"""The simulated board as a pynq.Device of this process: twenty times faster than over gRPC.

machine = Machine("pynq-z2")
device = attach(machine)
overlay = pynq.Overlay("design.bit", device=device)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pynq
from pynq.buffer import PynqBuffer
from pynq.pl_server.embedded_device import CacheMetadataError
from pynq.pl_server.remote_device import _get_bitstream_handler

from fpga.board.machine import FIRMWARE, MANAGER, Machine
from fpga.board.memory import Block
from fpga.errors import BoardError

_count = 0


def attach(machine: Machine) -> SimulatedDevice:
    """A device in front of the machine, and pynq's active one: some of pynq asks for that alone."""
    global _count
    _count += 1
    device = SimulatedDevice(machine, f"inferry-simulated-{os.getpid()}-{_count}")
    pynq.Device.active_device = device
    return device


class SimulatedDevice(pynq.Device):  # type: ignore[misc]
    """What pynq needs of a device: registers, buffers, files, bitstreams."""

    def __init__(self, machine: Machine, tag: str) -> None:
        super().__init__(tag)
        self.machine = machine
        self.capabilities = {"REGISTER_RW": True}
        self.bitfile_name = None
        self.timestamp = None
        self.arch = "armv7l"

    @property
    def name(self) -> str:
        return self.machine.kind.name

    @property
    def default_memory(self) -> SimulatedDevice:
        return self

    def read_registers(self, address: int, length: int) -> bytes:
        """Whole words."""
        return b"".join(
            self.machine.read_register(address + at).to_bytes(4, "little")
            for at in range(0, length, 4)
        )

    def write_registers(self, address: int, data: bytes) -> None:
        for at in range(0, len(data), 4):
            word = int.from_bytes(bytes(data[at : at + 4]), "little")
            self.machine.write_register(address + at, word)

    def allocate(self, shape: Any, dtype: Any, cacheable: Any = True, **_: Any) -> PynqBuffer:
        """Raises MemoryError where contiguous memory is exhausted, as on a board."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        try:
            block = self.machine.memory.allocate(max(size, 1), is_cacheable=bool(cacheable))
        except Exception as error:
            raise MemoryError(str(error)) from None
        return _Buffer(
            shape, dtype, buffer=block.shadow, device=self, device_address=block.address,
            bo=block, coherent=not cacheable,
        )  # fmt: skip

    def flush(self, bo: Block, offset: int, _pointer: int, size: int) -> None:
        self.machine.memory.flush(bo, offset, size)

    def invalidate(self, bo: Block, offset: int, _pointer: int, size: int) -> None:
        self.machine.memory.invalidate(bo, offset, size)

    def exists_file(self, path: str) -> bool:
        return self.machine.exists(path)

    def read_file(self, path: str) -> str:
        """As RemoteDevice has it."""
        return self.machine.read_file(path).decode(errors="replace")

    def write_file(self, path: str, content: bytes) -> None:
        """As RemoteDevice has it."""
        self.machine.write_file(path, content)

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
        handler = _get_bitstream_handler(bitfile_name)
        handler._get_cache = _no_cache
        parser = handler.get_parser(partial=partial)
        if parser is None:
            raise BoardError("no .hwh beside the bitstream")
        return parser

    def gen_cache(self, bitstream: Any, parser: Any = None) -> None:
        """None: what is loaded is asked of the board itself."""

    def download(self, bitstream: Any, parser: Any = None) -> None:
        handler = _get_bitstream_handler(bitstream.bitfile_name)
        name = Path(bitstream.bitfile_name).stem + ".bin"
        self.machine.write_file(FIRMWARE + name, bytes(handler.get_bin_data()))
        self.machine.write_file(MANAGER + "flags", b"1" if bitstream.partial else b"0")
        self.machine.write_file(MANAGER + "firmware", name.encode())
        if not bitstream.partial:
            self.reset(parser, None, bitstream.bitfile_name)
        self.post_download(bitstream, parser)

    def post_download(self, bitstream: Any, parser: Any) -> None:
        """Clocks are at what the boot left them."""

    def shutdown(self) -> None:
        """Nothing is left behind."""


def _no_cache() -> None:
    """pynq keeps the last description by the bitstream's name, and so may give a stale one."""
    raise CacheMetadataError


class _Buffer(PynqBuffer):  # type: ignore[misc]
    def freebuffer(self) -> None:
        block = getattr(self, "bo", None)
        if (
            getattr(self, "base", None) is not None
            and isinstance(block, Block)
            and not getattr(self, "freed", True)
        ):
            self.freed = True
            self.device.machine.memory.free(block)

    def __array_finalize__(self, obj: Any) -> None:
        super().__array_finalize__(obj)
        self.freed = True  # a view frees nothing; the buffer itself says otherwise when it is made
