"""A host whose modules are threads of this process: they answer HTTP on 127.0.0.1 as a scoring
server does, and do what a script says. For tests of whoever uses a host, and for trying things out.

host = MemoryHost({BAD: Behaviour(exit_code=1)})
host.prepare(BAD, lambda: False)
host.start(Instance(InstanceId("digits", "live"), BAD))
host.list()                       # exited, 1
host.end(id, 137, is_out_of_memory=True)
host.fail("dockerd is down")      # every method raises HostError, until host.fail(None)
host.close()
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from typing import Any

from edge.errors import HostError
from edge.hosts.fingerprint import fingerprint
from edge.hosts.port import Instance, InstanceId, Observed

POLL_S = 0.01
LOG_LINES = 1000
Answer = tuple[int, bytes]


def echo(body: bytes) -> Answer:
    """The answer of a module that is given no other: what it was sent."""
    return 200, body


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How an image does. ``exit_code``: it ends with that, at once, or ``exit_after_s`` after its
    start; ``ready_after_s``: until then /readyz answers 503 (inf: for ever); ``is_hung``: it takes
    connections and answers none; ``latency_s``: of each answer of /score. ``start_error`` and
    ``prepare_error``: what the host itself says."""

    exit_code: int | None = None
    exit_after_s: float = 0.0
    is_out_of_memory: bool = False
    ready_after_s: float = 0.0
    is_hung: bool = False
    latency_s: float = 0.0
    score: Callable[[bytes], Answer] = echo
    metrics: str = ""
    start_error: str | None = None
    prepare_error: str | None = None


NORMAL = Behaviour()


class MemoryHost:
    """The ModuleHost. ``behaviours``: by digest, NORMAL where there is none; one that is served
    from a bundle folder does as that of the folder's name that its link ``current`` leads to. May
    be changed at any time and counts from the next start or reload. ``clock``: monotonic, of the
    script's times."""

    def __init__(
        self,
        behaviours: Mapping[str, Behaviour] | None = None,
        *,
        kind: str = "process",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kind = kind
        self.behaviours: dict[str, Behaviour] = dict(behaviours or {})
        self.calls: list[tuple[str, str]] = []
        """Method and its argument, of all calls but ``list`` and ``logs``."""
        self.instances: dict[InstanceId, Instance] = {}
        """What was started, as it was asked for."""
        self.prepared: set[str] = set()
        self._clock = clock
        self._lock = threading.RLock()
        self._modules: dict[InstanceId, _Module] = {}
        self._error: str | None = None

    def __repr__(self) -> str:
        shown = ", ".join(f"{one.id} {one.state}" for one in self.list())
        return f"MemoryHost({shown or 'empty'})"

    def fail(self, error: str | None) -> None:
        """Have every method raise HostError with this text; None: work again."""
        self._error = error

    def end(self, id: InstanceId, exit_code: int, *, is_out_of_memory: bool = False) -> None:
        """The module ends by itself."""
        with self._lock:
            self._modules[id].end(exit_code, is_out_of_memory)

    def close(self) -> None:
        """End everything."""
        with self._lock:
            for module in self._modules.values():
                module.end(143)
            self._modules.clear()

    def prepare(self, digest: str, is_cancelled: Callable[[], bool]) -> None:
        self._called("prepare", digest)
        if is_cancelled():
            raise HostError("the preparing was cancelled")
        error = self.behaviours.get(digest, NORMAL).prepare_error
        if error is not None:
            raise HostError(error)
        with self._lock:
            self.prepared.add(digest)

    def start(self, instance: Instance) -> None:
        self._called("start", str(instance.id))
        with self._lock:
            module = self._modules.get(instance.id)
            wanted = fingerprint(instance)
            if module is not None and module.is_running(self._clock()):
                if module.fingerprint == wanted:
                    return
                module.end(143)
            if instance.digest not in self.prepared:
                raise HostError(f"the image {instance.digest} is not prepared")
            behaviour = self._behaviour(instance)
            if behaviour.start_error is not None:
                raise HostError(behaviour.start_error)
            self._modules[instance.id] = _Module(instance, wanted, behaviour, self._clock)
            self.instances[instance.id] = instance

    def stop(self, id: InstanceId, grace_s: float = 10.0) -> None:
        self._called("stop", str(id))
        with self._lock:
            module = self._modules.pop(id, None)
            self.instances.pop(id, None)
            if module is not None:
                module.end(143)

    def reload(self, id: InstanceId) -> None:
        self._called("reload", str(id))
        with self._lock:
            module = self._modules.get(id)
            if module is None or not module.is_running(self._clock()):
                raise HostError(f"{id} does not run")
            module.behaviour = self._behaviour(module.instance)
            module.generation += 1
            module.say(f"generation {module.generation} serves now")

    def list(self) -> Sequence[Observed]:
        self._check()
        with self._lock:
            now = self._clock()
            return [module.observed(now) for module in self._modules.values()]

    def logs(self, id: InstanceId, lines: int) -> str:
        self._check()
        with self._lock:
            module = self._modules.get(id)
            return "" if module is None else "".join(f"{line}\n" for line in module.log[-lines:])

    def discard(self, keep: Sequence[str]) -> None:
        self._called("discard", " ".join(keep))
        with self._lock:
            now = self._clock()
            running = {
                module.instance.digest
                for module in self._modules.values()
                if module.is_running(now)
            }
            self.prepared &= {*keep, *running}

    def _behaviour(self, instance: Instance) -> Behaviour:
        found = self.behaviours.get(instance.digest, NORMAL)
        if instance.bundle is None:
            return found
        name = (instance.bundle / "current").resolve().name
        return self.behaviours.get(name, self.behaviours.get(f"sha256:{name}", found))

    def _called(self, method: str, argument: str) -> None:
        self._check()
        self.calls.append((method, argument))

    def _check(self) -> None:
        if self._error is not None:
            raise HostError(self._error)


@dataclass(slots=True)
class _Module:
    """One instance."""

    instance: Instance
    fingerprint: str
    behaviour: Behaviour
    clock: Callable[[], float]
    log: list[str] = field(default_factory=list)
    started_at_s: float = field(default_factory=time.time)
    started: float = 0.0
    generation: int = 1
    exit_code: int | None = None
    is_out_of_memory: bool = False
    server: _Server | None = None

    def __post_init__(self) -> None:
        self.started = self.clock()
        if self.behaviour.exit_code is not None and self.behaviour.exit_after_s <= 0:
            self.end(self.behaviour.exit_code, self.behaviour.is_out_of_memory)
            return
        try:
            self.server = _Server((self.instance.address, self.instance.port), self)
        except OSError as error:
            raise HostError(f"{self.instance.id} cannot listen: {error.strerror}") from error
        self.say(f"Listening on http://{self.instance.address}:{self.server.server_port}")

    def say(self, line: str) -> None:
        self.log.append(line)
        del self.log[:-LOG_LINES]

    def is_running(self, now: float) -> bool:
        """Ends it when its script says so."""
        script = self.behaviour
        is_due = script.exit_code is not None and now - self.started >= script.exit_after_s
        if is_due and self.exit_code is None and script.exit_code is not None:
            self.end(script.exit_code, script.is_out_of_memory)
        return self.exit_code is None

    def end(self, exit_code: int, is_out_of_memory: bool = False) -> None:
        if self.exit_code is not None:
            return
        self.exit_code, self.is_out_of_memory = exit_code, is_out_of_memory
        self.say(f"ended with {exit_code}")
        if self.server is not None:
            self.server.end()

    def observed(self, now: float) -> Observed:
        is_running = self.is_running(now)
        return Observed(
            self.instance.id,
            self.instance.digest,
            "running" if is_running else "exited",
            address=self.instance.address,
            port=self.server.server_port if is_running and self.server is not None else None,
            exit_code=self.exit_code,
            is_out_of_memory=self.is_out_of_memory,
            started_at_s=self.started_at_s,
        )

    def answer(self, method: str, path: str, body: bytes) -> Answer | None:
        """None: no answer."""
        script, age_s = self.behaviour, self.clock() - self.started
        if script.is_hung:
            return None
        if path in ("/", "/healthz"):
            return 200, b"Healthy"
        if path == "/readyz":
            is_ready = script.ready_after_s < inf and age_s >= script.ready_after_s
            return (200, b"ready") if is_ready else (503, b"not ready")
        if path == "/metrics":
            return 200, script.metrics.encode()
        if path == "/score" and method == "POST":
            return script.score(body)
        return 404, b"not found"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], module: _Module) -> None:
        self.module = module
        self.ended = threading.Event()
        super().__init__(address, _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_S,), daemon=True)
        self._thread.start()

    def server_bind(self) -> None:
        # The parent's asks a name server for its own name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        host, port = self.socket.getsockname()[:2]
        self.server_address = (host, port)
        self.server_name, self.server_port = str(host), port

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no news."""

    def end(self) -> None:
        self.ended.set()
        if threading.current_thread() is not self._thread:
            self.shutdown()
            self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._reply()

    def do_POST(self) -> None:
        self._reply()

    def _reply(self) -> None:
        module = self.server.module
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = module.answer(self.command, self.path, body)
        if answer is None:
            self.server.ended.wait()
            return
        if self.path == "/score" and module.behaviour.latency_s:
            self.server.ended.wait(module.behaviour.latency_s)
        status, content = answer
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""
