"""A program under a supervisor, for tests: server processes that answer lines.

    python -m tests.scoring.line_server PROCESSES DRAIN_S [FOLDER]

It prints "port N" and "ready". FOLDER/plan says what loading does ("ok", "fail", "slow", "crash",
"crash-later") and is read for each generation; after "alone " it is of what one process at a time
can have, which is FOLDER/board. "fail-once" is a first restart that loads until it is told to fail.
FOLDER/deaths lists what on_death was told. SETTLED_S of the environment is that of restarts.py.

    who                 -> PID GENERATION
    echo TEXT           -> TEXT
    sleep SECONDS TEXT  -> TEXT, later
    big N               -> N letters
    run-and-die TEXT    the process kills itself with TEXT in its flight recorder
    tell TEXT           -> told;   heard -> what all were told
    ask TEXT            -> the answers, sorted, and how many are missing
    board               -> ready processes, restarts, the sum of the snapshots (lines answered)
    fds                 -> open descriptors of the supervisor and of this process
    stuck SECONDS       blocks the loop
    fail                -> failing; the model of this process does not load
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

from scoring.supervision import restarts
from scoring.supervision.hooks import Hooks
from scoring.supervision.link_messages import Ask, Drain, GiveBack, Retire, Tell
from scoring.supervision.parent_link import Command, ParentLink
from scoring.supervision.supervisor import LOAD_FAILED_EXIT, Supervisor

ALONE = "alone "
DEATHS: list[str] = []


class Lines(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: Server, slot: int) -> None:
        self.server, self.slot = server, slot
        self.unread = b""
        self.is_sleeping = False
        self.is_handed_over = False
        self.is_last = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.server.lines.add(self)
        self.server.settle(self)

    def data_received(self, data: bytes) -> None:
        self.server.link.received(self.slot, len(data))
        self.unread += data
        self.proceed()

    def proceed(self) -> None:
        while not self.is_sleeping and b"\n" in self.unread:
            line, self.unread = self.unread.split(b"\n", 1)
            self.server.command(self, line.decode())
        if not self.is_sleeping and not self.unread:
            self.server.settle(self)

    @property
    def is_idle(self) -> bool:
        return not self.is_sleeping and not self.unread

    def reply(self, text: str) -> None:
        answer = text.encode() + b"\n"
        count = self.server.link.wrote if self.unread else self.server.link.answered
        count(self.slot, len(answer))  # before the write: a client may kill us by then
        self.server.answered += 1
        self.transport.write(answer)

    def reply_later(self, text: str) -> None:
        self.is_sleeping = False
        self.reply(text)
        self.proceed()

    def hand_over(self) -> None:
        if not self.is_handed_over:
            self.is_handed_over = True
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.server.lines.discard(self)
        if self.is_handed_over and error is None:
            self.server.link.released(self.slot)
        else:
            self.server.link.closed(self.slot)
        self.server.check_end()


class Server:
    """One process."""

    def __init__(self, plan: str, link: ParentLink) -> None:
        self.plan, self.link = plan, link
        self.loop = asyncio.get_running_loop()
        self.lines: set[Lines] = set()
        self.to_give = 0
        self.retiring = self.draining = False
        self.answered = 0
        self.heard: list[str] = []
        self.code = self.loop.create_future()
        self.exit_code = 0

    async def main(self) -> int:
        self.link.attach(self.loop, self.on_connection, self.on_command)
        self.loop.call_soon(self.load)
        self.publish()
        code: int = await self.code
        self.link.life.publish(str(self.answered).encode())
        return code

    def load(self) -> None:
        plan = self.plan.removeprefix(ALONE)
        if plan != self.plan and not self.has_board():
            self.link.failed("error: another process has the board", 1)
            self.end(1)
        elif plan == "fail":
            self.link.failed("error: the plan says fail")
            self.end(LOAD_FAILED_EXIT)
        elif plan == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif plan == "slow":
            self.loop.call_later(0.3, self.link.ready)
        elif plan == "fail-once" and self.link.board.restarts == 1:
            pass  # until it is told to
        else:
            self.link.ready()

    def has_board(self) -> bool:
        board = os.open(Path(sys.argv[3]) / "board", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(board, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(board)
            return False
        return True  # until this process ends

    def publish(self) -> None:
        self.link.life.publish(str(self.answered).encode())
        self.loop.call_later(0.01, self.publish)

    def on_connection(self, connection: socket.socket, slot: int) -> None:
        task = self.loop.create_task(
            self.loop.connect_accepted_socket(lambda: Lines(self, slot), connection)
        )
        task.add_done_callback(lambda done: done.result())

    def on_command(self, command: Command) -> None:
        match command:
            case Drain():
                self.draining = True
            case Retire():
                self.retiring = True
            case GiveBack(count):
                self.to_give = count
            case Tell(payload):
                self.heard.append(payload.decode())
            case Ask(number, payload):
                if payload != b"nobody":
                    self.link.answer(number, payload + b"/%d" % os.getpid())
        for line in list(self.lines):
            self.settle(line)
        self.check_end()

    def settle(self, line: Lines) -> None:
        if not line.is_idle or line.transport.is_closing():
            return
        if self.draining:
            line.transport.close()
        elif self.retiring:
            line.hand_over()
        elif self.to_give:
            self.to_give -= 1
            line.hand_over()

    def check_end(self) -> None:
        if (self.draining or self.retiring) and not self.lines:
            self.end(self.exit_code)

    def end(self, code: int) -> None:
        if not self.code.done():
            self.code.set_result(code)

    def command(self, line: Lines, text: str) -> None:
        verb, _, rest = text.partition(" ")
        match verb:
            case "who":
                line.reply(f"{os.getpid()} {self.link.generation}")
            case "echo":
                line.reply(rest)
            case "big":
                line.reply("x" * int(rest))
            case "sleep":
                seconds, _, answer = rest.partition(" ")
                line.is_sleeping = True
                self.loop.call_later(float(seconds), line.reply_later, answer)
            case "run-and-die":
                self.link.life.set_running([part.encode() for part in rest.split(",")])
                os.kill(os.getpid(), signal.SIGKILL)
            case "fail":
                line.reply("failing")
                self.exit_code = LOAD_FAILED_EXIT
                self.link.failed("error: it was told to fail")
            case "stuck":
                time.sleep(float(rest))
            case "tell":
                self.link.tell(rest.encode())
                line.reply("told")
            case "heard":
                line.reply(f"{self.heard} {DEATHS}")
            case "ask":
                line.is_sleeping = True
                self.link.ask(
                    rest.encode(),
                    lambda answers, missing: line.reply_later(
                        f"{b' '.join(sorted(answers)).decode()} missing {missing}"
                    ),
                )
            case "board":
                board = self.link.board
                total = sum(map(int, board.snapshots()))
                line.reply(f"{board.ready_count()} {board.restarts} {total}")
            case "fds":
                counts = [len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getppid(), os.getpid())]
                line.reply(f"{counts[0]} {counts[1]}")


def child_main(plan: str, link: ParentLink) -> int:
    """In each server process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def main() -> int:
            return await Server(plan, link).main()

        return runner.run(main())


def main() -> int:
    """The supervisor."""
    logging.basicConfig(level=logging.INFO)
    restarts.SETTLED_S = float(os.environ.get("SETTLED_S", restarts.SETTLED_S))
    processes, drain_s = int(sys.argv[1]), float(sys.argv[2])
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else None

    def plan() -> str:
        text = "ok"
        if folder is not None:
            with contextlib.suppress(FileNotFoundError):
                text = (folder / "plan").read_text()
        if text == "raise":
            raise ValueError("the plan says raise")
        return text

    def on_death(bodies: list[bytes], was_alone: bool) -> bytes | None:
        DEATHS.append(f"{[body.decode() for body in bodies]} {was_alone}")
        return b"beware of " + b",".join(bodies)

    hooks = Hooks(
        child_main=child_main,
        reload=plan,
        on_ready=lambda: print("ready", flush=True),
        fold=lambda past, snapshot: str(int(past or 0) + int(snapshot)).encode(),
        on_death=on_death,
        is_exclusive=lambda plan: plan.startswith(ALONE),
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print("port", listener.getsockname()[1], flush=True)
    return Supervisor([listener], plan(), hooks, processes=processes, drain_s=drain_s).run()


if __name__ == "__main__":
    sys.exit(main())
