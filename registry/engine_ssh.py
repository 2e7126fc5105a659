"""The way to a Docker Engine through the ssh program, for the docker SDK's client: each connection
is a process ``ssh HOST docker system dial-stdio``, as Docker's own client has it.

client.mount(client.base_url, SshAdapter(address))

The SDK's own way needs paramiko, and forgets what ssh says. Nobody is asked for a password, and a
host that is not known is refused.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any

import requests
import urllib3.connection
from requests.adapters import HTTPAdapter

from registry.engine_address import EngineAddress

DIAL = "docker system dial-stdio"
CONNECTIONS = 10
CONNECT_S = 10.0
ALIVE_S = 10
WORDS_S = 2.0
"""For ssh to have said why it ends."""
MAX_WORDS = 4096
SAYS = "ssh: "


class SshEndedError(OSError):
    """The connection broke; its text is what ssh said."""


def ssh_command(address: EngineAddress, timeout_s: float) -> Sequence[str]:
    """What is run for each connection. Pure."""
    parts = address.parts
    options = ["BatchMode=yes", f"ConnectTimeout={max(1, round(timeout_s))}"]
    options += [f"ServerAliveInterval={ALIVE_S}", "ServerAliveCountMax=2", "LogLevel=ERROR"]
    found = ["ssh", "-T"]
    if address.ssh_config is not None:
        found += ["-F", str(address.ssh_config)]
    for option in options:
        found += ["-o", option]
    if parts.port is not None:
        found += ["-p", str(parts.port)]
    if parts.username:
        found += ["-l", parts.username]
    return [*found, "--", address.host, DIAL]


class _Way:
    """One ssh process. It ends when the socket is closed, and is waited for."""

    def __init__(self, address: EngineAddress, timeout_s: float | None) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(timeout_s)
        try:
            process = subprocess.Popen(
                ssh_command(address, timeout_s or CONNECT_S),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is not for it
            )
        except FileNotFoundError:
            self.socket.close()
            raise SshEndedError("there is no program ssh; install openssh-client") from None
        except BaseException:
            self.socket.close()
            raise
        finally:
            theirs.close()
        self._said = b""
        self._ended = threading.Event()
        threading.Thread(target=self._hear, args=(process,), name="ssh", daemon=True).start()

    def words(self) -> str:
        """Why it ended, as soon as it has; empty when it does not say."""
        self._ended.wait(WORDS_S)
        lines = self._said.decode(errors="replace").split("\n")
        found = [line.strip() for line in lines if line.strip()]
        return "; ".join(found[-2:])[-400:]

    def _hear(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr:
            self._keep(process.stderr)
        process.wait()
        self._ended.set()

    def _keep(self, stderr: IO[bytes]) -> None:
        while chunk := stderr.read(1024):
            self._said = (self._said + chunk)[-MAX_WORDS:]


class _Connection(urllib3.connection.HTTPConnection):
    """HTTP over one process."""

    address: EngineAddress
    way: _Way | None = None

    def connect(self) -> None:
        timeout_s = self.timeout if isinstance(self.timeout, (int, float)) else None
        self.way = _Way(self.address, timeout_s)
        self.sock = self.way.socket

    def getresponse(self) -> Any:
        try:
            return super().getresponse()
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as error:
            said = str(error)
        # Outside of the handler: the first cause of what comes of it is this.
        words = self.way.words() if self.way is not None else ""
        raise SshEndedError(f"ssh: {words.removeprefix(SAYS)}" if words else f"ssh ended: {said}")


class _Pool(urllib3.HTTPConnectionPool):
    """Of connections to one engine."""

    def __init__(self, address: EngineAddress) -> None:
        super().__init__("localhost", maxsize=CONNECTIONS)
        self._address = address

    def _new_conn(self) -> _Connection:
        made = _Connection(self.host)
        made.address = self._address
        return made


class SshAdapter(HTTPAdapter):
    """For a session of requests; ``close`` ends its processes."""

    def __init__(self, address: EngineAddress) -> None:
        self._pool = _Pool(address)
        super().__init__()

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: Any = None,
    ) -> Any:
        return self._pool

    def request_url(
        self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None
    ) -> str:
        return request.path_url

    def close(self) -> None:
        self._pool.close()
        super().close()
