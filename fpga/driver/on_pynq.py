"""A board through pynq: real, simulated in this process, or anything behind PYNQ.remote.

Only this module of the driver names pynq. Registers are read and written by address, so that a
description of the design that pynq has kept from before does no harm.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pynq
from pynq import MMIO

from fpga.driver import handoff, note
from fpga.driver.parts import IDCODE_ADDRESS
from fpga.errors import BitstreamError, BoardError, CapacityError
from fpga.isa import registers

Array = Any
MANAGER = "/sys/class/fpga_manager/fpga0/"
SIMULATED = "/sys/devices/inferry/simulated"
BOARD = "/proc/device-tree/chosen/pynq_board"
BOOT = "/proc/sys/kernel/random/boot_id"
MEMORY = "/proc/meminfo"
FIRMWARE = Path("/lib/firmware")
FIND_S = 20.0
"""pynq connects to each board of PYNQ_REMOTE_DEVICES, 5 s each, and asks it without a deadline."""
CALL_S, BULK_S = 5.0, 30.0
"""Deadlines of PYNQ.remote's calls, which have none of their own; of those that bring much data."""
BULK = {("device", "readfile"), ("device", "writefile"), ("buffer", "read"), ("buffer", "write")}


class PynqBuffer:
    """One of pynq's buffers."""

    def __init__(self, found: Any) -> None:
        self._found = found
        self.beats = found
        self.address = int(found.device_address)

    def flush(self, beats: int) -> None:
        _translated(lambda: self._found[:beats].flush())

    def invalidate(self, beats: int) -> None:
        if hasattr(self._found, "stub"):
            _translated(lambda: self._fetch(8 * beats))
        else:
            _translated(lambda: self._found[:beats].invalidate())

    def _fetch(self, size: int) -> None:
        """pynq's own fetches all of a remote buffer, and its server knows no other way; but it
        sends a piece after the other, and what comes after ``size`` is not waited for."""
        from pynq.remote import buffer_pb2

        name = self._found.buffer_id
        done = self._found.stub.invalidate(buffer_pb2.InvalidateRequest(buffer_id=name))
        if done.msg:
            raise BoardError(done.msg)
        pieces, had = [], 0
        stream = self._found.stub.read(buffer_pb2.BufferReadRequest(buffer_id=name))
        for piece in stream:
            pieces.append(piece.data)
            had += len(piece.data)
            if piece.msg or had >= size:
                break
        stream.cancel()
        if had < size:
            raise BoardError(f"{had} bytes of a buffer, where {size} were to come")
        self._found[: size // 8] = np.frombuffer(b"".join(pieces)[:size], "<u8")

    def free(self) -> None:
        if self._found is not None:
            # A board that is gone has freed it already, or never will.
            with contextlib.suppress(Exception):
                self._found.freebuffer()
            self._found = self.beats = None


def _translated(act: Callable[[], Any]) -> None:
    try:
        act()
    except BoardError:
        raise
    except Exception as error:  # pynq's, XRT's, gRPC's: they share no base
        raise BoardError(f"the board's memory cannot be reached: {_said(error)}") from None


class PynqHardware:
    """``device``: pynq's active one when none is given. Raises BoardError where there is none."""

    def __init__(self, device: Any = None) -> None:
        self._device = device or _within(FIND_S, _active_device)
        _set_deadlines(self._device)
        # Parts of pynq ask for the active device, whatever they were given.
        pynq.Device.active_device = self._device
        self._is_remote = hasattr(self._device, "ip_addr")
        self._areas: dict[int, Any] = {}
        self.is_simulated = self._has(SIMULATED)
        self.name = self._text(BOARD) or str(getattr(self._device, "name", "unknown"))
        self.seconds_per_clock = 3e-6 if self.is_simulated else 1e-8
        self.lock_name = str(getattr(self._device, "ip_addr", "")) or str(self._device.tag)
        is_zynq_7000 = str(getattr(self._device, "arch", "")).startswith("armv7")
        # Every Zynq-7000 has this register, whatever its logic is; others might fault.
        self.idcode: int | None = self.read(IDCODE_ADDRESS) if is_zynq_7000 else None

    def read(self, address: int) -> int:
        try:
            return int(self._area(address).read(address & 0xFFFF)) & 0xFFFFFFFF
        except Exception as error:  # pynq's, the kernel's, gRPC's: they share no base
            raise BoardError(f"nothing answers at {address:#x}: {_said(error)}") from None

    def write(self, address: int, value: int) -> None:
        try:
            self._area(address).write(address & 0xFFFF, int(value))
        except Exception as error:  # pynq's, the kernel's, gRPC's: they share no base
            raise BoardError(f"nothing answers at {address:#x}: {_said(error)}") from None

    def allocate(self, beats: int) -> PynqBuffer:
        try:
            found = self._device.allocate((beats,), np.dtype("<u8"))
            return PynqBuffer(found)
        except Exception as error:
            raise CapacityError(
                f"no contiguous memory for {8 * beats} bytes on the board ({_said(error)}): end"
                " what else uses it, or take a smaller max_batch"
            ) from None

    def cma_bytes(self) -> int | None:
        """All of it, free or not: what Linux lends out for a while it takes back."""
        for line in self._text(MEMORY).splitlines():
            name, _, rest = line.partition(":")
            if name == "CmaTotal" and rest.split()[:1] and rest.split()[0].isdigit():
                return int(rest.split()[0]) << 10
        return None

    def download(self, bit: bytes, hwh: bytes, name: str) -> None:
        self._write_note(b"")
        self._overlay(bit, hwh, name, is_download=True)
        made = note.Note(name, self._text(BOOT), self._records() or "")
        self._write_note(note.encode(made))
        if getattr(self._device, "write_file", None) is None:
            _sweep(FIRMWARE, name)

    def describe(self, bit: bytes, hwh: bytes, name: str) -> None:
        self._overlay(bit, hwh, name, is_download=False)

    def loaded(self) -> str | None:
        found = note.decode(self._bytes(note.PATH))
        firmware = self._text(MANAGER + "firmware") or None
        return note.loaded(
            found, note.Seen(self._text(BOOT), self.state(), firmware, self._records())
        )

    def state(self) -> str | None:
        return self._text(MANAGER + "state") or None

    def _overlay(self, bit: bytes, hwh: bytes, name: str, *, is_download: bool) -> None:
        described = handoff.mended(hwh)
        handoff.check(described)
        _forget()
        with tempfile.TemporaryDirectory(prefix="inferry-fpga-") as folder:
            path = Path(folder) / (name + ".bit")
            path.write_bytes(bit)
            path.with_suffix(".hwh").write_bytes(described)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    pynq.Overlay(str(path), download=is_download, device=self._device)
            except BoardError:
                raise
            except Exception as error:
                raise BitstreamError(
                    f"pynq could not load the design: {type(error).__name__}: {_said(error)}"
                ) from None

    def _records(self) -> str | None:
        """Of what pynq says it loaded last; None over PYNQ.remote, whose clients each keep their
        own, and where this pynq keeps none."""
        if self._is_remote:
            return None
        folder = _folder_of_records()
        if folder is None:
            return None
        try:
            return hashlib.sha256((folder / "global_pl_state_.json").read_bytes()).hexdigest()
        except OSError:
            return ""

    def _write_note(self, data: bytes) -> None:
        """Where it cannot be written, the next opening downloads again."""
        write = getattr(self._device, "write_file", None)
        with contextlib.suppress(Exception):
            if write is None:
                Path(note.PATH).write_bytes(data)
            else:
                write(note.PATH, data or b"\n")  # PYNQ.remote writes no empty file

    def _area(self, address: int) -> Any:
        base = address & ~(registers.SPAN_BYTES - 1)
        found = self._areas.get(base)
        if found is None:
            found = self._areas[base] = MMIO(base, registers.SPAN_BYTES, device=self._device)
        return found

    def _has(self, path: str) -> bool:
        exists = getattr(self._device, "exists_file", None)
        if exists is None:
            return Path(path).exists()
        try:
            found = exists(path)
        except Exception as error:
            raise BoardError(f"the board does not answer: {_said(error)}") from None
        return bool(getattr(found, "exists", found))

    def _text(self, path: str) -> str:
        return self._bytes(path).decode(errors="replace").strip("\0\n ")

    def _bytes(self, path: str) -> bytes:
        """Empty where there is no such file, or it cannot be read."""
        if not self._has(path):
            return b""
        read = getattr(self._device, "read_file", None)
        try:
            found = Path(path).read_bytes() if read is None else read(path)
        except Exception:  # a file of the kernel that only takes, or one that just went
            return b""
        return found if isinstance(found, bytes) else str(found).encode()


def _folder_of_records() -> Path | None:
    """Where pynq notes what it loaded; None where this pynq does not."""
    try:
        from pynq.pl_server import global_state
    except ImportError:
        return None
    return Path(global_state.__file__).parent


def _sweep(folder: Path, kept: str) -> None:
    """Bitstreams of this driver that are loaded no more: pynq leaves each one there, some
    megabytes, and writes one anew that it needs again."""
    for path in folder.glob("inferry_*.bin"):
        if path.stem != kept:
            with contextlib.suppress(OSError):
                path.unlink()


def _forget() -> None:
    """pynq keeps the last description, as a pickle, by the bitstream alone: with another .hwh for
    the same bitstream, another clock for one, it would take the old one."""
    folder = _folder_of_records()
    if folder is not None:
        with contextlib.suppress(OSError):
            (folder / "_current_metadata.pkl").unlink()


def _active_device() -> Any:
    try:
        return pynq.Device.active_device
    except RuntimeError:
        raise BoardError(
            "pynq finds no board: run on the board itself as root, or set PYNQ_REMOTE_DEVICES"
        ) from None


def _within(limit_s: float, act: Callable[[], Any]) -> Any:
    """What it returns or raises; BoardError where it does not end. Its thread is left to itself."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append((act(), None))
        except Exception as error:
            results.append((None, error))

    thread = threading.Thread(target=run, name="inferry-fpga-find", daemon=True)
    thread.start()
    thread.join(limit_s)
    if not results:
        raise BoardError(f"pynq found no board in {limit_s:.0f} s: one of them does not answer")
    found, error = results[0]
    if error is not None:
        raise error if isinstance(error, BoardError) else BoardError(_said(error))
    return found


def _set_deadlines(device: Any) -> None:
    """On each call of PYNQ.remote's: pynq's objects share the device's stubs. Idempotent."""
    for service, stub in getattr(device, "_stub", {}).items():
        for name, call in list(vars(stub).items()):
            if callable(call) and not isinstance(call, partial):
                limit_s = BULK_S if (service, name) in BULK else CALL_S
                setattr(stub, name, partial(call, timeout=limit_s))


def _said(error: Exception) -> str:
    """The first line of an error; gRPC's are a page long."""
    details = getattr(error, "details", None)
    said = details() if callable(details) else str(error)
    return (str(said).strip().splitlines() or [type(error).__name__])[0][:200]
