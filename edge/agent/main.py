"""``python3 -m edge agent|check|support-bundle``.

exit 0   done, or ended as asked
exit 1   refused or failed: one line on stderr
exit 2   usage
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

from edge.agent.config import AgentConfig, find, load
from edge.errors import EdgeError


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python3 -m edge", description="The agent of a device, and what it knows of itself."
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    agent = commands.add_parser("agent", help="run the agent until SIGTERM or Ctrl-C")
    agent.add_argument(
        "--stop-modules", action="store_true", help="stop the modules too at the end"
    )
    agent.add_argument("--verbose", action="store_true", help="log more")
    check = commands.add_parser("check", help="check this device")
    check.add_argument("--output", choices=["table", "json"], default="table")
    bundle = commands.add_parser("support-bundle", help="write logs, reports and checks as .tar.gz")
    bundle.add_argument("target", type=Path, nargs="?", help="default: DEVICE-support.tar.gz")
    for command in (agent, check, bundle):
        command.add_argument(
            "--config",
            type=Path,
            help="agent.toml [default: $INFERRY_EDGE_CONFIG, ./agent.toml,"
            " /etc/inferry-edge/agent.toml]",
        )
    return made


def main() -> NoReturn:
    """The entry point."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command line; returns the exit code."""
    given = parser().parse_args(arguments)
    try:
        config = load(find(given.config, os.environ))
        if given.command == "check":
            return check(config, given.output)
        if given.command == "support-bundle":
            return support_bundle(config, given.target)
        return agent(config, is_halting=given.stop_modules, is_verbose=given.verbose)
    except (EdgeError, OSError) as error:
        print(f"edge: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1


def agent(config: AgentConfig, *, is_halting: bool, is_verbose: bool) -> int:
    """Runs until a signal; a second one ends it at once."""
    from edge.agent import log, memory
    from edge.agent.agent import Agent
    from edge.agent.assembly import assemble
    from edge.agent.state import StateLock

    memory.one_arena()
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with StateLock(config.state):
        log.set_up(config.state, is_verbose=is_verbose)
        try:
            made = Agent(config, assemble)
            made.start()
            stopping.wait()
            made.stop(is_halting=is_halting)
        finally:
            log.tear_down()
    return 0


def check(config: AgentConfig, output: str) -> int:
    """Prints the checks; 1 when one failed."""
    from edge.agent import checks

    results = checks.run(config)
    if output == "json":
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(results), indent=2).decode())
    else:
        print(checks.text(results))
    return 1 if any(result.level == "fail" for result in results) else 0


def support_bundle(config: AgentConfig, target: Path | None) -> int:
    """Writes the file; the logs of modules are in it when the hosts can be asked."""
    from edge.agent import checks
    from edge.agent import support_bundle as bundle

    target = target or Path(f"{config.device}-support.tar.gz")
    if target.exists():
        print(f"edge: {target} is there already; name another", file=sys.stderr)
        return 1
    data = bundle.make(config, logs={}, results=checks.run(config))
    target.touch(mode=0o600)
    target.write_bytes(data)
    print(f"Wrote {target}, {len(data)} bytes")
    return 0
