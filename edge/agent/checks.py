"""``check``: whether this device has what it needs, each with advice. Asks, and changes nothing.

    results = run(config)              # a list of Check, in a fixed order
    print(text(results))

Each check is a function of the configuration, in checks_machine.py and checks_network.py; one that
fails unexpectedly, or takes too long, is a failed check and stops no other.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from edge.agent import checks_machine, checks_network
from edge.agent.check import Check, Probe, fail
from edge.agent.config import AgentConfig
from edge.errors import EdgeError

TIMEOUT_S = 20.0


def run(config: AgentConfig, *, timeout_s: float = TIMEOUT_S) -> list[Check]:
    """All of them, at the same time."""
    probes = {**checks_machine.PROBES, **checks_network.PROBES}
    return run_probes(probes, config, timeout_s=timeout_s)


def run_probes(probes: dict[str, Probe], config: AgentConfig, *, timeout_s: float) -> list[Check]:
    """One thread for each; what is not there in time has failed."""
    found: dict[str, Check] = {}
    threads = [
        threading.Thread(
            target=_try, args=(name, probe, config, found), name=f"check {name}", daemon=True
        )
        for name, probe in probes.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout_s)
        timeout_s = max(0.01, timeout_s / 2) if thread.is_alive() else timeout_s
    late = "it took too long"
    return [found.get(name) or fail(name, late, "try again; then see the log") for name in probes]


def _try(name: str, probe: Probe, config: AgentConfig, found: dict[str, Check]) -> None:
    try:
        found[name] = probe(config)
    except EdgeError as error:
        found[name] = fail(name, str(error), "see the message")
    except Exception as error:
        found[name] = fail(name, f"{type(error).__name__}: {error}"[:300], "see the message")


def text(results: Sequence[Check]) -> str:
    """A line for each, and one of advice under what is not well."""
    width = max(len(check.name) for check in results)
    lines = []
    for check in results:
        lines.append(f"{check.level:4}  {check.name:{width}}  {_line(check.text)}")
        if check.advice:
            lines.append(f"{'':{width + 6}}  -> {_line(check.advice)}")
    count = {level: sum(check.level == level for check in results) for level in ("warn", "fail")}
    lines.append(f"{len(results)} checks: {count['fail']} failed, {count['warn']} to look at")
    return "\n".join(lines)


def _line(words: str) -> str:
    return " ".join(word for word in words.split() if word.isprintable())
