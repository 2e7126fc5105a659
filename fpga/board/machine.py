"""A simulated PYNQ board: files, clocks, registers, memory and logic, as its processor sees them.

    machine = Machine("pynq-z2")
    machine.write_file("/lib/firmware/design.bin", bitstream.to_bin(header.data))
    machine.write_file("/sys/class/fpga_manager/fpga0/flags", b"0")
    machine.write_file("/sys/class/fpga_manager/fpga0/firmware", b"design.bin")
    machine.read_file("/sys/class/fpga_manager/fpga0/state")       # b"operating"
    machine.read_register(registers.ENGINE_BASE + registers.ID)

Latencies are assumptions (fpga/simulation/board.py). One lock: several threads may use it.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field, replace

from fpga.board import bitstream
from fpga.board.memory import BASE, Memory
from fpga.driver.bitfile import read_packets
from fpga.driver.parts import IDCODE_ADDRESS, IDCODE_MASK, kind_of
from fpga.errors import BitstreamError, BoardError
from fpga.isa import registers
from fpga.simulation.board import Latencies, Logic

MANAGER = "/sys/class/fpga_manager/fpga0/"
FIRMWARE = "/lib/firmware/"
SLCR, SLCR_BYTES = 0xF8000000, 0x1000
LOGIC, LOGIC_END = 0x40000000, 0x80000000
MOST_FILE_BYTES = 64 << 20
MARK = "/sys/devices/inferry/simulated"
"""A file that only simulated boards have: the driver asks for it before it sends a simulation."""

LENGTHS = {registers.DMA_BASE + 0x28: registers.DMA_BASE + 0x04,
           registers.DMA_BASE + 0x58: registers.DMA_BASE + 0x34}  # fmt: skip
"""Registers that start a transfer, and where it is told when that is done."""
DONE, SLICE = 0x73, 256
"""Halted, idle, or in error; clocks at a time while time goes by."""

# PYNQ-Z2's clocks at boot: a crystal of 50 MHz, IO PLL x 20, FCLK0 = 1000 / 5 / 2 MHz (UG585).
_SLCR_AT_BOOT = {
    0x100: 0x0001A000, 0x104: 0x00015000, 0x108: 0x00014000, 0x170: 0x00200500, 0x180: 0x00100A00,
    0x190: 0x00100A00, 0x1A0: 0x00100A00,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Faults:
    """What to break: `stall`: the engine's answers stand still; `drop_last`: they have no TLAST;
    `slave_error`: memory refuses the DMA; `write_error`: the FPGA manager fails; `stale_image`:
    the manager says that it works, and nothing was loaded."""

    stall: bool = False
    drop_last: bool = False
    slave_error: bool = False
    write_error: bool = False
    stale_image: bool = False


@dataclass(slots=True)
class _Manager:
    """The kernel's FPGA manager."""

    state: str = "unknown"
    flags: bytes = b"0"
    firmware: bytes = b""
    downloads: int = 0


@dataclass(slots=True)
class _Parts:
    files: dict[str, bytes] = field(default_factory=dict)
    slcr: dict[int, int] = field(default_factory=lambda: dict(_SLCR_AT_BOOT))
    manager: _Manager = field(default_factory=_Manager)
    logic: Logic | None = None
    under_way: set[int] = field(default_factory=set)


class Machine:
    """One board. `close` ends its simulation."""

    def __init__(
        self,
        kind: str = "pynq-z2",
        *,
        cma_bytes: int | None = None,
        latencies: Latencies | None = None,
    ) -> None:
        self.kind = kind_of(kind)
        self.memory = Memory(cma_bytes or self.kind.cma_bytes)
        self.lock = threading.RLock()
        self.latencies = latencies or Latencies()
        self._faults = Faults()
        self._parts = _Parts(
            {
                "/proc/version": b"Linux version 5.15.0 (inferry simulated board) armv7l\n",
                "/proc/device-tree/chosen/pynq_board": self.kind.name.encode() + b"\0",
                "/proc/sys/kernel/random/boot_id": f"{uuid.uuid4()}\n".encode(),
                "/etc/hostname": b"pynq\n",
                MARK: b"1\n",
            }
        )
        self._parts.slcr[IDCODE_ADDRESS - SLCR] = self.kind.idcode

    def __repr__(self) -> str:
        return f"Machine({self.kind.name}, {self._parts.manager.state}, {self.memory})"

    def close(self) -> None:
        """Idempotent."""
        with self.lock:
            if self._parts.logic is not None:
                self._parts.logic.close()
                self._parts.logic = None

    # Files, as far as drivers ask for them.

    def exists(self, path: str) -> bool:
        return path in self._parts.files or path in self._living()

    def read_file(self, path: str) -> bytes:
        """Raises FileNotFoundError."""
        known = self._living()
        if path in known:
            return known[path]
        if path not in self._parts.files:
            raise FileNotFoundError(path)
        return self._parts.files[path]

    def _living(self) -> dict[str, bytes]:
        """Files that the kernel makes when they are read."""
        manager, total = self._parts.manager, len(self.memory.bytes)
        memory = f"CmaTotal: {total >> 10} kB\nCmaFree: {total - self.memory.used >> 10} kB\n"
        return {
            MANAGER + "state": manager.state.encode() + b"\n", MANAGER + "flags": manager.flags,
            MANAGER + "firmware": manager.firmware, "/proc/meminfo": memory.encode(),
        }  # fmt: skip

    def write_file(self, path: str, data: bytes) -> None:
        """A name written to the manager's `firmware` loads that file into the logic; whether it
        worked is in `state`, as the kernel has it. Raises BoardError for a file too large."""
        if len(data) > MOST_FILE_BYTES:
            raise BoardError(f"a file of more than {MOST_FILE_BYTES >> 20} MiB")
        with self.lock:
            if path == MANAGER + "firmware":
                self._parts.manager.firmware = data
                self._download(data.decode(errors="replace").strip().rstrip("\0"))
            elif path == MANAGER + "flags":
                self._parts.manager.flags = data
            elif path != MANAGER + "state":
                self._parts.files[path] = data

    def _download(self, name: str) -> None:
        manager = self._parts.manager
        manager.downloads += 1
        if self._faults.write_error:
            manager.state = "write error"
            return
        if self._faults.stale_image:
            manager.state = "operating"
            return
        found = self._parts.files.get(FIRMWARE + name)
        if found is None:
            manager.state = "firmware request error"
            return
        try:
            self._program(bitstream.to_bin(found))
            manager.state = "operating"
        except BitstreamError:
            # As on silicon: what was there before is gone, and only the state says so.
            self.close()
            manager.state = "write error"

    def _program(self, data: bytes) -> None:
        packets = read_packets(data)
        if (packets.idcode ^ self.kind.idcode) & IDCODE_MASK:
            raise BitstreamError("for another part")
        design = bitstream.simulated(packets.frames)
        self.close()
        if design is None:
            return  # a design that we cannot simulate: nothing answers
        self._parts.logic = Logic(design.shape, design.build, self.memory.bytes, BASE)
        self._parts.logic.set_latencies(self.latencies)
        self._apply_faults()

    # Registers.

    def read_register(self, address: int) -> int:
        """32 bits. Raises BoardError where nothing answers: a real board would hang or fault."""
        with self.lock:
            if SLCR <= address < SLCR + SLCR_BYTES:
                return self._parts.slcr.get(address - SLCR, 0)
            return self._logic_at(address).read(address)

    def write_register(self, address: int, value: int) -> None:
        """As `read_register`."""
        with self.lock:
            if SLCR <= address < SLCR + SLCR_BYTES:
                self._parts.slcr[address - SLCR] = value & 0xFFFFFFFF
                return
            self._logic_at(address).write(address, value)
            if address in LENGTHS:
                self._parts.under_way.add(LENGTHS[address])

    def pass_time(self, most_clocks: int) -> None:
        """Time goes by without an access: the clocks until the transfers under way are done, or
        ``most_clocks``, if that comes first. Without this, a board's clock stands still."""
        with self.lock:
            logic, under_way = self._parts.logic, self._parts.under_way
            while logic is not None and under_way and most_clocks > 0:
                logic.run(SLICE)
                most_clocks -= SLICE
                for status in list(under_way):
                    if logic.read(status) & DONE:
                        under_way.discard(status)

    def _logic_at(self, address: int) -> Logic:
        logic = self._parts.logic
        if logic is None or not LOGIC <= address < LOGIC_END:
            raise BoardError(f"nothing answers at {address:#x}")
        return logic

    # For tests and tools.

    @property
    def logic(self) -> Logic | None:
        return self._parts.logic

    @property
    def downloads(self) -> int:
        """How often the manager was asked to load."""
        return self._parts.manager.downloads

    @property
    def clock_mhz(self) -> float:
        """FCLK0, as the registers have it."""
        slcr = self._parts.slcr
        control = slcr[0x170]
        pll = {0: 0x108, 1: 0x108, 2: 0x100, 3: 0x104}[control >> 4 & 3]
        rate = 50.0 * (slcr[pll] >> 12 & 0x7F)
        return rate / max(1, control >> 8 & 0x3F) / max(1, control >> 20 & 0x3F)

    def set_faults(self, **faults: bool) -> None:
        """Named as in Faults; those not named are off."""
        with self.lock:
            self._faults = replace(Faults(), **faults)
            self._apply_faults()

    def _apply_faults(self) -> None:
        faults = self._faults
        if self._parts.logic is not None:
            self._parts.logic.set_faults(
                stall=faults.stall, drop_last=faults.drop_last, slave_error=faults.slave_error
            )
