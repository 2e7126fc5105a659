"""What real pynq does on simulated boards. Runs in .venv-pynq, not in the tests' own environment:

    python -m tests.fpga.board.pynq_checks FOLDER

FOLDER: an artifact with design.bit and design.hwh, inputs.npy and expected.npy. Prints for each
check what went wrong, "" for nothing, as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pynq
import pynqmetadata
import pytest
from pynq.pl_server.remote_device import RemoteDevice
from pynq.remote import buffer_pb2, buffer_pb2_grpc, mmio_pb2, mmio_pb2_grpc
from pynqmetadata.frontends import Metadata

from benchmarks.fpga import faults, walltime
from fpga import artifact as artifacts
from fpga.board import bitstream, hwh
from fpga.board.inprocess import SimulatedDevice, attach
from fpga.board.machine import MANAGER, Machine
from fpga.board.remote import serve
from fpga.driver import handoff, note, on_pynq
from fpga.driver.on_pynq import PynqHardware
from fpga.driver.session import Session
from fpga.errors import BitstreamError, BoardError, CapacityError, FpgaError
from fpga.isa import registers
from fpga.isa.shape import SMALL, EngineShape

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
STATE = MANAGER + "state"
_MINE = os.getpid()
HOSTS = tuple(f"127.{100 + _MINE % 100}.{_MINE // 100 % 250}.{last}" for last in (2, 3))
"""Of this process alone, as pynq knows one port only."""


def infer(overlay: Any, device: Any) -> None:
    """Digits through pynq's own DMA class, compared with what is expected."""
    made = artifacts.load(FOLDER)
    inputs, expected = np.load(FOLDER / "inputs.npy"), np.load(FOLDER / "expected.npy")
    send(overlay, device, made.load, 0)
    payloads = made.quantise(inputs)
    words = made.output_words * made.shape.word_beats
    beats = send(overlay, device, made.run_packet(payloads), len(inputs) * words)
    found = made.unpack(beats.reshape(len(inputs), words))
    assert (found.reshape(expected.shape) == expected).all()


def send(overlay: Any, device: Any, beats: Any, answer_beats: int) -> Any:
    """One packet, and its answer."""
    dma = overlay.axi_dma_0
    out = device.allocate((len(beats),), np.dtype("<u8"))
    out[:] = beats
    back = device.allocate((max(answer_beats, 1),), np.dtype("<u8"))
    if answer_beats:
        dma.recvchannel.transfer(back)
    dma.sendchannel.transfer(out)
    dma.sendchannel.wait()
    if answer_beats:
        dma.recvchannel.wait()
        back.invalidate()
    return np.array(back)[:answer_beats]


def in_process() -> None:
    machine = Machine("pynq-z2")
    device = attach(machine)
    overlay = pynq.Overlay(str(FOLDER / "design.bit"), device=device)
    assert machine.clock_mhz == 100.0
    assert int(overlay.engine_0.register_map.ID) == registers.ID_VALUE
    infer(overlay, device)
    overlay.leds_gpio.channel1[0:4].write(0b0110)
    assert machine.logic is not None
    assert machine.logic.leds == 0b0110
    machine.close()


def a_dma_in_a_block_of_its_own() -> None:
    """As designs of hls4ml have it: benchmarks.fpga.hls4ml runs their driver."""
    device = attach(Machine("pynq-z2"))
    with tempfile.TemporaryDirectory() as name:
        bit = Path(name) / "x.bit"
        shutil.copy(FOLDER / "design.bit", bit)
        described = hwh.make("xc7z020clg400-1", dma="hier_0/axi_dma_0")
        bit.with_suffix(".hwh").write_bytes(described)
        infer(pynq.Overlay(str(bit), device=device).hier_0, device)


def remote_two_boards() -> None:
    machines = [Machine("pynq-z2"), Machine("pynq-z1")]
    servers = [serve(m, host) for m, host in zip(machines, HOSTS, strict=True)]
    try:
        devices = [RemoteDevice(n, host) for n, host in enumerate(HOSTS)]
        assert [device.name for device in devices] == ["Pynq-Z2", "Pynq-Z1"]
        for device in devices:
            pynq.Device.active_device = device
            infer(pynq.Overlay(str(FOLDER / "design.bit"), device=device), device)
    finally:
        for server, machine in zip(servers, machines, strict=True):
            server.stop(0).wait()
            machine.close()


def selftest_of_pynq() -> None:
    machine = Machine("pynq-z2")
    server = serve(machine, HOSTS[0])
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "pynq.remote.selftest", "--ip", HOSTS[0], "--bitstream",
             str(FOLDER / "design.bit")],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "11 passed, 0 failed, 0 skipped" in ended.stdout, ended.stdout
    finally:
        server.stop(0).wait()
        machine.close()


def defect_1_no_frequency_for_zynq_7000() -> None:
    """A .hwh without UltraScale+'s parameter breaks Overlay(); the patched one does not. Vivado's
    own sample, which comes with pynq, lacks it too."""
    sample = Path(pynqmetadata.__file__).parent / "tests/hwhs/resizer.hwh"
    assert handoff.FREQUENCY.encode() not in sample.read_bytes()
    assert Metadata(input=str(sample))
    device = attach(Machine("pynq-z2"))
    with tempfile.TemporaryDirectory() as name:
        bit = Path(name) / "x.bit"
        bit.write_bytes((FOLDER / "design.bit").read_bytes())
        whole = (FOLDER / "design.hwh").read_bytes()
        without = whole.replace(handoff.FREQUENCY.encode(), b"NOTHING")
        bit.with_suffix(".hwh").write_bytes(without)
        try:
            pynq.Overlay(str(bit), device=device)
        except TypeError:
            pass
        else:
            raise AssertionError("pynq has mended it: the patch can go")
        bit.with_suffix(".hwh").write_bytes(handoff.mended(without))
        pynq.Overlay(str(bit), device=device)


def defect_2_a_file_of_the_same_name_is_not_sent_again() -> None:
    """So another design of that name is not what runs; names by content are."""
    machine = Machine("pynq-z2")
    server = serve(machine, HOSTS[0])
    other = EngineShape(**{**SMALL.as_dict(), "d_words": 32})
    design = bitstream.SimulatedDesign(other, "f" * 32)
    second = bitstream.make(design, machine.kind.part, machine.kind.idcode, "x")
    try:
        device = RemoteDevice(0, HOSTS[0])
        pynq.Device.active_device = device
        with tempfile.TemporaryDirectory() as name:
            paths = [Path(name) / each / "x.bit" for each in "ab"]
            for path, data in zip(
                paths, ((FOLDER / "design.bit").read_bytes(), second), strict=True
            ):
                path.parent.mkdir()
                path.write_bytes(data)
                shutil.copy(FOLDER / "design.hwh", path.with_suffix(".hwh"))
            for path in paths:
                pynq.Overlay(str(path), device=device)
        built = machine.read_register(registers.ENGINE_BASE + registers.BUILD[0])
        assert built != 0xFFFFFFFF, "pynq has mended it: content names can go"
    finally:
        server.stop(0).wait()
        machine.close()


def defect_3_a_changed_description_is_read_anew() -> None:
    """pynq keeps the last .hwh by the bitstream's name; the device in process does not."""
    with tempfile.TemporaryDirectory() as name:
        bit = Path(name) / "x.bit"
        shutil.copy(FOLDER / "design.bit", bit)
        text = (FOLDER / "design.hwh").read_text()
        for leds in ("leds_gpio", "lamps_gpio"):
            bit.with_suffix(".hwh").write_text(text.replace("leds_gpio", leds))
            overlay = pynq.Overlay(str(bit), device=attach(Machine("pynq-z2")))
            assert leds in overlay.ip_dict, sorted(overlay.ip_dict)


def remote_a_slow_sender_holds_nobody_up() -> None:
    machine = Machine("pynq-z2", cma_bytes=1 << 16)
    server = serve(machine, HOSTS[0])
    ends, begun = threading.Event(), threading.Event()
    try:
        with grpc.insecure_channel(f"{HOSTS[0]}:7967") as channel:
            buffers = buffer_pb2_grpc.RemoteBufferStub(channel)
            areas = mmio_pb2_grpc.MmioStub(channel)
            name = buffers.allocate(buffer_pb2.AllocateRequest(size=4096)).buffer_id

            def part(start: int) -> Any:
                return buffer_pb2.BufferWriteRequest(buffer_id=name, data=b"x" * 8, start=start)

            def parts() -> Any:
                yield part(0)
                begun.set()
                ends.wait(60)

            slow = buffers.write.future(parts())
            assert begun.wait(60)
            while (
                not buffers.read(buffer_pb2.BufferReadRequest(buffer_id=name), timeout=5)
                .next()
                .data.startswith(b"x")
            ):
                pass
            area = areas.get_mmio(mmio_pb2.GetMmioRequest(base_addr=0xF8000000, length=4096))
            asked = mmio_pb2.ReadRequest(mmio_id=area.mmio_id, offset=0x170, length=4)
            assert areas.read(asked, timeout=5).status
            ends.set()
            assert slow.result(timeout=10).msg == ""
            for start in (-4, -4096, 4089, 2**31 - 1):
                assert "within the buffer" in buffers.write(iter([part(start)]), timeout=5).msg
    finally:
        ends.set()
        server.stop(0).wait()
        machine.close()


def defect_4_a_wrong_part_is_no_error() -> None:
    """Overlay() returns; only the manager's state tells."""
    machine = Machine("arty-z7-10")
    device = attach(machine)
    overlay = pynq.Overlay(str(FOLDER / "design.bit"), device=device)
    assert overlay.is_loaded()
    assert machine.read_file(STATE) == b"write error\n"


def defect_5_waiting_has_no_end() -> None:
    machine = Machine("pynq-z2")
    device = attach(machine)
    overlay = pynq.Overlay(str(FOLDER / "design.bit"), device=device)
    machine.set_faults(drop_last=True)
    thread = threading.Thread(target=_quiet, args=(lambda: infer(overlay, device),), daemon=True)
    thread.start()
    thread.join(3.0)
    assert thread.is_alive(), "pynq has mended it: it gave up by itself"


def a_missing_flush_shows() -> None:
    machine = Machine("pynq-z2")
    buffer = attach(machine).allocate((8,), np.uint8)
    buffer[:] = 7
    assert not machine.memory.bytes[:8].any()
    buffer.flush()
    assert (machine.memory.bytes[:8] == 7).all()


def memory_runs_out_at_once() -> None:
    device = attach(Machine("pynq-z2", cma_bytes=1 << 16))
    kept = device.allocate((1 << 15,), np.uint8)
    try:
        device.allocate((1 << 16,), np.uint8)
    except MemoryError:
        pass
    else:
        raise AssertionError("more memory than there is")
    del kept
    device.allocate((1 << 16,), np.uint8)


def _session(device: Any) -> Session:
    made = artifacts.load(FOLDER)
    parts = [(FOLDER / name).read_bytes() for name in ("design.bit", "design.hwh")]
    return Session(made, parts[0], parts[1], PynqHardware(device))


def _answers(session: Session) -> Any:
    inputs, expected = np.load(FOLDER / "inputs.npy"), np.load(FOLDER / "expected.npy")
    found = session.artifact.unpack(session.run_beats(session.artifact.quantise(inputs)))
    assert (found.reshape(expected.shape) == expected).all()


def driver_in_process() -> None:
    """Answers, a second opening without a download, and faults of every kind with a way back."""
    machine = Machine("pynq-z2")
    device = attach(machine)
    with _session(device) as session:
        _answers(session)
    with _session(device) as session:
        assert session.downloads == 0
        for fault in ("stall", "drop_last", "slave_error"):
            machine.set_faults(**{fault: True})
            try:
                _answers(session)
            except BoardError:
                machine.set_faults()
            else:
                raise AssertionError(f"{fault} was not noticed")
            _answers(session)
        assert session.recoveries == 3
    assert machine.memory.used == 0


def driver_remote() -> None:
    """And what is on the board under another content's name is not taken for this."""
    machine = Machine("pynq-z2")
    server = serve(machine, HOSTS[0])
    try:
        with _session(RemoteDevice(0, HOSTS[0])) as session:
            _answers(session)
            assert session.downloads == 1
    finally:
        server.stop(0).wait()
        machine.close()


def driver_remote_takes_a_changed_description() -> None:
    """pynq itself would take the one that it kept for the same bitstream."""
    machine = Machine("pynq-z2")
    server = serve(machine, HOSTS[0])
    made, hwh = artifacts.load(FOLDER), (FOLDER / "design.hwh").read_bytes()
    bit = (FOLDER / "design.bit").read_bytes()
    try:
        for leds in (b"leds_gpio", b"lamps_gpio", b"leds_gpio"):  # it keeps each second one
            device = RemoteDevice(0, HOSTS[0])
            described = hwh.replace(b"leds_gpio", leds)
            with Session(made, bit, described, PynqHardware(device)):
                assert leds.decode() in device.ip_dict, sorted(device.ip_dict)
    finally:
        server.stop(0).wait()
        machine.close()


def driver_refuses_a_wrong_part_and_finds_a_stale_image() -> None:
    for kind, broken in (("arty-z7-10", {}), ("pynq-z2", {"stale_image": True})):
        machine = Machine(kind)
        device = attach(machine)
        machine.set_faults(**broken)
        try:
            _session(device).open()
        except BitstreamError:
            continue
        raise AssertionError(kind)


def driver_downloads_again_unless_it_is_certain_what_is_loaded() -> None:
    """Another design under another name, another boot, a note that is none: each time."""
    machine = Machine("pynq-z2")
    device = attach(machine)

    def open_and_count() -> int:
        with _session(device) as session:
            _answers(session)
            return session.downloads

    assert [open_and_count(), open_and_count()] == [1, 0]
    pynq.Overlay(str(FOLDER / "design.bit"), device=device)
    assert [open_and_count(), open_and_count()] == [1, 0]
    machine.write_file(on_pynq.BOOT, b"another boot\n")
    assert [open_and_count(), open_and_count()] == [1, 0]
    machine.write_file(note.PATH, b"\xff" * 40)
    assert [open_and_count(), open_and_count()] == [1, 0]


def driver_asks_the_silicon_where_the_name_says_nothing() -> None:
    machine = Machine("arty-z7-10")
    machine.write_file(on_pynq.BOARD, b"Some-Board\0")
    with pytest.raises(BitstreamError, match="for a 7z020, and the board has a 7z010"):
        _session(attach(machine)).open()
    assert machine.downloads == 0


def driver_compares_the_memory_that_is_there() -> None:
    machine = Machine("pynq-z2", cma_bytes=1 << 15)
    with pytest.raises(CapacityError, match="the board has 32,768"):
        _session(attach(machine)).open()
    assert machine.downloads == 0


def driver_mends_a_foreign_description() -> None:
    made = artifacts.load(FOLDER)
    bit, hwh = ((FOLDER / name).read_bytes() for name in ("design.bit", "design.hwh"))
    foreign = hwh.replace(handoff.FREQUENCY.encode(), b"NOTHING")
    foreign = foreign.replace(b"<EXTERNALPORTS/>", b"").replace(b"axi_gpio:2.0", b"axi_gpio:2")
    machine = Machine("pynq-z2")
    with Session(made, bit, foreign, PynqHardware(attach(machine))) as session:
        _answers(session)
    # Vivado's own, of another design, which comes with pynq: it can be read once it is mended.
    sample = Path(pynqmetadata.__file__).parent / "tests/hwhs/resizer.hwh"
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.bit"
        shutil.copy(FOLDER / "design.bit", path)
        described = handoff.mended(sample.read_bytes())
        handoff.check(described)  # it happens to have its registers where ours are
        path.with_suffix(".hwh").write_bytes(described)
        overlay = pynq.Overlay(str(path), device=attach(Machine("pynq-z2")))
        assert "axi_dma_0" in overlay.ip_dict
    for wrong in (hwh.replace(b"0x43C00000", b"0x43D00000"), b"<EDKSYSTEM/>", b"x"):
        with pytest.raises(BitstreamError):
            Session(made, bit, wrong, PynqHardware(attach(Machine("pynq-z2")))).open()


class _Stuck(Machine):
    """From some time on, it answers nothing that concerns its logic."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.ends, self.is_stuck = threading.Event(), False

    def read_register(self, address: int) -> int:
        if self.is_stuck:
            self.ends.wait(60)
        return super().read_register(address)


def driver_remote_calls_have_deadlines() -> None:
    """A board that takes calls and answers none is an error soon, and comes back."""
    machine = _Stuck("pynq-z2")
    server = serve(machine, HOSTS[0])
    kept, on_pynq.CALL_S = on_pynq.CALL_S, 2.0
    try:
        with _session(RemoteDevice(0, HOSTS[0])) as session:
            _answers(session)
            machine.is_stuck = True
            began = time.monotonic()
            with pytest.raises(BoardError, match="Deadline"):
                _answers(session)
            assert time.monotonic() - began < 15
            machine.is_stuck = False
            machine.ends.set()
            _answers(session)
            assert session.recoveries == 1
    finally:
        on_pynq.CALL_S = kept
        machine.ends.set()
        server.stop(0).wait()
        machine.close()


def driver_a_board_that_is_gone_is_an_error_and_closes() -> None:
    machine = Machine("pynq-z2")
    server = serve(machine, HOSTS[0])
    try:
        with _session(RemoteDevice(0, HOSTS[0])) as session:
            _answers(session)
            server.stop(0).wait()
            for _ in range(2):
                with pytest.raises(FpgaError):
                    _answers(session)
    finally:
        server.stop(0).wait()
        machine.close()


class _Local(SimulatedDevice):
    """A board whose files are those of this machine, as on the board itself."""

    exists_file = read_file = write_file = None  # type: ignore[assignment]


def driver_on_the_board_itself() -> None:
    """The kernel there does not tell what it loaded last: pynq's own records do."""
    machine = Machine("pynq-z2")
    device = _Local(machine, f"local-{_MINE}")
    pynq.Device.active_device = device
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        root = Path(name)
        for constant in ("SIMULATED", "BOARD", "BOOT", "MEMORY"):
            patch.setattr(on_pynq, constant, str(root / constant))
        patch.setattr(on_pynq, "MANAGER", f"{root}/")
        patch.setattr(on_pynq, "FIRMWARE", root)
        patch.setattr(on_pynq, "_folder_of_records", lambda: root)
        patch.setattr(note, "PATH", str(root / "note"))
        (root / "SIMULATED").write_bytes(b"1")
        (root / "BOARD").write_bytes(b"Pynq-Z2\0")
        (root / "BOOT").write_bytes(b"boot-1\n")
        (root / "MEMORY").write_bytes(b"MemTotal: 5 kB\nCmaTotal:  131072 kB\n")
        (root / "state").write_bytes(b"operating\n")
        (root / "firmware").mkdir()  # it is there, and cannot be read
        (root / "inferry_before.bin").write_bytes(b"x")
        records = root / "global_pl_state_.json"
        records.write_bytes(b"{}")

        def open_and_count() -> int:
            with _session(device) as session:
                _answers(session)
                return session.downloads

        board = PynqHardware(device)
        assert (board.name, board.idcode) == ("Pynq-Z2", machine.kind.idcode)
        assert (board.cma_bytes(), board.loaded()) == (128 << 20, None)
        assert [open_and_count(), open_and_count()] == [1, 0]
        assert not (root / "inferry_before.bin").exists()
        records.write_bytes(b'{"bitfile_name": "base.bit"}')
        assert [open_and_count(), open_and_count()] == [1, 0]
        (root / "note").unlink()
        (root / "note").mkdir()  # it can be neither read nor written
        assert [open_and_count(), open_and_count()] == [1, 1]


def driver_leaves_one_bitstream_on_a_board() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in ("inferry_old.bin", "inferry_new.bin", "base.bin", "inferry_new.txt"):
            (folder / each).write_bytes(b"x")
        on_pynq._sweep(folder, "inferry_new")
        assert sorted(path.name for path in folder.iterdir()) == [
            "base.bin", "inferry_new.bin", "inferry_new.txt",
        ]  # fmt: skip
        on_pynq._sweep(folder / "nothing", "x")


def driver_finds_a_board_or_gives_up() -> None:
    ends = threading.Event()
    with pytest.raises(BoardError, match="does not answer"):
        on_pynq._within(0.2, lambda: ends.wait(60))
    ends.set()
    assert on_pynq._within(30, lambda: 3) == 3


def faults_of_every_kind_are_errors_with_a_way_back() -> None:
    """The thousand of `make bench-fpga`, in short: one of each kind, on either board."""
    found = faults.inside(FOLDER, 16)
    assert sum(one.errors for one in found) >= 16
    for one in found:
        assert not one.wrong, one
        assert one.worst_error_s < 10.0, one  # a second, but for a machine that does much else


def the_drivers_time_can_be_measured() -> None:
    kept, walltime.BATCHES = walltime.BATCHES, {1: 5, 64: 3}
    try:
        found = walltime.inside(FOLDER)
    finally:
        walltime.BATCHES = kept
    assert [(one.board, one.batch) for one in found] == [
        ("in process", 1), ("in process", 64), ("PYNQ.remote", 1), ("PYNQ.remote", 64),
    ]  # fmt: skip
    # Time depends on what else the machine does; what the driver asks of the board does not.
    assert [one.accesses for one in found][2:] == [6, 6]


def _quiet(act: Callable[[], None]) -> None:
    try:
        act()
    except Exception:
        return


CHECKS: tuple[Callable[[], None], ...] = (
    in_process, a_dma_in_a_block_of_its_own, remote_two_boards,
    selftest_of_pynq, defect_1_no_frequency_for_zynq_7000,
    defect_2_a_file_of_the_same_name_is_not_sent_again, defect_3_a_changed_description_is_read_anew,
    remote_a_slow_sender_holds_nobody_up, defect_4_a_wrong_part_is_no_error,
    driver_in_process,
    driver_remote,
    driver_remote_takes_a_changed_description,
    driver_refuses_a_wrong_part_and_finds_a_stale_image,
    driver_downloads_again_unless_it_is_certain_what_is_loaded,
    driver_asks_the_silicon_where_the_name_says_nothing,
    driver_compares_the_memory_that_is_there,
    driver_mends_a_foreign_description,
    driver_remote_calls_have_deadlines,
    driver_a_board_that_is_gone_is_an_error_and_closes,
    driver_finds_a_board_or_gives_up,
    driver_leaves_one_bitstream_on_a_board,
    driver_on_the_board_itself,
    faults_of_every_kind_are_errors_with_a_way_back,
    the_drivers_time_can_be_measured,
    a_missing_flush_shows, memory_runs_out_at_once, defect_5_waiting_has_no_end,
)  # fmt: skip


def main() -> None:
    found = {}
    for check in CHECKS:
        try:
            check()
            found[check.__name__] = ""
        except BaseException:  # pytest.raises has one of its own
            found[check.__name__] = traceback.format_exc()
    print(json.dumps(found), flush=True)
    os._exit(0)  # one of them still waits, as it shall


if __name__ == "__main__":
    main()
