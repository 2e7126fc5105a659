"""A small HTTP server to stand behind HAProxy: ``python replica.py PORT LOG``.

It writes the X-Id of a request to LOG before it works on it, and says in its answer who it is and
what headers it got. ``/wait/0.2`` takes 0.2 s, ``/hold`` until there is LOG.release; ``/readyz`` is
503 while there is LOG.unready.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path


async def main(port: int, log: Path) -> None:
    started = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    release = log.with_name(f"{log.name}.release")
    unready = log.with_name(f"{log.name}.unready")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").split("\r\n")
                path = first.split(" ")[1]
                headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                status = 503 if path == "/readyz" and unready.exists() else 200
                if path != "/readyz":
                    os.write(started, f"{headers.get('x-id', '-')}\n".encode())
                if path.startswith("/wait/"):
                    await asyncio.sleep(float(path.removeprefix("/wait/")))
                while path == "/hold" and not release.exists():
                    await asyncio.sleep(0.01)
                said = {"replica": port, "headers": headers, "bytes": len(body)}
                data = json.dumps(said).encode()
                writer.write(
                    f"HTTP/1.1 {status} OK\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
