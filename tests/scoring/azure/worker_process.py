"""The server's side of a worker process, for tests."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from scoring.azure.channel import Channel
from scoring.script import frames

JSON = ("content-type", "application/json")
INIT = "def init():\n    pass\n\n"
Body = bytes | bytearray


@dataclass
class Worker:
    """The server's side of a worker."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    channel: Channel = field(init=False)

    def __post_init__(self) -> None:
        self.channel = Channel(self.socket)

    def ready(self) -> frames.Ready:
        """The first frame of a worker that serves."""
        message, _ = self.channel.receive()
        assert isinstance(message, frames.Ready), message
        return message

    def score(self, body: bytes = b"", method: str = "POST") -> tuple[frames.Message, Body]:
        """One request."""
        self.channel.send(frames.ScoreRequest(method, "/score", "", [JSON]), body)
        return self.channel.receive()

    def post(self, bodies: list[bytes], *headers: tuple[str, str]) -> None:
        """Send a batch."""
        heads = [frames.ScoreRequest("POST", "/score", "", [*headers, JSON]) for _ in bodies]
        batch = frames.ScoreBatch(heads, [len(body) for body in bodies])
        self.channel.send(batch, b"".join(bodies))

    def batch(self, *bodies: object) -> list[Answer]:
        """The answers to a batch of JSON bodies (bytes go as they are), in order."""
        self.post(
            [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
        )
        found: dict[int, Answer] = {}
        while len(found) < len(bodies):
            reply, body = self.channel.receive()
            if not isinstance(reply, frames.Progress):
                assert isinstance(reply, frames.Reply), reply
                found[reply.index] = Answer(reply.status, json.loads(body), reply)
        return [found[place] for place in range(len(bodies))]

    def log(self) -> str:
        """End the worker; what it has logged."""
        self.socket.close()
        return self.process.communicate(timeout=10)[0].decode()


@dataclass
class Answer:
    """A reply with its parsed body."""

    status: int
    json: object
    reply: frames.Reply


Start = Callable[..., Worker]
