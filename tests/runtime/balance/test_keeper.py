"""HAProxy kept running: what it refuses, who may keep it, how it ends and begins again."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from runtime.balance import Balance, Balancer, Limits, Service, Version, configuration
from runtime.balance.certificate import certificate_text
from runtime.balance.errors import (
    FolderError,
    NoHaproxyError,
    RefusedConfigError,
    StartError,
)
from runtime.balance.keeper import Keeper
from runtime.balance.layout import arranged
from runtime.balance.process import Account, complaint, usual_account
from tests.engine import program
from tests.ports import free_port
from tests.runtime.balance.conftest import Front, Servers, haproxies, one_version
from tests.runtime.balance.load import Load, wait_until

pytestmark = pytest.mark.slow
NOW = datetime.datetime.now(datetime.UTC)


def test_a_configuration_that_haproxy_refuses_changes_nothing(
    front: Front, servers: Servers
) -> None:
    server = servers()
    front.apply(one_version(server))
    keeper = front.balancer.keeper
    before, pid = keeper.read("haproxy.cfg"), keeper.pid
    with pytest.raises(RefusedConfigError, match="unknown keyword 'nonsense'") as refusal:
        keeper.run({"haproxy.cfg": "global\n  nonsense here\n"})
    assert len(str(refusal.value).splitlines()) == 1
    assert (keeper.read("haproxy.cfg"), keeper.pid) == (before, pid)
    assert not (keeper.folder / "next").exists()
    assert front.ask()[0] == 200


def test_a_port_that_is_taken_is_said_and_what_ran_goes_on(front: Front, servers: Servers) -> None:
    server = servers()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port}: Address already in use"):
            front.balancer.apply(Balance((Service("b", port),)))
        front.apply(one_version(server))
        mine = Service("a", front.port, (one_version(server),))
        with pytest.raises(StartError, match=f"port {port}: Address already in use"):
            front.balancer.apply(Balance((mine, Service("b", port))))
    assert front.ask()[0] == 200
    front.balancer.apply(Balance((mine, Service("b", port))))
    assert front.ask()[0] == 200


def test_two_haproxies_do_not_share_a_port(front: Front, servers: Servers, folder: Path) -> None:
    front.apply(one_version(servers()))
    with Balancer(folder.with_name("second")) as second:
        with pytest.raises(StartError, match="already in use"):
            second.apply(Balance((Service("a", front.port),)))
        assert haproxies(folder.with_name("second")) == []


def test_a_folder_has_one_keeper(front: Front, folder: Path) -> None:
    with pytest.raises(FolderError, match="another keeper"), Keeper(folder):
        pass


def test_haproxy_is_not_root_and_its_files_are_its_own(front: Front, servers: Servers) -> None:
    front.apply(one_version(servers()))
    folder = front.balancer.keeper.folder
    for pid in haproxies(folder):
        uid = Path(f"/proc/{pid}").stat().st_uid
        assert uid != 0
        assert uid == folder.stat().st_uid
    for path in [folder, *folder.rglob("*")]:
        if path.suffix != ".log":
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


@pytest.mark.root
def test_an_account_that_cannot_reach_the_folder_is_said(tmp_path: Path) -> None:
    program("haproxy")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(FolderError, match="account 'haproxy' cannot enter"):
        Balancer(closed / "haproxy").__enter__()


def test_no_haproxy_and_no_account_are_said(tmp_path: Path) -> None:
    with (
        Balancer(tmp_path / "a", command="no-such-haproxy", account=Account()) as balancer,
        pytest.raises(NoHaproxyError, match="apt-get install haproxy"),
    ):
        balancer.apply(Balance())
    with pytest.raises(Exception, match="no account 'nobody-at-all'"):
        Balancer(tmp_path / "b", account=Account("nobody-at-all")).__enter__()
    assert usual_account().name != "root"


def test_what_haproxy_says_is_one_line() -> None:
    said = "[NOTICE]   (1) : version\n[ALERT]    (1) : Binding [x:2] : no\n[ALERT] (1) : more\n"
    assert complaint(said) == "Binding [x:2] : no"
    assert complaint("") == "it said nothing"
    assert complaint("exec failed\nx") == "exec failed"


def test_stopping_ends_every_process_and_frees_the_port(front: Front, servers: Servers) -> None:
    front.apply(one_version(servers()))
    front.balancer.stop(grace_s=5)
    assert haproxies(front.balancer.keeper.folder) == []
    with socket.create_server(("127.0.0.1", front.port)):
        pass
    front.balancer.stop(grace_s=5)
    assert front.balancer.services() == {}


@pytest.mark.parametrize("round", range(3))
def test_a_port_is_free_at_once_after_a_stop_that_does_not_wait(
    front: Front, servers: Servers, round: int
) -> None:
    server = servers()
    front.apply(one_version(server))
    with Load(front.port, connections=2, path="/wait/30") as load:
        load.wait(lambda: server.begun() >= 2)
        load.is_stopping = True
        front.balancer.stop(grace_s=0)
        with socket.create_server(("127.0.0.1", front.port)):
            pass
        assert haproxies(front.balancer.keeper.folder) == []


@pytest.mark.parametrize("victim", ["master", "worker", "both"])
def test_the_next_keeper_copes_with_what_was_killed_just_now(
    front: Front, servers: Servers, folder: Path, victim: str
) -> None:
    server = servers()
    front.apply(one_version(server))
    pid = front.balancer.keeper.pid
    assert pid is not None
    front.balancer.__exit__(None, None, None)
    for each in haproxies(folder):
        if victim == "both" or (each == pid) == (victim == "master"):
            os.kill(each, signal.SIGKILL)
    with front.balancer:
        front.apply(one_version(server))
        assert front.ask()[0] == 200
    front.balancer.__enter__()


def test_nothing_is_left_when_nothing_is_declared_and_it_comes_back(
    front: Front, servers: Servers, folder: Path
) -> None:
    server = servers()
    front.apply(one_version(server))
    front.balancer.end()
    assert front.balancer.is_needless
    assert haproxies(folder) == []
    assert [path.name for path in folder.iterdir()] == ["lock"]
    with socket.create_server(("127.0.0.1", front.port)):
        pass
    assert front.apply(one_version(server)) == "started"
    assert front.ask()[0] == 200
    front.balancer.end()
    front.balancer.__exit__(None, None, None)
    assert not folder.exists()
    front.balancer.__enter__()
    assert front.apply(one_version(server)) == "started"


def test_a_folder_that_its_keeper_has_removed_is_made_anew_for_who_waited(folder: Path) -> None:
    with Keeper(folder):
        descriptor = os.open(folder / "lock", os.O_RDWR)
    assert not folder.exists()
    try:
        with Keeper(folder), pytest.raises(FolderError, match="another keeper"), Keeper(folder):
            pass
    finally:
        os.close(descriptor)


def test_stopping_waits_for_what_has_begun_but_not_for_ever(front: Front, servers: Servers) -> None:
    server = servers()
    front.apply(one_version(server))
    with Load(front.port, connections=2, path="/wait/0.3") as load:
        load.wait(lambda: server.begun() >= 2)
        load.is_stopping = True
        front.balancer.stop(grace_s=10)
    assert load.failed() == []
    front.apply(one_version(server))
    before = server.begun()
    with Load(front.port, connections=1, path="/wait/30") as load:
        load.wait(lambda: server.begun() > before)
        load.is_stopping = True
        began_s = time.monotonic()
        front.balancer.stop(grace_s=0.2)
        assert time.monotonic() - began_s < 15
    assert haproxies(front.balancer.keeper.folder) == []


def test_a_killed_worker_is_replaced_like_a_killed_master(front: Front, servers: Servers) -> None:
    front.apply(one_version(servers()))
    (api,) = front.balancer.keeper.apis()
    worker = api.info().pid
    assert worker != front.balancer.keeper.pid
    os.kill(worker, signal.SIGKILL)
    assert front.ask()[0] == 200
    wait_until(lambda: len(haproxies(front.balancer.keeper.folder)) == 2)


def kill_master(front: Front) -> None:
    """Its worker still takes connections for some milliseconds, and loses them: wait for the
    next."""
    pid = front.balancer.keeper.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: front.balancer.keeper.pid != pid)


def test_haproxy_that_is_killed_again_and_again_comes_back(front: Front, servers: Servers) -> None:
    server = servers()
    front.apply(one_version(server))
    for _ in range(3):
        kill_master(front)
        assert front.ask()[0] == 200
    assert front.apply(one_version(server)) == "nothing"


def test_haproxy_that_cannot_start_again_is_said_and_mended(front: Front, servers: Servers) -> None:
    server = servers()
    front.apply(one_version(server))
    keeper = front.balancer.keeper
    (keeper.folder / "haproxy.cfg").write_text("global\n  nonsense\n")
    pid = keeper.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: sum("unknown keyword 'nonsense'" in line for line in front.told) > 2)
    assert not keeper.is_running
    assert all("\n" not in line for line in front.told)
    assert front.apply(one_version(server)) == "started"
    assert front.ask()[0] == 200


def test_a_log_that_grows_begins_anew(front: Front, servers: Servers) -> None:
    server = servers()
    front.apply(one_version(server))
    log = front.balancer.keeper.folder / "haproxy.log"
    with log.open("ab") as file:
        file.truncate(5 << 20)
    wait_until(lambda: log.stat().st_size < 1 << 20)
    server.kill()
    wait_until(lambda: "a.0/s1 is DOWN" in log.read_text())


def test_after_a_kill_a_reload_hands_the_ports_over_as_before(
    front: Front, servers: Servers
) -> None:
    server = servers()
    front.apply(one_version(server))
    kill_master(front)
    assert front.ask()[0] == 200
    with Load(front.port) as load:
        load.wait_for(20)
        assert front.apply(one_version(server), limits=Limits(queue=3)) == "reloaded"
        load.wait_for(20)
    assert load.failed() == []


KEEP = """
import sys, time
from pathlib import Path
from runtime.balance import Balance, Balancer, Replica, Service, Version
folder, port, replica = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with Balancer(folder) as balancer:
    version = Version("v1", 1, (Replica("127.0.0.1", replica),))
    balancer.apply(Balance((Service("a", port, (version,)),)))
    print("applied", flush=True)
    time.sleep(60)
"""


def test_requests_go_on_when_the_keeper_is_killed_and_the_next_one_takes_over(
    folder: Path, servers: Servers
) -> None:
    server, port = servers(), free_port()
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEP, folder, str(port), str(server.port)], stdout=subprocess.PIPE
    )
    with keeper, contextlib.ExitStack() as ending:
        ending.callback(keeper.kill)
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"applied\n"
        with Load(port) as load:
            load.wait_for(20)
            keeper.kill()
            keeper.wait()
            load.wait_for(50)
            with Balancer(folder) as balancer:
                assert len(balancer.keeper.apis()) == 1
                service = Service("a", port, (one_version(server),))
                assert balancer.apply(Balance((service,))).how == "nothing"
                load.wait_for(20)
                other = Service("a", port, (one_version(server),), limits=Limits(queue=5))
                assert balancer.apply(Balance((other,))).how == "reloaded"
                load.wait_for(20)
                pid = balancer.keeper.pid
                assert pid is not None
                failed = len(load.failed())
                assert failed == 0
                os.kill(pid, signal.SIGKILL)
                load.wait_for(100)
                balancer.stop(0)
                load.is_stopping = True
    assert haproxies(folder) == []


def test_what_a_keeper_did_not_finish_is_finished_by_the_next(
    front: Front, servers: Servers, tmp_path: Path, folder: Path
) -> None:
    """Its files tell what should be; only HAProxy tells what is."""
    server = servers()
    authority = trustme.CA()
    path = tmp_path / "cert.pem"
    certify(authority, path)
    front.apply(one_version(server), certificate=str(path), limits=Limits())
    front.balancer.keeper.__exit__(None, None, None)
    service = Service("a", front.port, (one_version(server),), certificate=str(path))
    other = replace(service, limits=Limits(queue=5))
    certify(authority, path)
    files = configuration.files(arranged(Balance((other,))))
    with Keeper(folder) as keeper:
        keeper.store({**files, "certificates/a.pem": certificate_text(path, NOW)})
    with Balancer(folder) as balancer:
        pid = balancer.keeper.pid
        assert balancer.apply(Balance((service,), threads=2)).how == "commands"  # certificate
        assert balancer.keeper.pid == pid
        assert balancer.apply(Balance((other,), threads=2)).how == "reloaded"
        assert balancer.apply(Balance((other,), threads=2)).how == "nothing"
    front.balancer.keeper.__enter__()


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"{", b"[]", b""])
def test_a_damaged_record_of_places_costs_nothing(
    front: Front, servers: Servers, folder: Path, damage: bytes
) -> None:
    first, second = servers(), servers()
    front.apply(one_version(first, second))
    front.apply(one_version(second))
    front.balancer.keeper.__exit__(None, None, None)
    (folder / "layout.json").write_bytes(damage)
    with Load(front.port) as load:
        load.wait_for(10)
        with front.balancer:
            front.apply(one_version(second))
            front.apply(one_version(first, second))
            load.wait_for(10)
        load.wait_for(10)
    assert load.failed() == []
    front.balancer.keeper.__enter__()


def certify(authority: trustme.CA, path: Path) -> None:
    leaf = authority.issue_cert("127.0.0.1")
    path.write_bytes(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())


def test_a_reload_that_failed_leaves_its_haproxy_to_the_next_keeper(
    front: Front, servers: Servers, folder: Path
) -> None:
    server = servers()
    front.apply(one_version(server))
    keeper = front.balancer.keeper
    names = ("haproxy.cfg", "hold.lua", "maps/a.split", "maps/a.lanes")
    files = {name: keeper.read(name) or "" for name in names}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        files["haproxy.cfg"] += f"\nfrontend b\n  bind 127.0.0.1:{port}\n"
        with pytest.raises(StartError, match="Address already in use"):
            keeper.run(files)
    pid = keeper.pid
    keeper.__exit__(None, None, None)
    with Balancer(folder) as balancer:
        assert balancer.keeper.pid == pid
        assert len(balancer.keeper.apis()) == 1
    keeper.__enter__()
    assert front.ask()[0] == 200
    assert front.apply(one_version(server)) == "nothing"


def test_a_service_may_listen_at_another_address_of_its_port(
    front: Front, servers: Servers
) -> None:
    server = servers()
    front.apply(one_version(server))
    for address in ("0.0.0.0", "127.0.0.1"):
        assert front.apply(one_version(server), address=address) == "reloaded"
        assert front.ask()[0] == 200
    assert front.balancer.keeper.wait_finished(10)


def test_a_service_that_goes_frees_its_port(front: Front, servers: Servers) -> None:
    server, port = servers(), free_port()
    mine = Service("a", front.port, (one_version(server),))
    front.balancer.apply(Balance((mine, Service("b", port, (Version("v", 1),)))))
    front.balancer.apply(Balance((mine,)))
    assert front.balancer.keeper.wait_finished(10)
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_metrics_are_shown_to_prometheus(front: Front, servers: Servers) -> None:
    port = free_port()
    mine = Service("a", front.port, (one_version(servers()),))
    front.balancer.apply(Balance((mine,), metrics_port=port))
    assert front.ask()[0] == 200
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.sendall(b"GET /metrics?no-maint HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: link.recv(65536), b"")).decode()
    assert 'haproxy_server_http_responses_total{proxy="a.0",server="s1",code="2xx"} 1' in text
    assert 'server="s9"' not in text
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert link.recv(100).startswith(b"HTTP/1.1 404")
