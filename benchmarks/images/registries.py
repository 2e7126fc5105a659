"""Servers of blobs on loopback: ours, Debian's docker-registry, and nginx over our files."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.contestants import BIN
from benchmarks.images.workspaces import Command, NotMeasuredError, Workspace, require
from benchmarks.servers import POLL_S, free_port, stop

READY_TIMEOUT_S = 20.0
NGINX = """
daemon off; worker_processes auto; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextlib.contextmanager
def ours(workspace: Workspace) -> Iterator[int]:
    """``inferry registry serve``; its port."""
    port = free_port()
    command: Command = [BIN / "inferry", "registry", "serve", "--port", str(port)]
    environment = {**workspace.environment, "INFERRY_WORKSPACE": str(workspace.root)}
    with _serving(command, port, "/v2/", workspace.root.parent / "ours.log", environment):
        yield port


@contextlib.contextmanager
def docker_registry(folder: Path) -> Iterator[int]:
    """An empty one with its files in ``folder``; its port."""
    port = free_port()
    folder.mkdir(parents=True)
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of one run"},
    }
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    command: Command = [require("docker-registry"), "serve", folder / "config.yml"]
    with _serving(command, port, "/v2/", folder / "log", {}):
        yield port


@contextlib.contextmanager
def nginx(root: Path, folder: Path) -> Iterator[int]:
    """With sendfile, over the files in ``root``; its port."""
    port = free_port()
    folder.mkdir(parents=True)
    config = folder / "nginx.conf"
    config.write_text(f"user {_user()};" + NGINX.format(folder=folder, root=root, port=port))
    with _serving([require("nginx"), "-c", config], port, "/", folder / "log", {}):
        yield port


def _user() -> str:
    """Who runs this: nginx as root would read as another, who may not."""
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


@contextlib.contextmanager
def _serving(
    command: Command, port: int, path: str, log: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        _wait(process, port, path, log)
        yield
    finally:
        stop(process)


def _wait(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    ends_s = time.monotonic() + READY_TIMEOUT_S
    while process.poll() is None and time.monotonic() < ends_s:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            connection.request("GET", path)
            connection.getresponse().read()  # whatever it is
            return
        time.sleep(POLL_S)
    raise NotMeasuredError(f"no answer on port {port}: {log.read_text(errors='replace')[-600:]}")
