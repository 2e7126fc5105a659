"""The command socket, with one that misbehaves and with a real one."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.balance.errors import LateError, RefusedError, RuntimeApiError, UnreachableError
from runtime.balance.runtime_api import RuntimeApi
from tests.runtime.balance.conftest import Front, Servers, one_version


@contextmanager
def socket_that(
    answers: Callable[[socket.socket], object], folder: Path, *, timeout_s: float = 45
) -> Iterator[RuntimeApi]:
    with socket.socket(socket.AF_UNIX) as server:
        held = os.open(folder, os.O_PATH)
        server.bind(f"/proc/self/fd/{held}/s")
        os.close(held)
        server.listen()

        def serve() -> None:
            link, _ = server.accept()
            with link:
                while link.recv(4096):
                    pass
                answers(link)

        thread = threading.Thread(target=serve)
        thread.start()
        yield RuntimeApi(folder, "s", timeout_s=timeout_s)
        thread.join()


def test_a_silent_socket_is_late(tmp_path: Path) -> None:
    done = threading.Event()
    with socket_that(lambda link: done.wait(60), tmp_path, timeout_s=0.3) as api:
        began_s = time.monotonic()
        with pytest.raises(LateError):
            api.stats()
        assert time.monotonic() - began_s < 20
        done.set()


def test_an_answer_that_drips_is_late(tmp_path: Path) -> None:
    def drip(link: socket.socket) -> None:
        try:
            while True:
                link.send(b"x")
                time.sleep(0.05)
        except OSError:
            pass

    with socket_that(drip, tmp_path, timeout_s=0.3) as api, pytest.raises(LateError):
        api.info()


@pytest.mark.parametrize("answer", [b"", b"\n", b"\xff\xfe garbage", b"# \n", b"Name: x\n"])
def test_an_answer_that_is_none_is_a_typed_error(answer: bytes, tmp_path: Path) -> None:
    for call in (RuntimeApi.stats, RuntimeApi.info, RuntimeApi.master_pid):
        folder = tmp_path / call.__name__
        folder.mkdir()
        with socket_that(lambda link: link.sendall(answer), folder) as api:
            with pytest.raises(RuntimeApiError) as raised:
                call(api)
            assert len(str(raised.value).splitlines()) == 1


def test_nobody_there_is_unreachable_however_long_the_path_is(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError):
        RuntimeApi(tmp_path, "s").info()
    deep = tmp_path.joinpath(*(["x" * 60] * 4))
    with pytest.raises(UnreachableError):
        RuntimeApi(deep, "s").info()
    deep.mkdir(parents=True)
    said = b"Version: 2\nPid: 7\nUptime_sec: 5\nCurrConns: 2\nStopping: 0\n"
    with socket_that(lambda link: link.sendall(b"Name: H\n" + said), deep) as api:
        assert api.info().pid == 7


@pytest.mark.parametrize("text", ["a/s1\nshow info", "a/s1;show info", "a/s1 <<", "a\x00", "é"])
def test_a_command_in_a_command_is_not_sent(text: str, tmp_path: Path) -> None:
    api = RuntimeApi(tmp_path, "nobody is there")
    with pytest.raises(RefusedError):
        api.set_state(text, "ready")


@pytest.mark.slow
def test_a_real_one_does_what_it_is_told_and_says_no(front: Front, servers: Servers) -> None:
    server = servers()
    front.apply(one_version(server))
    (api,) = front.balancer.keeper.apis()
    assert api.info().version.startswith(("2.", "3."))
    assert api.master_pid() == front.balancer.keeper.pid
    api.set_weight("a.0/s1", 7)
    api.set_max_requests("a.0/s1", 9)
    api.set_state("a.0/s1", "drain")
    api.set_place("a.0/s2", "::1", 5)
    api.set_place("a.0/s2", "::1", 5)
    found = {one.key: one for one in api.stats().servers}
    assert len(found) == 4 * 16
    first, second = found["a.0", "s1"], found["a.0", "s2"]
    assert (first.weight, first.max_requests, first.admin) == (7, 9, "drain")
    assert (second.address, second.port, second.admin) == ("::1", 5, "maintenance")
    api.set_state("a.0/s1", "ready")
    api.set_down("a.0/s1")
    api.replace_map("maps/a.split", (("0:4", "1"), ("5:9", "0")))
    assert set(api.map_entries("maps/a.split")) == {("0:4", "1"), ("5:9", "0")}
    api.replace_map("maps/a.split", ())
    assert api.map_entries("maps/a.split") == ()
    refused: list[Callable[[], object]] = [
        lambda: api.set_state("a.0/s99", "ready"),
        lambda: api.set_weight("b/s1", 1),
        lambda: api.set_weight("a.0/s1", 1000),
        lambda: api.set_place("a.0/s1", "300.1.1.1", 1),
        lambda: api.set_place("a.0/s99", "127.0.0.1", 1),
        lambda: api.set_max_requests("a.0/s99", 1),
        lambda: api.set_down("a.0/s99"),
        lambda: api.map_entries("maps/b.split"),
        lambda: api.replace_map("maps/b.split", ()),
        lambda: api.replace_certificate("certificates/b.pem", "no certificate"),
    ]
    for call in refused:
        with pytest.raises(RefusedError) as raised:
            call()
        assert len(str(raised.value).splitlines()) == 1
    assert front.apply(one_version(server)) == "commands"  # what was done behind its back is mended
    assert front.ask()[0] == 200
    assert front.apply(one_version(server)) == "nothing"
