"""``python -m scoring BUNDLE --host --port`` for tests of hosts, of the standard library alone, in
place of the real server in images (images.py). The bundle's behaviour.json says how it does; a
request tells what it is confined to.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Holds what it answers, until it is told to read it again."""

    daemon_threads = True
    answer = ""

    def server_bind(self) -> None:
        """As the parent's, without a name server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()[:2]
        self.server_name, self.server_port = "here", self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        """What it is asked."""
        what, _, rest = self.path[1:].partition("?")
        self.reply(WAYS.get(what, lambda _: "Healthy")(rest))

    def do_POST(self) -> None:
        """The answer that the bundle has."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.reply(self.server.answer)

    def reply(self, content: Any) -> None:
        """As JSON."""
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def write(path: str) -> str:
    """Whether that can be written."""
    try:
        pathlib.Path(path).write_text("written")
    except OSError as error:
        return type(error).__name__
    return "written"


def connect(path: str) -> str:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError as error:
            return type(error).__name__
    return "connected"


def take(size: str) -> str:
    """So much memory, slowly."""
    taken = []
    for _ in range(int(size) // 2**20):
        taken.append(os.urandom(2**20))
        time.sleep(0.002)
    return str(len(taken))


def fork(count: str) -> int:
    """How many processes it gets."""
    children = []
    try:
        for _ in range(int(count)):
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
        time.sleep(1)
    except OSError:
        pass
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return len(children)


def leave(_: str) -> int:
    """Starts one that leaves its group, and outlives it if it can."""
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
        os._exit(0)
    os.waitpid(child, 0)
    return os.getpid()


def hide(size: str) -> int:
    """As ``leave``, and that one takes memory."""
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.setsid()
            kept = take(size), bytearray(os.urandom(int(size)))
            time.sleep(600)
            print(kept)
        os._exit(0)
    os.waitpid(child, 0)
    return os.getpid()


def hop(count: str) -> int:
    """Starts so many that fork and end all the time: wherever one was seen, it is gone. For 15 s,
    and not more than eight: a machine bears no more when a test fails."""
    end_at = time.monotonic() + 15
    for _ in range(min(8, int(count))):
        if os.fork() == 0:
            while time.monotonic() < end_at:
                if os.fork():
                    os._exit(0)
                os.setsid()
            os._exit(0)
    return os.getpid()


def say(text: str) -> str:
    """Prints it."""
    print(text, flush=True)
    return text


def end(code: str) -> str:
    """Ends a moment later."""
    threading.Timer(0.05, os._exit, [int(code)]).start()
    return code


WAYS: dict[str, Any] = {
    "env": lambda _: dict(os.environ),
    "args": lambda _: sys.argv[1:],
    "status": lambda _: dict(
        line.split(":\t", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines()
    ),
    "affinity": lambda _: sorted(os.sched_getaffinity(0)),
    "write": write,
    "connect": connect,
    "take": take,
    "fork": fork,
    "leave": leave,
    "hide": hide,
    "hop": hop,
    "say": say,
    "end": end,
}


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    asked, _ = parser.parse_known_args()
    behaviour = json.loads((asked.bundle / "behaviour.json").read_text())
    print("it begins", flush=True)
    if behaviour.get("exit_code") is not None:
        os._exit(behaviour["exit_code"])
    if behaviour.get("is_stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server = Server((asked.host, asked.port), Handler)

    def read(*_: Any) -> None:
        found = json.loads((asked.bundle / "behaviour.json").read_text())
        server.answer = found.get("answer", "")

    read()
    signal.signal(signal.SIGHUP, read)
    print(f"Listening on http://{asked.host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
