"""The simulated board behind PYNQ.remote's gRPC: the same wire as a board that runs its server.

    server = serve(Machine("pynq-z2"), "127.0.0.2")      # port 7967, the only one that pynq knows
    ...
    server.stop(1)

Whoever reaches it may write any file of the simulated board, as on a real one: it listens on
loopback unless it is told otherwise. Malformed requests are answered, never fatal.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
from pynq.remote import (
    buffer_pb2,
    buffer_pb2_grpc,
    gpio_pb2,
    gpio_pb2_grpc,
    mmio_pb2,
    mmio_pb2_grpc,
    remote_device_pb2,
    remote_device_pb2_grpc,
)

from fpga.board.machine import MOST_FILE_BYTES, Machine
from fpga.board.memory import Block
from fpga.errors import BoardError, FpgaError

log = logging.getLogger("inferry.fpga.board")
PORT = 7967
CHUNK = 1 << 20
MOST_MESSAGE = 16 << 20
MOST_HANDLES = 65_536
CALL_CLOCKS = 10_000
"""Of 100 MHz: a call takes at least a tenth of a millisecond. An assumption, and a low one."""


def serve(machine: Machine, host: str = "127.0.0.1", port: int = PORT) -> grpc.Server:
    """Serve until `stop` is called. Raises BoardError where the address cannot be had."""
    server = grpc.server(
        ThreadPoolExecutor(8, thread_name_prefix="board"),
        options=[("grpc.max_receive_message_length", MOST_MESSAGE), ("grpc.so_reuseport", 0)],
    )
    remote_device_pb2_grpc.add_RemoteDeviceServicer_to_server(_Device(machine), server)
    mmio_pb2_grpc.add_MmioServicer_to_server(_Mmio(machine), server)
    buffer_pb2_grpc.add_RemoteBufferServicer_to_server(_Buffers(machine), server)
    gpio_pb2_grpc.add_GpioServicer_to_server(_Gpio(), server)
    try:
        found = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        found = 0
    if found == 0:
        raise BoardError(f"cannot listen on {host}:{port}: is another board there?")
    server.start()
    return server


class _Device(remote_device_pb2_grpc.RemoteDeviceServicer):  # type: ignore[misc]
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def existsfile(self, request: Any, _context: Any) -> Any:
        found = self._machine.exists(request.file_path)
        return remote_device_pb2.ExistsFileResponse(exists=found)

    def readfile(self, request: Any, context: Any) -> Iterator[Any]:
        try:
            data = self._machine.read_file(request.file_path)
        except FileNotFoundError:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no file {request.file_path}")
            return
        for at in range(0, max(len(data), 1), CHUNK):
            yield remote_device_pb2.ReadFileResponse(data=data[at : at + CHUNK])

    def writefile(self, requests: Iterable[Any], context: Any) -> Any:
        path, parts, size = "", [], 0
        for request in requests:
            path = path or request.file_path
            parts.append(request.data)
            size += len(request.data)
            if size > MOST_FILE_BYTES:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the file is too large")
        try:
            self._machine.write_file(path, b"".join(parts))
        except FpgaError as error:
            log.warning("%s: %s", path, error)
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return remote_device_pb2.WriteFileResponse()

    def set_bitstream_attrs(self, _request: Any, _context: Any) -> Any:
        return remote_device_pb2.SetBitstreamAttrsResponse(status=True)


class _Mmio(mmio_pb2_grpc.MmioServicer):  # type: ignore[misc]
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._areas: dict[str, tuple[int, int]] = {}
        self._numbers = itertools.count(1)

    def get_mmio(self, request: Any, _context: Any) -> Any:
        if request.base_addr % 4 or not 0 < request.length <= 1 << 30:
            return mmio_pb2.GetMmioResponse(status=False, msg="a word-aligned area is needed")
        if len(self._areas) >= MOST_HANDLES:
            return mmio_pb2.GetMmioResponse(status=False, msg="too many areas")
        name = str(next(self._numbers))
        self._areas[name] = (request.base_addr, request.length)
        return mmio_pb2.GetMmioResponse(status=True, msg="", mmio_id=name)

    def read(self, request: Any, _context: Any) -> Any:
        # A call is under way for a while, and a board's clock goes on meanwhile.
        self._machine.pass_time(CALL_CLOCKS)
        try:
            value = self._machine.read_register(self._address(request, 4))
        except FpgaError as error:
            return mmio_pb2.ReadResponse(status=False, msg=str(error))
        return mmio_pb2.ReadResponse(status=True, msg="", data=value)

    def write(self, request: Any, _context: Any) -> Any:
        # The board's own server writes the first four bytes, and so does this one.
        try:
            word = int.from_bytes(request.data[:4].ljust(4, b"\0"), "little")
            self._machine.write_register(self._address(request, 4), word)
        except FpgaError as error:
            return mmio_pb2.WriteResponse(status=False, msg=str(error))
        return mmio_pb2.WriteResponse(status=True, msg="")

    def _address(self, request: Any, size: int) -> int:
        area = self._areas.get(request.mmio_id)
        if area is None:
            raise BoardError(f"no area {request.mmio_id[:40]!r}")
        if request.offset % 4 or not 0 <= request.offset <= area[1] - size:
            raise BoardError(f"offset {request.offset} is not within {area[1]} bytes")
        return int(area[0] + request.offset)


class _Buffers(buffer_pb2_grpc.RemoteBufferServicer):  # type: ignore[misc]
    def __init__(self, machine: Machine) -> None:
        self._memory, self._lock = machine.memory, machine.lock
        self._blocks: dict[str, Block] = {}
        self._numbers = itertools.count(1)

    def allocate(self, request: Any, _context: Any) -> Any:
        def act() -> Any:
            block = self._memory.allocate(request.size, is_cacheable=True)
            name = str(next(self._numbers))
            self._blocks[name] = block
            return buffer_pb2.AllocateResponse(msg="", buffer_id=name)

        return self._done(act, buffer_pb2.AllocateResponse)

    def write(self, requests: Iterable[Any], _context: Any) -> Any:
        at = 0
        try:
            for request in requests:
                at = request.start or at
                # Only for what is here: who sends slowly holds nobody else up.
                with self._lock:
                    self._put(request, at)
                at += len(request.data)
        except FpgaError as error:
            return buffer_pb2.BufferWriteResponse(msg=str(error))
        return buffer_pb2.BufferWriteResponse(msg="")

    def _put(self, request: Any, at: int) -> None:
        block = self._block(request)
        if not 0 <= at <= block.size - len(request.data):
            raise BoardError("the data do not lie within the buffer")
        block.shadow[at : at + len(request.data)] = np.frombuffer(request.data, np.uint8)

    def read(self, request: Any, _context: Any) -> Iterator[Any]:
        try:
            with self._lock:
                data = self._block(request).shadow.tobytes()
        except FpgaError as error:
            yield buffer_pb2.BufferReadResponse(msg=str(error))
            return
        # All of it, whatever is asked for, as the board's own server does.
        for at in range(0, max(len(data), 1), CHUNK):
            yield buffer_pb2.BufferReadResponse(msg="", data=data[at : at + CHUNK])

    def flush(self, request: Any, _context: Any) -> Any:
        def act() -> Any:
            self._memory.flush(self._block(request))
            return buffer_pb2.FlushResponse(msg="")

        return self._done(act, buffer_pb2.FlushResponse)

    def invalidate(self, request: Any, _context: Any) -> Any:
        def act() -> Any:
            self._memory.invalidate(self._block(request))
            return buffer_pb2.InvalidateResponse(msg="")

        return self._done(act, buffer_pb2.InvalidateResponse)

    def physical_address(self, request: Any, _context: Any) -> Any:
        return self._done(
            lambda: buffer_pb2.AddressResponse(msg="", address=self._block(request).address),
            buffer_pb2.AddressResponse,
        )

    virtual_address = physical_address

    def cacheable(self, request: Any, _context: Any) -> Any:
        return self._done(
            lambda: buffer_pb2.CacheableResponse(
                msg="", cacheable=self._block(request).is_cacheable
            ),
            buffer_pb2.CacheableResponse,
        )

    def freebuffer(self, request: Any, _context: Any) -> Any:
        def act() -> Any:
            self._memory.free(self._block(request))
            del self._blocks[request.buffer_id]
            return buffer_pb2.FreeBufferResponse(msg="")

        return self._done(act, buffer_pb2.FreeBufferResponse)

    def _block(self, request: Any) -> Block:
        found = self._blocks.get(request.buffer_id)
        if found is None:
            raise BoardError(f"no buffer {request.buffer_id[:40]!r}")
        return found

    def _done(self, act: Callable[[], Any], response: Any) -> Any:
        try:
            with self._lock:
                return act()
        except FpgaError as error:
            return response(msg=str(error))


class _Gpio(gpio_pb2_grpc.GpioServicer):  # type: ignore[misc]
    """A simulated board has no pins of the processing system."""

    def get_gpio(self, _request: Any, _context: Any) -> Any:
        return gpio_pb2.GetGpioResponse(message="a simulated board has no such pins", gpio_id="")

    def is_exported(self, _request: Any, _context: Any) -> Any:
        return gpio_pb2.GpioIsExportedResponse(is_exported=False)

    def unexport(self, _request: Any, _context: Any) -> Any:
        return gpio_pb2.GpioUnexportResponse()

    def get_gpio_base_path(self, _request: Any, _context: Any) -> Any:
        return gpio_pb2.GetGpioBasePathResponse(base_path="")

    def get_gpio_npins(self, _request: Any, _context: Any) -> Any:
        return gpio_pb2.GetGpioNPinsResponse(npins=0)
