"""A ModuleHost without processes: each instance is a small HTTP server that is always ready."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from edge.errors import HostError
from edge.hosts.port import Instance, InstanceId, Observed


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class _Running:
    def __init__(self, instance: Instance) -> None:
        self.instance, self.began_s = instance, time.time()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Ready)
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def end(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class FakeHost:
    """``may_stop``: while it is not set, ``stop`` hangs as long as its grace allows, and longer;
    ``trouble``: what its methods say instead of working; ``ended``: instances that are dead, and
    how."""

    kind = "process"

    def __init__(self) -> None:
        self.may_stop = threading.Event()
        self.may_stop.set()
        self.trouble: str | None = None
        self.ended: dict[InstanceId, Observed] = {}
        self.started: list[str] = []
        self.stopping: list[str] = []
        self._running: dict[InstanceId, _Running] = {}
        self._guard = threading.Lock()

    def prepare(self, digest: str, is_cancelled: Callable[[], bool]) -> None:
        self._check()

    def start(self, instance: Instance) -> None:
        self._check()
        with self._guard:
            if instance.id not in self._running:
                self.started.append(instance.id.module)
                self.ended.pop(instance.id, None)
                self._running[instance.id] = _Running(instance)

    def stop(self, id: InstanceId, grace_s: float = 10.0) -> None:
        self._check()
        self.stopping.append(id.module)
        assert self.may_stop.wait(60)
        with self._guard:
            found = self._running.pop(id, None)
            self.ended.pop(id, None)
        if found is not None:
            found.end()

    def reload(self, id: InstanceId) -> None:
        self._check()

    def list(self) -> Sequence[Observed]:
        self._check()
        with self._guard:
            running = [
                Observed(
                    id,
                    each.instance.digest,
                    "running",
                    port=each.server.server_port,
                    started_at_s=each.began_s,
                )
                for id, each in self._running.items()
            ]
            return [*running, *self.ended.values()]

    def kill(self, id: InstanceId, *, is_out_of_memory: bool = False) -> None:
        """It dies by itself."""
        with self._guard:
            found = self._running.pop(id)
            self.ended[id] = Observed(
                id,
                found.instance.digest,
                "exited",
                exit_code=137,
                is_out_of_memory=is_out_of_memory,
            )
        found.end()

    def logs(self, id: InstanceId, lines: int) -> str:
        return ""

    def discard(self, keep: Sequence[str]) -> None:
        self._check()

    def close(self) -> None:
        """All of it."""
        self.trouble = None
        self.may_stop.set()
        for each in self.list():
            self.stop(each.id)

    def _check(self) -> None:
        if self.trouble is not None:
            raise HostError(self.trouble)


@contextmanager
def fake_host() -> Iterator[FakeHost]:
    host = FakeHost()
    try:
        yield host
    finally:
        host.close()
