"""What was counted of a service's shadows, for whoever looks.

read_counts(folder, "web")           # by shadow, such as "r3"; nothing where none was counted
mirror_metrics(folder)               # of all services, for Prometheus
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from pathlib import Path
from typing import cast

import msgspec

from edge.keeping.http_probe import Timed
from runtime.balance.runtime_api import connect
from runtime.errors import InferryError
from runtime.shadow import page
from runtime.shadow.counts import Counts
from runtime.shadow.names import SOCKET, counts_file, counts_socket

TIMEOUT_S = 1.0
MOST_BYTES = 4 << 20


class CountsError(InferryError):
    """They cannot be read, for which the message has the cause."""


def read_counts(folder: Path, service: str) -> dict[str, Counts]:
    """As they are now; as they were saved last where nobody counts. Raises CountsError."""
    try:
        found = fetched(folder, service, "/counts")
        if found is None:
            found = (folder / counts_file(service)).read_bytes()
        return page.decoded(found)
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise CountsError("only the account of the controller may read what was counted") from None
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise CountsError(f"what was counted cannot be read: {type(error).__name__}") from None


def mirror_metrics(folder: Path) -> bytes:
    """Of all services that have a mirror, for Prometheus; what cannot be read is left out."""
    found = {}
    with contextlib.suppress(OSError):
        for path in folder.glob(f"*{SOCKET}"):
            with contextlib.suppress(CountsError):
                service = path.name.removesuffix(SOCKET)
                found[service] = read_counts(folder, service)
    return page.metrics(found).encode() if found else b""


def fetched(folder: Path, service: str, target: str) -> bytes | None:
    """A page of the comparer's; None where it does not answer. Raises PermissionError."""
    deadline = time.monotonic() + TIMEOUT_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        try:
            link.settimeout(TIMEOUT_S)
            connect(link, folder, counts_socket(service))
            link.sendall(f"GET {target} HTTP/1.1\r\nhost: inferry\r\n\r\n".encode())
            answer = http.client.HTTPResponse(cast("socket.socket", Timed(link, deadline)))
            try:
                answer.begin()
                found = answer.read(MOST_BYTES + 1)
                is_whole = answer.status == 200 and not answer.length
            finally:
                answer.close()
        except PermissionError:
            raise
        except (OSError, http.client.HTTPException, ValueError):
            return None
    return found if is_whole and len(found) <= MOST_BYTES else None
