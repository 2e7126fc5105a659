"""One server process: connections come from the supervisor, the models (or script workers) are its
own. Runs in a forked child.

exit_code = run(generation, link, settings)
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import socket
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from scoring import news
from scoring.azure.config import ConfigError
from scoring.bundle import Bundle
from scoring.config import ServerConfig
from scoring.cpu_plan import CpuPlan
from scoring.dispatcher import Dispatcher
from scoring.errors import (
    BundleError,
    EngineStartError,
    ModelLoadError,
    ScoringError,
    ScriptLoadError,
)
from scoring.http.front import Front
from scoring.http.protocol import ScoringProtocol
from scoring.http.site import Site
from scoring.http.watch import open_watch
from scoring.metrics import Ledger
from scoring.policy import drain_s, rows_limit
from scoring.quarantine import Quarantine
from scoring.repository import ModelRepository
from scoring.service import (
    ModelService,
    ScriptService,
    Shared,
    bundle_service,
    script_service,
)
from scoring.supervision.link_messages import Ask, Drain, GiveBack, Retire, Tell
from scoring.supervision.parent_link import Command, ParentLink
from scoring.watching.shadow import Shadow

logger = logging.getLogger("scoring")

LOAD_FAILED_EXIT = 3
"""Exit code when the model or script does not load (the reference's: serving.md, section 2.2)."""
REFUSED_EXIT = 1
"""Exit code when nothing is wrong with the model, but it cannot be served here."""
FAILED_S = 1.0
"""How long a process whose model does not load waits to be told how to leave."""
TICK_S = 0.25
KEPT_BYTES = 32 * 1024 * 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
GC_THRESHOLD = 50_000
"""Allocations between two collections: the hot path leaves no cycles, so they find nothing."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What is served until the next reload: a bundle, or the script that ``environ`` names."""

    bundle: Bundle | None
    environ: Mapping[str, str]
    is_exclusive: bool = False
    """One process at most can have its engine (scoring/engines.py)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What does not change with a reload. The quarantine is the supervisor's at the fork."""

    config: ServerConfig
    plan: CpuPlan
    quarantine: Quarantine


class Control(msgspec.Struct, frozen=True, array_like=True):
    """An Ask: load or unload a model in every process."""

    what: str
    model: str


def run(generation: Generation, link: ParentLink, settings: Settings) -> int:
    """Serve until told to leave; the exit code."""
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    _keep_freed_memory()
    try:
        process = ServerProcess(generation, link, settings)
    except (ScoringError, ConfigError) as error:
        link.failed(_load_message(error), _load_exit_code(error))
        return _load_exit_code(error)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(process.main())


class ServerProcess:
    """Named phases of one server process."""

    def __init__(self, generation: Generation, link: ParentLink, settings: Settings) -> None:
        self._link = link
        self._config = settings.config
        self._environ = generation.environ
        self._quarantine = settings.quarantine
        self._ledger = Ledger()
        shared = Shared(
            settings.config,
            self._ledger,
            settings.quarantine,
            recorder=link.life,
            threads=settings.plan.threads or 1,
            workers=settings.plan.workers or 1,
            tell=lambda item: link.tell(news.pack(os.getpid(), [item])),
        )
        self._service: ScriptService | ModelRepository[ModelService] = (
            script_service(generation.environ, shared)
            if generation.bundle is None
            else bundle_service(generation.bundle, shared, generation.environ)
        )
        self._shadow = _shadow(settings.config, generation.environ, self._ledger)
        self._site = Site(
            self._service,
            settings.config,
            self._ledger,
            snapshots=self._snapshots,
            is_other_ready=lambda: link.board.ready_count() > 0,
            control=self._control,
            shadow=self._shadow,
        )
        self._front = Front(self._site, settings.config, self._ledger, link)
        self._left = asyncio.Event()
        self._exit_code = 0
        self._is_loaded = False
        self._restarts: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    async def main(self) -> int:
        """Take connections at once, so that liveness answers while the model loads; then load;
        then serve."""
        loop = asyncio.get_running_loop()
        self._front.start()
        self._link.attach(loop, self._on_connection, self._on_command)
        self._spawn(self._load())
        self._spawn(self._tick())
        await self._left.wait()
        self._front.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close()
        self._publish()
        return self._exit_code

    async def _load(self) -> None:
        try:
            await self._open_watching()
            if isinstance(self._service, ScriptService):
                self._service.dispatcher.on_change = self._mark_ready
                await self._service.dispatcher.start()
            else:
                self._service.on_change = self._mark_ready
                await self._service.start()
            if self._shadow is not None:
                self._shadow.attach(self._service)
        except Exception as error:
            if not isinstance(error, ScoringError):  # else nobody would see it, and wait for ever
                logger.exception("loading failed")
            self._exit_code = _load_exit_code(error)
            self._link.failed(_load_message(error), self._exit_code)
            # Whoever is connected is not cut off: a Drain or a Retire comes.
            asyncio.get_running_loop().call_later(FAILED_S, self._left.set)
            return
        self._say_merging()
        self._is_loaded = True
        self._link.ready()
        self._mark_ready()

    async def _open_watching(self) -> None:
        """Capture, traces and shadow. One that does not open is the operator's mistake and ends the
        start; a process that takes a dead one's place must serve all the same."""
        try:
            self._front.watch = open_watch(self._config, self._environ)
            if self._shadow is not None:
                await self._shadow.start(self._service)
        except ScoringError as error:
            board = self._link.board
            if not board.restarts or self._link.generation != board.generation:
                raise
            logger.error("this process serves without it: %s", error)

    async def _close(self) -> None:
        service = self._service
        own = service.dispatcher if isinstance(service, ScriptService) else service
        closing = [own.close()]
        if self._shadow is not None:
            closing.append(self._shadow.close())
        if self._front.watch is not None:
            closing.append(self._front.watch.close())
        await asyncio.gather(*closing)

    # What the supervisor says

    def _on_connection(self, sock: socket.socket, slot: int) -> None:
        task = self._spawn(self._connect(sock, slot))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, sock: socket.socket, slot: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: ScoringProtocol(self._front, loop, slot), sock
            )
        except OSError:  # it was gone before it was ours
            sock.close()
            self._link.closed(slot)

    def _on_command(self, command: Command) -> None:
        if isinstance(command, Drain):
            self._spawn(self._drain(command.seconds))
        elif isinstance(command, Retire):
            self._spawn(self._retire())
        elif isinstance(command, GiveBack):
            self._front.give_back(command.count)
        elif isinstance(command, Tell):
            news.take(command.payload, os.getpid(), self._quarantine)
        elif isinstance(command, Ask):
            self._spawn(self._obey(command))

    async def _drain(self, seconds: float) -> None:
        self._site.is_draining = True
        self._link.not_ready()
        until = time.monotonic() + seconds
        for dispatcher in self._dispatchers():
            dispatcher.drain(until)
        await self._connected()
        await self._front.drain(until)
        self._left.set()

    async def _retire(self) -> None:
        await self._connected()
        self._front.retire()
        while self._front.connections:
            await asyncio.sleep(0.02)
        self._left.set()

    async def _connected(self) -> None:
        """Until what was passed to us before is counted among the front's connections."""
        await asyncio.gather(*self._connecting, return_exceptions=True)

    async def _obey(self, ask: Ask) -> None:
        answer = b""
        try:
            control = msgspec.msgpack.decode(ask.payload, type=Control)
            assert not isinstance(self._service, ScriptService)
            if control.what == "load":
                await self._service.load(control.model)
            else:
                await self._service.unload(control.model)
        except ScoringError as error:
            answer = str(error).encode()
        except Exception as error:
            logger.exception("a model could not be changed")
            answer = f"internal error: {type(error).__name__}".encode()
        self._link.answer(ask.id, answer)

    async def _control(self, what: str, model: str) -> None:
        """Load or unload a model in every process. Raises ModelLoadError."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[bytes]] = loop.create_future()

        def on_answers(answers: list[bytes], missing: int) -> None:
            if not done.done():
                done.set_result([*answers, *[b"a process did not answer"] * missing])

        self._link.ask(msgspec.msgpack.encode(Control(what, model)), on_answers)
        failures = [answer.decode() for answer in await done if answer]
        if failures:
            raise ModelLoadError(failures[0])

    # Metrics and readiness

    async def _tick(self) -> None:
        while True:
            try:
                self._publish()
            except Exception:
                logger.exception("the metrics of this process are not up to date")
            await asyncio.sleep(TICK_S)

    def _mark_ready(self) -> None:
        service = self._service
        if isinstance(service, ScriptService):
            is_ready = service.engine.ready
        elif self._is_loaded:
            is_ready = service.is_ready
        else:
            return
        if self._site.is_draining or not is_ready:
            self._link.not_ready()
        elif not self._link.life.is_ready:
            self._link.ready()

    def _snapshots(self) -> list[bytes]:
        self._publish()
        board = self._link.board
        restarts = Ledger()
        restarts.restarted("process", board.restarts)
        return [restarts.snapshot(), *(snapshot for snapshot in board.snapshots() if snapshot)]

    def _publish(self) -> None:
        ledger = self._ledger
        for key, dispatcher in self._named_dispatchers():
            load, cost = dispatcher.load, dispatcher.cost
            ledger.gauge("inferry_waiting", key, load.waiting)
            ledger.gauge("inferry_running", key, dispatcher.in_flight - load.waiting)
            ledger.gauge("inferry_in_flight", key, dispatcher.in_flight)
            ledger.gauge("inferry_expected_drain_seconds", key, drain_s(load))
            ledger.gauge("inferry_ready", key, float(dispatcher.engine.ready))
            ledger.gauge("inferry_batch_cost_a_seconds", key, cost.a)
            ledger.gauge("inferry_batch_cost_b_seconds", key, cost.b)
            limit = rows_limit(
                cost,
                merges=load.merges,
                max_batch=load.max_batch,
                inline_s=dispatcher.inline_s,
                batches=1,
            )
            ledger.gauge("inferry_batch_limit_rows", key, limit)
            ledger.gauge("inferry_batching", key, float(limit > 1), reason=dispatcher.reason)
        counts = None if self._front.watch is None else self._front.watch.captured
        if counts is not None:
            ledger.captured(written=counts.written, dropped=counts.dropped, failed=counts.failed)
        ledger.gauge("inferry_connections", "", len(self._front.connections))
        ledger.gauge("inferry_processes", "", 1)
        ledger.gauge("inferry_quarantined", "", self._quarantine.quarantined)
        for key, dispatcher in self._named_dispatchers():
            restarts = dispatcher.engine.restarts  # type: ignore[attr-defined]  # both kinds have it
            ledger.restarted("worker", max(0, restarts - self._restarts.get(key, 0)))
            self._restarts[key] = restarts
        self._link.life.publish(ledger.snapshot())

    def _named_dispatchers(self) -> list[tuple[str, Dispatcher[Any, Any]]]:
        if isinstance(self._service, ScriptService):
            return [(self._service.key, self._service.dispatcher)]
        return [(service.key, service.dispatcher) for service in self._service.services]

    def _dispatchers(self) -> list[Dispatcher[Any, Any]]:
        return [dispatcher for _, dispatcher in self._named_dispatchers()]

    def _say_merging(self) -> None:
        for key, dispatcher in self._named_dispatchers():
            logger.info("%s: batching: %s", key, dispatcher.reason)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _shadow(config: ServerConfig, environ: Mapping[str, str], ledger: Ledger) -> Shadow | None:
    watching = config.watching
    if watching.shadow is None:
        return None
    share = watching.shadow_share
    return Shadow(watching.shadow, share=share, config=config, ledger=ledger, environ=environ)


def _keep_freed_memory() -> None:
    """glibc gives the heap's top back to the system with each body that is freed, and gets it
    again, zeroed page by page, for the next one (mallopt(3))."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        libc.mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES // 2)


def _load_message(error: Exception) -> str:
    if isinstance(error, ScriptLoadError):
        return f"error: the scoring script failed ({error.stage}): {error}"
    if isinstance(error, ModelLoadError):
        return f"error: the model does not load: {error}"
    if isinstance(error, ScoringError | ConfigError):
        return f"error: {error}"
    return f"error: internal error: {type(error).__name__}; see the log"


def _load_exit_code(error: Exception) -> int:
    is_refusal = isinstance(error, BundleError | EngineStartError)
    return REFUSED_EXIT if is_refusal else LOAD_FAILED_EXIT


def _new_loop() -> asyncio.AbstractEventLoop:
    with contextlib.suppress(ImportError):  # no wheel for this platform: the standard loop serves
        import uvloop

        return uvloop.new_event_loop()  # type: ignore[no-any-return]
    return asyncio.new_event_loop()
