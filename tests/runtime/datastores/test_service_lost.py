"""Datastores by URL, with connections that break, servers that go and users that stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runtime.datastores import Datastore, FullError, InsideError, UnreachableError
from runtime.remote import RemoteWorkspace, parse_place
from runtime.remote.client import ServiceClient
from runtime.workspace_service.routes import datastore_files as routes
from tests.runtime.datastores.conftest import sftp_place
from tests.runtime.datastores.outside import PUBLIC, Rebinding
from tests.runtime.datastores.servers import running_sshd, wait_until
from tests.runtime.remote.served import Served, serving
from tests.runtime.server import environment

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("datastores")]
MIB = 1024 * 1024
API = "/api/v1/workspaces/default/datastores"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving({"default": tmp_path / "ws"}) as found:
        yield found


class Cutting:
    """Passes bytes on to ``port``, and cuts each of the first ``cuts`` connections that had more
    than ``after`` bytes in one direction."""

    def __init__(self, port: int, after: int, cuts: int) -> None:
        self._port = port
        self._after = after
        self.left = cuts
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
                passed += len(data)
                if passed > self._after and self.left > 0:
                    self.left -= 1
                    break
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
                each.close()


def test_transfers_go_on_where_connections_were_cut(served: Served, tmp_path: Path) -> None:
    data = os.urandom(40 * MIB)
    (tmp_path / "big").write_bytes(data)
    cutting = Cutting(httpx.URL(served.url).port or 0, after=10 * MIB, cuts=2)
    place = parse_place(cutting.url)
    waits: list[float] = []
    with (
        contextlib.closing(cutting),
        RemoteWorkspace(str(place), client=ServiceClient(place, wait=waits.append)) as far,
        Datastore.get_default(far) as store,  # type: ignore[arg-type]
    ):
        assert store.upload(tmp_path / "big").sent == ("big",)
        assert cutting.left == 0
        folder = tmp_path / "ws/datastore"
        assert (folder / "big").read_bytes() == data
        assert [path.name for path in folder.iterdir()] == ["big"]
        cutting.left = 3
        done: list[int] = []
        store.download(tmp_path / "here", "big", on_progress=lambda count, _: done.append(count))
        assert cutting.left == 0
        assert done == sorted(done)  # it never began again
    assert (tmp_path / "here/big").read_bytes() == data


def test_an_ssh_connection_that_died_while_nobody_used_it_is_made_again(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "sshd").mkdir()
    with running_sshd(tmp_path / "sshd") as sshd, served.remote() as far:
        place = sftp_place(tmp_path, sshd)
        served.local().datastores.attach("lab", place.kind, place.settings, place.secrets)
        (tmp_path / "a").write_bytes(b"1")
        with Datastore.get(far, "lab") as store:  # type: ignore[arg-type]
            store.upload(tmp_path / "a")
            for act in (store.ls, lambda: store.upload(tmp_path / "a", "b")):
                sessions = Path(f"/proc/{sshd.pid}/task/{sshd.pid}/children").read_text().split()
                assert sessions
                for session in sessions:  # of the sshd that this test started
                    os.kill(int(session), signal.SIGKILL)
                assert act()
            assert [item.path for item in store.ls()] == ["a", "b/a"]


def test_a_server_that_has_gone_is_said_and_not_for_ever(served: Served, tmp_path: Path) -> None:
    (tmp_path / "sshd").mkdir()
    with running_sshd(tmp_path / "sshd") as sshd:
        place = sftp_place(tmp_path, sshd)
    served.local().datastores.attach("lab", place.kind, place.settings, place.secrets)
    answer = httpx.get(f"{served.url}{API}/lab/files", timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (424, "lost_connection")
    with served.remote() as far:
        files = far.datastores.open_files(far.datastores.get("lab"))
        with (
            Datastore(far.datastores.get("lab"), files, waits_s=(0.01, 0.01)) as store,
            pytest.raises(UnreachableError, match=r"nobody answers at .* 3 times"),
        ):
            store.ls()


def test_a_disk_that_is_full_is_said(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "FREE_BYTES", 2**62)
    (tmp_path / "big").write_bytes(bytes(64 * MIB))
    with (
        served.remote() as far,
        Datastore.get_default(far) as store,  # type: ignore[arg-type]
        pytest.raises(FullError, match="no room"),
    ):
        store.upload(tmp_path / "big")


def test_a_name_that_changes_its_meaning_fetches_nothing_from_inside(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"bucket": "data", "endpoint": "http://turning.example", "reach": "public"}
    served.local().datastores.attach("lake", "s3", settings)
    turned = Rebinding([["127.0.0.1"], [PUBLIC, "10.0.0.1"]])
    monkeypatch.setattr(served.site.datastores, "_resolve", turned)
    with served.remote() as far, Datastore.get(far, "lake") as store:  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(InsideError):
                store.ls()


def test_a_service_that_ends_waits_for_no_client(tmp_path: Path) -> None:
    folder = tmp_path / "ws/datastore"
    with contextlib.ExitStack() as stack:
        with serving({"default": tmp_path / "ws"}) as served:
            url = httpx.URL(served.url)
            slow = stack.enter_context(socket.create_connection((url.host, url.port)))
            head = f"PUT {API}/workspace/files/a?size=9 HTTP/1.1\r\nHost: {url.host}\r\n"
            slow.sendall(f"{head}Content-Length: 9\r\n\r\n1234".encode())
            wait_until(lambda: folder.is_dir() and any(folder.iterdir()), "it has begun")
        ended = threading.Thread(target=served.site.datastores._threads.shutdown, daemon=True)
        ended.start()
        ended.join(20)
        assert not ended.is_alive()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("verb", ["upload", "download"])
def test_ctrl_c_ends_a_transfer_and_leaves_no_half_file(
    served: Served, tmp_path: Path, verb: str
) -> None:
    folder, here = tmp_path / "ws/datastore", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    big = (tmp_path if verb == "upload" else folder) / "big"
    big.write_bytes(os.urandom(MIB))
    os.truncate(big, 3000 * MIB)  # more than can be sent before it is ended
    target = folder if verb == "upload" else here
    arguments = [verb, "big"] if verb == "upload" else [verb, "big", "here"]
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", "datastore", *arguments, "-w", served.url],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # A shell has its jobs in the background ignore Ctrl-C, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        try:
            wait_until(lambda: any(target.iterdir()) or process.poll() is not None, "it has begun")
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    assert said.strip().endswith("interrupted")
    assert "Traceback" not in said
    wait_until(lambda: list(target.iterdir()) == [], "nothing half is there")
