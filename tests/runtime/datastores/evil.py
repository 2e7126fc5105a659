"""Servers that are not to be trusted: an S3 API and an SFTP server that say what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import asyncssh

ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
LISTING = (
    "<?xml version='1.0'?><ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
    "<Name>b</Name><IsTruncated>{truncated}</IsTruncated>{entries}{token}</ListBucketResult>"
)
ENTRY = (
    "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>&quot;{etag}&quot;</ETag>"
    "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
)
Headers = dict[str, str]
Answer = tuple[int, Headers, bytes]


def error(status: int, code: str, headers: Headers | None = None) -> Answer:
    return status, headers or {}, ERROR.format(code=code).encode()


def listing(*keys: str, size: int = 1, etag: str = "x", token: str = "") -> Answer:
    entries = "".join(ENTRY.format(key=key, size=size, etag=etag) for key in keys)
    text = LISTING.format(
        truncated="true" if token else "false",
        entries=entries,
        token=f"<NextContinuationToken>{token}</NextContinuationToken>" if token else "",
    )
    return 200, {}, text.encode()


@dataclass(slots=True)
class EvilS3:
    """``answer``: of method and path with query; ``requests``: what came, with all headers."""

    port: int
    answer: Callable[[str, str], Answer] = field(default=lambda method, path: listing())
    requests: list[tuple[str, str, Headers]] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def evil_s3() -> Iterator[EvilS3]:
    """On a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # or it does not say that it wants the body

        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            evil.requests.append((self.command, self.path, dict(self.headers)))
            status, headers, body = evil.answer(self.command, self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

        def log_message(self, format: str, *args: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away."""

    server = Server(("127.0.0.1", 0), Handler)
    evil = EvilS3(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield evil
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(slots=True)
class EvilSftp:
    """``names``: what each folder has, with its attributes. ``private_key`` logs in as anybody."""

    port: int
    host_key: str
    private_key: bytes
    passwords: list[str]


@contextlib.contextmanager
def evil_sftp(names: list[tuple[str, asyncssh.SFTPAttrs]]) -> Iterator[EvilSftp]:
    """On a free port of loopback. It takes the password ``right``, and notes those that came."""
    host = asyncssh.generate_private_key("ssh-ed25519")
    user = asyncssh.generate_private_key("ssh-ed25519")
    passwords: list[str] = []

    class Files(asyncssh.SFTPServer):
        async def scandir(self, path: bytes) -> Any:
            for name, attributes in names:
                yield asyncssh.SFTPName(name.encode(), b"", attributes)

        def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
            return asyncssh.SFTPAttrs(permissions=0o40755, size=0, mtime=1, atime=1)

        stat = lstat

    class Login(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            passwords.append(password)
            return password == "right"

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            return key.public_data == user.public_data

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Login, server_host_keys=[host], sftp_factory=Files
        )

    async def end(acceptor: asyncssh.SSHAcceptor) -> None:
        acceptor.close()
        await acceptor.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    try:
        yield EvilSftp(
            acceptor.get_port(),
            " ".join(host.export_public_key("openssh").decode().split()[:2]),
            user.export_private_key("openssh"),
            passwords,
        )
    finally:
        asyncio.run_coroutine_threadsafe(end(acceptor), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
