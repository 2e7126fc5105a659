"""wrk: a closed loop of keep-alive connections that all send the same request."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cpu
from benchmarks.servers import Server
from benchmarks.wire import Request

SCRIPT = """
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*all")
file:close()
{headers}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("\\nDONE %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout + e.status))
end
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. CPU is that of the server's processes; ``errors`` counts what was not a 200."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    errors: int


def require_wrk() -> None:
    """Raises SystemExit without wrk."""
    if shutil.which("wrk") is None:
        raise SystemExit("bench: needs wrk; as root: scripts/system-packages --bench")


def drive(
    server: Server, request: Request, connections: int, seconds: float, scratch: Path
) -> Sample:
    """Warms the server up for a quarter of the time, then measures."""
    script = _script(request, scratch)
    url = f"http://127.0.0.1:{server.port}{request.path}"
    _wrk(script, url, connections, max(1, round(seconds / 4)))
    before_s = cpu.cpu_s(server.pid)
    requests, micros, p50_us, p99_us, errors = _wrk(
        script, url, connections, max(1, round(seconds))
    )
    used_s = cpu.cpu_s(server.pid) - before_s
    rate = requests / micros * 1e6
    return Sample(rate, p50_us / 1e3, p99_us / 1e3, used_s / max(1, requests) * 1e6, errors)


@contextlib.contextmanager
def busy(server: Server, request: Request, connections: int, scratch: Path) -> Iterator[None]:
    """That many requests are always under way while the block runs."""
    url = f"http://127.0.0.1:{server.port}{request.path}"
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        "-d600s",
        "-s",
        str(_script(request, scratch)),
        url,
    ]
    process = subprocess.Popen([*command, "--timeout", "60s"], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _script(request: Request, scratch: Path) -> Path:
    body, script = scratch / "wrk.body", scratch / "wrk.lua"
    body.write_bytes(request.body)
    headers = "\n".join(f'wrk.headers["{k}"] = "{v}"' for k, v in request.headers.items())
    script.write_text(SCRIPT.format(body=body, headers=headers))
    return script


def _wrk(script: Path, url: str, connections: int, seconds: int) -> list[int]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"^DONE (.+)$", done.stdout, re.M)
    if found is None:
        raise RuntimeError(f"wrk said:\n{done.stdout}{done.stderr}")
    return [int(word) for word in found[1].split()]
