"""T5: bad releases of a real image, and whether the old version comes back: how long nobody
answered, and how many bytes it took from the network.

    python -m benchmarks.edge.rollback                          # on the process host
    python -m benchmarks.edge.rollback --host docker --base debian.tar

Images are made by the registry's builder and fetched from the registry through a proxy that counts
bytes, and that is cut for the runs "offline". A client asks each 20 ms. Each release is wanted as a
candidate beside the old version, and as its replacement (half the memory; the old one is stopped
first), where the way back is always through a switch.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from benchmarks.edge.fleet import INFERRY, ROOT, free_port
from benchmarks.outcome import Finding
from edge.agent import assembly
from edge.agent import config as agent_config
from edge.clock import boot_id
from edge.errors import HostError
from edge.messages.desired import HostKind, Limits, Module, Probe, Strategy, Update
from edge.messages.reported import ModuleReport
from edge.pull.rate import RateCap
from edge.stock.device_stock import DeviceStock
from edge.switch.record import Records
from edge.switch.updater import ModuleUpdater, Tools

ASK_S = 0.02
PATIENCE_S = 180.0
STEADY = 25
"""Answers of the old version in a row, then it is back."""
STEADY_S = 1.0
"""And so long it has been reported in service and healthy."""
AFTER_S, BACK_S = 3.0, 30.0
"""After the bad release was given up the client asks for at least so long, and waits at most so
long for the old one: a request that is under way at that moment, or just after it, may be lost."""
LATER_S = 6.0
"""When what is bad once it serves becomes so, after its start."""
MEMORY_BYTES = 700 * 1024 * 1024
SCRIPT = '''
import json
import os
import signal
import threading
import time

VERSION, TROUBLE = %d, %r


def server():
    """The processes of this scoring server, outermost first."""
    found, pid = [], os.getppid()
    while pid > 0:
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\\0")
            status = open(f"/proc/{pid}/status").read()
        except OSError:
            break
        if b"scoring" not in words:
            break
        found.insert(0, pid)
        pid = int(status.split("PPid:")[1].split()[0])
    return found


def end():
    for pid in server():
        os.kill(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGTERM)  # a container's first process cannot be killed from inside


def stop_answering():
    for pid in reversed(server()):
        os.kill(pid, signal.SIGSTOP)


def take_memory():
    taken = []
    while True:
        taken.append(b"x" * (16 << 20))
        time.sleep(0.01)


def later(do):
    def work():
        time.sleep(%f)
        do()
    threading.Thread(target=work, daemon=True).start()


def init():
    if TROUBLE == "ends at its start":
        end()
        time.sleep(60)
    elif TROUBLE == "hangs at its start":
        time.sleep(1e6)
    elif TROUBLE == "ends again and again":
        later(end)
    elif TROUBLE == "stops answering":
        later(stop_answering)
    elif TROUBLE == "takes all memory":
        later(take_memory)


def run(data):
    time.sleep(0.25 if TROUBLE == "ten times slower" else 0.025)
    values = [1.0, 2.0, 3.0]
    if TROUBLE == "not a number":
        values[1] = float("nan")
    elif TROUBLE == "another shape":
        values.append(4.0)
    return {"version": VERSION, "scores": values}
'''
WRONG = ("not a number", "another shape")
"""What these answer does not count as an answer."""
TROUBLES = (
    "ends at its start", "ends again and again", "hangs at its start", "stops answering",
    "takes all memory", "not a number", "another shape", "ten times slower",
)  # fmt: skip
Link = Literal["online", "offline"]


@dataclass(frozen=True, slots=True)
class Run:
    """``silent_s``: all the time in which nobody answered, or wrongly; ``restored_s``: from the
    first such request until the old version answered again for good; ``decided_s``: from the wish
    to the end; ``reported_s``: from then on, until the old one was reported in service and healthy,
    and stayed so; ``slowest_s``: of the answers that count; ``wrong``: answers; ``bytes``: from the
    registry once the image was there; ``missing``: why it does not count as restored."""

    trouble: str
    strategy: Strategy
    link: Link
    is_restored: bool
    phase: str
    check: str | None
    silent_s: float
    restored_s: float
    decided_s: float
    reported_s: float
    slowest_s: float
    wrong: int
    bytes: int
    error: str | None
    missing: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the client. ``version``: that answered; None: nobody, within a second."""

    at: float
    end: float
    version: int | None


class CountingProxy:
    """Between device and registry; ``cut`` ends all connections and takes no others."""

    def __init__(self, target: int) -> None:
        self.count = 0
        self.is_cut = False
        self._target = target
        self._links: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, is_cut: bool) -> None:
        """Or join again."""
        self.is_cut = is_cut
        if is_cut:
            for link in list(self._links):
                with suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The end."""
        self.cut(True)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_cut:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                client.close()
                continue
            for one, other in ((client, server), (server, client)):
                self._links.add(one)
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65_536):
                self.count += len(data)
                other.sendall(data)
        for link in (one, other):
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        self._links.discard(one)
        one.close()


@dataclass(slots=True)
class Client:
    """Asks each 20 ms, or as soon as it has its answer."""

    port: int
    seen: list[Asked] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Until it is stopped."""
        while not self.stopping.is_set():
            began = time.monotonic()
            version = self._ask()
            self.seen.append(Asked(began, time.monotonic(), version))
            self.stopping.wait(max(0.0, ASK_S - (time.monotonic() - began)))

    def _ask(self) -> int | None:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=1.0)) as link:
                headers = {"Content-Type": "application/json"}
                link.request("POST", "/score", b'{"data": [1]}', headers)
                answer = link.getresponse()
                text = answer.read()
            return int(json.loads(text)["version"]) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return None

    def is_steady(self, version: int) -> bool:
        """Whether that is all that answered of late."""
        return [each.version for each in self.seen[-STEADY:]] == [version] * STEADY


class Bench:
    """A workspace, its registry, and one device's switch. ``base``: what images start from."""

    def __init__(self, folder: Path, host: HostKind, base: str) -> None:
        self._folder = folder
        self._host = host
        self._base = base
        self._port = free_port()
        self._numbers: dict[str, int] = {}
        self._digests: dict[int, str] = {}

    @contextmanager
    def opened(self) -> Iterator[Bench]:
        """With its good version in service."""
        with ExitStack() as stack:
            self._make_images()
            self._open_registry(stack)
            self._open_device(stack)
            yield self

    def run(self, trouble: str, strategy: Strategy, link: Link) -> Run:
        """One bad release, from being wanted to the end."""
        self._settle_good(strategy)
        module = self._module(self._numbers[trouble], strategy)
        self._proxy.cut(False)
        if link == "offline":
            self._fetch(module)
            self._proxy.cut(True)
        client = Client(self._port)
        thread = threading.Thread(target=client.work, daemon=True)
        thread.start()
        self._await("the client is answered", lambda: client.is_steady(1))
        at, began = len(client.seen), time.monotonic()
        self._unit.want(module)
        self._await("it is fetched", lambda: self._stock.has(module.digest))
        before = self._proxy.count
        self._await("it is given up", lambda: self._is_given_up(module))
        decided_s = time.monotonic() - began
        missing, reported_s = self._comes_back(client)
        seen = client.seen[at:]  # one that is under way now is none of them
        client.stopping.set()
        thread.join()
        count = self._proxy.count - before
        return _judged(
            trouble, strategy, link, seen, self._report(), decided_s, reported_s, count, missing
        )

    def _comes_back(self, client: Client) -> tuple[str, float]:
        """Until the old version answers and is reported as before, for good. Returns what is
        missing ("": nothing), and after how many seconds the report was so."""
        began = time.monotonic()
        last_other = began
        while (now := time.monotonic()) < began + BACK_S:
            if not self._is_as_before():
                last_other = now
            elif now >= max(began + AFTER_S, last_other + STEADY_S) and client.is_steady(1):
                return "", last_other - began
            time.sleep(0.02)
        said, versions = self._report(), [each.version for each in client.seen[-STEADY:]]
        return f"{said.image} is {said.health}; the last answers: {versions}", now - began

    # What it is made of.

    def _make_images(self) -> None:
        self._inferry("init", str(self._folder / "ws"), "--base", self._base)
        (self._folder / "weights.bin").write_bytes(b"weights")
        self._inferry("model", "register", str(self._folder / "weights.bin"), "--name", "bench")
        golden = {"v": 1, "cases": [{"input": {"data": [1]}}, {"input": {"data": [2]}}]}
        (self._folder / "golden.json").write_text(json.dumps(golden))
        for number, trouble in enumerate(("", *TROUBLES), 1):
            self._numbers[trouble] = number
            script = self._folder / "score.py"
            script.write_text(SCRIPT % (number, trouble, LATER_S))
            self._inferry(
                "image", "create", "bench", "--model", "bench", "--script", str(script),
                "--golden", str(self._folder / "golden.json"), "--no-proof",
            )  # fmt: skip
            shown = self._inferry("image", "show", f"bench:{number}", "--output", "json")
            self._digests[number] = json.loads(shown)["digest"]

    def _open_registry(self, stack: ExitStack) -> None:
        log = self._folder / "registry.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [str(INFERRY), "registry", "serve", "--port", "0"], cwd=ROOT,
                env=self._environment(), stdout=sink, stderr=sink,
            )  # fmt: skip
        stack.callback(process.wait)
        stack.callback(process.send_signal, signal.SIGTERM)
        found = re.compile(r"ready at http://[^:]+:(\d+)")
        self._await("the registry is ready", lambda: found.search(log.read_text()) is not None)
        match = found.search(log.read_text())
        assert match is not None
        self._proxy = CountingProxy(int(match[1]))
        stack.callback(self._proxy.close)

    def _open_device(self, stack: ExitStack) -> None:
        device = f"press-{os.getpid()}"  # another run on the same engine has its own containers
        self._inferry(
            "edge", "enroll", device, "--broker", "127.0.0.1:1", "--registry",
            f"http://127.0.0.1:{self._proxy.port}", "--out", str(self._folder / "device"),
            "--state", "state",
        )  # fmt: skip
        config = agent_config.load(self._folder / "device/agent.toml")
        config.state.mkdir(parents=True, exist_ok=True)
        stock = DeviceStock(config.state, reserve_bytes=0, boot_id=boot_id())
        stack.callback(stock.close)
        self._stock = stock
        self._puller = assembly.make_puller(config, stock, RateCap(None))
        records = Records(config.state / "state.db")
        stack.callback(records.close)
        hosts = {host.kind: host for host in assembly.make_hosts(config, stock)}
        if self._host not in hosts:
            raise HostError(f"this machine has no host {self._host}")
        self._device_host = hosts[self._host]
        tools = Tools(config.state, {self._host: self._device_host}, stock, self._puller, records)
        self._unit = ModuleUpdater("bench", tools, lambda: True)
        stack.callback(self._remove)

    def _remove(self) -> None:
        self._unit.stop()
        for _ in range(3):
            with suppress(HostError):
                self._unit.remove()
                self._device_host.discard([])
                return

    def _module(self, number: int, strategy: Strategy) -> Module:
        return Module(
            "bench",
            f"bench:{number}",
            self._digests[number],
            port=self._port,
            address="127.0.0.1",
            host=self._host,
            limits=Limits(memory_bytes=MEMORY_BYTES),
            probe=Probe(interval_s=1.0, timeout_s=1.0),
            update=Update(strategy=strategy, start_s=12.0, watch_s=25.0),
        )

    def _settle_good(self, strategy: Strategy) -> None:
        module = self._module(1, strategy)
        self._unit.want(module)
        self._await(
            "the good version is in service",
            lambda: (
                self._report().wanted == module.digest
                and (self._report().phase, self._report().health) == ("idle", "healthy")
            ),
        )

    def _fetch(self, module: Module) -> None:
        self._puller.pull(
            module.image, module.digest, keep=list, on_progress=lambda done, total: None,
            is_cancelled=lambda: False,
        )  # fmt: skip

    def _is_given_up(self, module: Module) -> bool:
        report = self._report()
        return report.wanted == module.digest and report.phase in ("failed", "idle")

    def _is_as_before(self) -> bool:
        report = self._report()
        return (report.image, report.health) == ("bench:1", "healthy")

    def _report(self) -> ModuleReport:
        return self._unit.report()

    def _await(self, what: str, is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + patience_s
        while not is_so():
            if time.monotonic() > deadline:
                said = self._report() if hasattr(self, "_unit") else ""
                raise TimeoutError(f"it did not come to pass that {what}: {said}")
            time.sleep(0.02)

    def _inferry(self, *words: str) -> str:
        done = subprocess.run(
            [str(INFERRY), *words], cwd=self._folder, env=self._environment(),
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"inferry {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "INFERRY_WORKSPACE": str(self._folder / "ws")}


def _judged(
    trouble: str,
    strategy: Strategy,
    link: Link,
    seen: Sequence[Asked],
    report: ModuleReport,
    decided_s: float,
    reported_s: float,
    count: int,
    missing: str,
) -> Run:
    """What the client saw, in figures."""
    good = (1,) if trouble in WRONG else (1, *range(2, len(TROUBLES) + 2))
    bad = [each for each in seen if each.version not in good]
    nexts = [*(each.at for each in seen[1:]), *(each.end for each in seen[-1:])]
    silent_s = sum(
        next_at - each.at
        for each, next_at in zip(seen, nexts, strict=True)
        if each.version not in good
    )
    last_other = max((each.at for each in seen if each.version != 1), default=0.0)
    back = next((each.at for each in seen if each.version == 1 and each.at > last_other), None)
    if report.image != "bench:1":
        missing = missing or f"{report.image} is in service"
    return Run(
        trouble, strategy, link, not missing, report.phase, report.check, silent_s,
        back - bad[0].at if bad and back else 0.0, decided_s, reported_s,
        max((each.end - each.at for each in seen if each.version in good), default=0.0),
        sum(each.version is not None for each in bad), count, report.error, missing,
    )  # fmt: skip


def measure(host: HostKind, base: str, troubles: Sequence[str]) -> list[Run]:
    """All of it, told as it goes on stderr."""
    found = []
    folder = Path(tempfile.mkdtemp(prefix="rollback-"))
    folder.chmod(0o755)
    try:
        with Bench(folder, host, base).opened() as bench:
            cases: list[tuple[Strategy, Link]] = [
                ("beside", "online"), ("beside", "offline"), ("replace", "offline"),
            ]  # fmt: skip
            for strategy, link in cases:
                for trouble in troubles:
                    run = bench.run(trouble, strategy, link)
                    print(_line(run), file=sys.stderr, flush=True)
                    found.append(run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _line(run: Run) -> str:
    said = "restored" if run.is_restored else f"NOT RESTORED ({run.missing})"
    return (
        f"{run.trouble:22} {run.strategy:8} {run.link:8} {said}, {run.phase}/{run.check};"
        f" no service {run.silent_s:5.2f} s, restored after {run.restored_s:5.2f} s, decided after"
        f" {run.decided_s:5.1f} s, reported {run.reported_s:4.2f} s later, slowest answer"
        f" {run.slowest_s:4.2f} s, {run.wrong} wrong answers, {run.bytes} bytes | {run.error}"
    )


def findings(runs: Sequence[Run], host: str) -> list[Finding]:
    """One row for each release and way."""
    return [
        Finding(
            f"bad release on the {host} host: {run.trouble}; {run.strategy}, {run.link}",
            "restored, 0 bytes",
            f"{'restored' if run.is_restored else f'NOT restored: {run.missing}'};"
            f" {run.silent_s:.2f} s without service, restored {run.restored_s:.2f} s after the"
            f" first trouble, decided {run.decided_s:.1f} s after the wish; slowest answer"
            f" {run.slowest_s:.2f} s; {run.wrong} wrong answers; {run.bytes} bytes",
            run.is_restored and run.phase == "failed" and run.bytes == 0,
        )
        for run in runs
    ]


def main() -> None:
    """Prints figures as JSON."""
    parser = argparse.ArgumentParser(description="bad releases, and the way back")
    parser.add_argument("--host", choices=["process", "docker"], default="process")
    parser.add_argument("--base", default="none", help="what images start from; docker needs one")
    parser.add_argument("--only", action="append", choices=TROUBLES, help="some of them")
    asked = parser.parse_args()
    base = str(Path(asked.base).resolve()) if Path(asked.base).exists() else asked.base
    runs = measure(asked.host, base, asked.only or TROUBLES)
    print(msgspec.json.format(msgspec.json.encode(findings(runs, asked.host)), indent=2).decode())


if __name__ == "__main__":
    main()
