"""T7: how much memory the agent takes. Greengrass lite's method, scaled: a warm-up, then a look
each few seconds at RSS and PSS of the agent's process alone (/proc/PID/smaps_rollup), the median,
the coefficient of variation, and the slope.

The agent has a TLS link to mosquitto, one module that runs as a process (which is not counted), its
health probed each 10 s, and metrics each 60 s; then it also takes one message a second from an
application, durable before it is answered.

    python -m benchmarks.edge.footprint                       # 5 minutes of each
    python -m benchmarks.edge.footprint --warm-up 300 --minutes 10 --restart
    python -m benchmarks.edge.footprint --hosts docker,process    # the Docker SDK counted too
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.edge.fleet import Fleet

REACH_KIB = 40 * 1024
SCRIPT = """
import json
def init(): ...
def run(data): return json.loads(data)
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """KiB, and when (s)."""

    at_s: float
    rss_kib: int
    pss_kib: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """``slope``: of RSS, least squares, KiB an hour. ``cv``: standard deviation by mean of PSS."""

    what: str
    samples: int
    rss_kib: float
    pss_kib: float
    highest_rss_kib: int
    cv: float
    slope_kib_per_h: float
    threads: int


def look(pid: int, at_s: float) -> Sample:
    """Now."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        words = line.split()
        found[words[0].rstrip(":")] = int(words[1])
    return Sample(at_s, found["Rss"], found["Pss"])


def summary(what: str, samples: list[Sample], threads: int) -> Footprint:
    """Of one span."""
    rss = [sample.rss_kib for sample in samples]
    pss = [sample.pss_kib for sample in samples]
    slope = 0.0
    if len(samples) > 1:
        slope = statistics.linear_regression([s.at_s for s in samples], rss).slope * 3600
    return Footprint(
        what,
        len(samples),
        statistics.median(rss),
        statistics.median(pss),
        max(rss),
        statistics.pstdev(pss) / statistics.mean(pss),
        slope,
        threads,
    )


def measure(fleet: Fleet, device: str, what: str, *, minutes: float, every_s: float) -> Footprint:
    """Idle, or with a message a second when ``what`` says so."""
    pid = fleet.processes[device].pid
    path = fleet.folder / device / "state" / "modules" / "digits" / "run" / "agent.sock"
    began = time.monotonic()
    next_look, next_message, samples = began, began, []
    while time.monotonic() - began < minutes * 60:
        now = time.monotonic()
        if now >= next_look:
            samples.append(look(pid, now - began))
            next_look += every_s
        if "message" in what and now >= next_message:
            post(path)
            next_message += 1.0
        time.sleep(0.05)
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    return summary(what, samples, threads)


def post(path: Path) -> None:
    """A message of an application, on a connection of its own."""
    body = json.dumps({"kind": "reading", "body": {"t": 71.25, "text": "x" * 900}})
    with closing(http.client.HTTPConnection("agent")) as link:
        link.sock = socket.socket(socket.AF_UNIX)
        link.sock.settimeout(20)
        link.sock.connect(str(path))
        link.request("POST", "/telemetry", body)
        answer = link.getresponse()
        text = answer.read()
        if answer.status != 202:
            raise AssertionError(f"the agent answers {answer.status}: {text!r}")


def main() -> None:
    """Prints JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--warm-up", type=float, default=60.0, metavar="S")
    parser.add_argument("--minutes", type=float, default=5.0, help="of each span")
    parser.add_argument("--every", type=float, default=10.0, metavar="S", help="between samples")
    parser.add_argument("--restart", action="store_true", help="also of an agent that began anew")
    parser.add_argument("--hosts", default="process", help="process, or docker,process")
    given = parser.parse_args()
    hosts = json.dumps(given.hosts.split(","))
    found = []
    with tempfile.TemporaryDirectory(prefix="footprint-") as name, Fleet(Path(name)) as fleet:
        (fleet.folder / "weights.bin").write_bytes(b"x" * 100_000)
        (fleet.folder / "score.py").write_text(SCRIPT)
        fleet.image("digits", fleet.folder / "weights.bin", fleet.folder / "score.py")
        fleet.enroll("press-1", extra=f"[modules]\nhosts = {hosts}\n")
        fleet.start_agent("press-1")
        fleet.inferry("edge", "deploy", "a", "--module", "digits=digits", "--host", "process")
        fleet.wait("it runs", lambda: fleet.runs("press-1", "digits:1"))
        time.sleep(given.warm_up)
        for what in ("idle, after a deployment", "1 message/s"):
            found.append(
                measure(fleet, "press-1", what, minutes=given.minutes, every_s=given.every)
            )
        if given.restart:
            fleet.stop("press-1")
            fleet.start_agent("press-1")
            fleet.wait("it runs again", lambda: fleet.runs("press-1", "digits:1"))
            time.sleep(given.warm_up)
            found.append(
                measure(
                    fleet,
                    "press-1",
                    "idle, after a restart",
                    minutes=given.minutes,
                    every_s=given.every,
                )
            )
    print(
        json.dumps(
            {
                "hosts": given.hosts,
                "reach_rss_kib": REACH_KIB,
                "is_reached": found[0].rss_kib <= REACH_KIB,
                "spans": [asdict(one) for one in found],
                "findings": [
                    {
                        "what": f"agent's memory, host {given.hosts}, {one.what}: RSS, median",
                        "reach": "<= 40 MB idle",
                        "measured": f"{one.rss_kib / 1024:.1f} MiB (PSS {one.pss_kib / 1024:.1f},"
                        f" highest RSS {one.highest_rss_kib / 1024:.1f},"
                        f" slope {one.slope_kib_per_h:+.0f} KiB/h)",
                        "reached": one.rss_kib <= REACH_KIB if "idle" in one.what else None,
                    }
                    for one in found
                ],
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
