"""A board through pynq: real, simulated in this process, or anything behind PYNQ.remote.

Only this module of the driver names pynq. Registers are read and written by address, so that a
description of the design that pynq has kept from before does no harm.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pynq
from pynq import MMIO

from fpga.errors import BitstreamError, BoardError, CapacityError
from fpga.isa import registers

Array = Any
STATE = "/sys/class/fpga_manager/fpga0/state"
SIMULATED = "/sys/devices/inferry/simulated"
BOARD = "/proc/device-tree/chosen/pynq_board"


class PynqBuffer:
    """One of pynq's buffers."""

    def __init__(self, found: Any) -> None:
        self._found = found
        self.beats = found
        self.address = int(found.device_address)

    def flush(self) -> None:
        _translated(self._found.flush)

    def invalidate(self) -> None:
        _translated(self._found.invalidate)

    def free(self) -> None:
        if self._found is not None:
            self._found.freebuffer()
            self._found = self.beats = None


def _translated(act: Callable[[], Any]) -> None:
    try:
        act()
    except Exception as error:
        raise BoardError(f"the board's memory cannot be reached: {error}") from None


class PynqHardware:
    """``device``: pynq's active one when none is given. Raises BoardError where there is none."""

    def __init__(self, device: Any = None) -> None:
        try:
            self._device = device or pynq.Device.active_device
        except RuntimeError:
            raise BoardError(
                "pynq finds no board: run on the board itself as root, or set PYNQ_REMOTE_DEVICES"
            ) from None
        # Parts of pynq ask for the active device, whatever they were given.
        pynq.Device.active_device = self._device
        self.is_simulated = self._has(SIMULATED)
        self.name = self._text(BOARD) or str(getattr(self._device, "name", "unknown"))
        self.seconds_per_clock = 1e-5 if self.is_simulated else 1e-8
        self.lock_name = str(getattr(self._device, "ip_addr", "")) or str(self._device.tag)
        self._areas: dict[int, Any] = {}

    def read(self, address: int) -> int:
        try:
            return int(self._area(address).read(address & 0xFFFF)) & 0xFFFFFFFF
        except Exception as error:  # pynq's, the kernel's, gRPC's: they share no base
            raise BoardError(f"nothing answers at {address:#x}: {error}") from None

    def write(self, address: int, value: int) -> None:
        try:
            self._area(address).write(address & 0xFFFF, int(value))
        except Exception as error:  # pynq's, the kernel's, gRPC's: they share no base
            raise BoardError(f"nothing answers at {address:#x}: {error}") from None

    def allocate(self, beats: int) -> PynqBuffer:
        try:
            found = self._device.allocate((beats,), np.dtype("<u8"))
            return PynqBuffer(found)
        except Exception as error:
            raise CapacityError(
                f"no contiguous memory for {8 * beats} bytes on the board ({error}): end what else"
                " uses it, or"
                " take a smaller max_batch"
            ) from None

    def download(self, bit: bytes, hwh: bytes, name: str) -> None:
        self._overlay(bit, hwh, name, is_download=True)

    def describe(self, bit: bytes, hwh: bytes, name: str) -> None:
        self._overlay(bit, hwh, name, is_download=False)

    def _overlay(self, bit: bytes, hwh: bytes, name: str, *, is_download: bool) -> None:
        with tempfile.TemporaryDirectory(prefix="inferry-fpga-") as folder:
            path = Path(folder) / (name + ".bit")
            path.write_bytes(bit)
            path.with_suffix(".hwh").write_bytes(hwh)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    pynq.Overlay(str(path), download=is_download, device=self._device)
            except BoardError:
                raise
            except Exception as error:
                raise BitstreamError(
                    f"pynq could not load the design: {type(error).__name__}: {error}"
                ) from None

    def state(self) -> str | None:
        return self._text(STATE) or None

    def _area(self, address: int) -> Any:
        base = address & ~(registers.SPAN_BYTES - 1)
        if base not in self._areas:
            self._areas[base] = MMIO(base, registers.SPAN_BYTES, device=self._device)
        return self._areas[base]

    def _has(self, path: str) -> bool:
        exists = getattr(self._device, "exists_file", None)
        if exists is None:
            return Path(path).exists()
        found = exists(path)
        return bool(getattr(found, "exists", found))

    def _text(self, path: str) -> str:
        if not self._has(path):
            return ""
        read = getattr(self._device, "read_file", None)
        found = Path(path).read_bytes() if read is None else read(path)
        text = found.decode(errors="replace") if isinstance(found, bytes) else str(found)
        return text.strip("\0\n ")
