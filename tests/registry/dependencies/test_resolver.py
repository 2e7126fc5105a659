"""With the real uv and wheels made here: no network is used."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from registry.dependencies import Lock, resolve, resolver
from registry.dependencies.resolver import platform_name
from registry.errors import CancelledError, RequirementsError
from registry.platforms import Platform, Target
from tests.ports import free_port
from tests.registry.dependencies.wheel_maker import AMD64, ARM64, make_wheel


@pytest.fixture
def house(tmp_path: Path) -> Path:
    folder = tmp_path / "wheel house, with a comma"
    make_wheel(folder, "alone", "1.0")
    make_wheel(folder, "alone", "2.0")
    make_wheel(folder, "top", "1.0", requires=["alone<2", "native; platform_machine=='aarch64'"])
    make_wheel(folder, "other", "1.0", requires=["alone>=2"])
    make_wheel(folder, "native", "1.0", tag="cp311-cp311-manylinux_2_28_aarch64")
    make_wheel(folder, "native", "1.0", tag="cp311-cp311-manylinux_2_28_x86_64")
    make_wheel(folder, "armonly", "1.0", tag="cp311-cp311-manylinux_2_28_aarch64")
    (folder / "source-1.0.tar.gz").write_bytes(b"never read")
    return folder


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment of its own, with an index that nobody serves."""
    return {
        "HOME": str(tmp_path),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_DEFAULT_INDEX": f"http://joe:secret@127.0.0.1:{free_port()}/simple",
        "UV_HTTP_RETRIES": "0",
    }


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.wheels}


def test_all_that_is_needed_is_locked(house: Path, env: dict[str, str]) -> None:
    lock = resolve(["top"], AMD64, wheelhouse=house, environment=env)
    assert versions(lock) == {"alone": "1.0", "top": "1.0"}
    assert lock == resolve(["top"], AMD64, wheelhouse=house, environment=env)


def test_markers_are_those_of_the_target(house: Path, env: dict[str, str]) -> None:
    lock = resolve(["top"], ARM64, wheelhouse=house, environment=env)
    assert versions(lock) == {"alone": "1.0", "top": "1.0", "native": "1.0"}
    assert lock.wheels[1].file == "native-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"


def test_preferences_are_tried_first_and_give_way(house: Path, env: dict[str, str]) -> None:
    def resolved(wanted: Sequence[str], preferences: dict[str, str]) -> dict[str, str]:
        lock = resolve(wanted, AMD64, wheelhouse=house, preferences=preferences, environment=env)
        return versions(lock)

    assert resolved(["alone"], {}) == {"alone": "2.0"}
    assert resolved(["alone"], {"Alone": "1.0", "unused": "3"}) == {"alone": "1.0"}
    assert resolved(["alone>=2"], {"alone": "1.0"}) == {"alone": "2.0"}
    assert resolved(["alone"], {"alone": "7.0"}) == {"alone": "2.0"}


def test_nothing_wanted_locks_nothing(env: dict[str, str]) -> None:
    assert resolve([], AMD64, environment=env).wheels == ()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["alone==3"], r"alone==3"),
        (["missing"], r"missing"),
        (["top", "other"], r"top.*other|other.*top"),
        (["alone<2", "alone>=2"], r"alone>=2"),
        (["armonly"], r"armonly.*--dockerfile"),
        (["source"], r"source.*--dockerfile"),
        (["alone==1.0 --hash=sha256:" + "0" * 64], r"a hash that the requirements demand"),
        (["-r /etc/passwd"], r"its lines into this one"),
    ],
)
def test_what_does_not_fit_is_explained_in_one_line(
    house: Path, env: dict[str, str], wanted: list[str], said: str
) -> None:
    with pytest.raises(RequirementsError, match=said) as raised:
        resolve(wanted, AMD64, wheelhouse=house, environment=env)
    message = str(raised.value)
    assert message.isprintable()
    assert len(message) < 1500
    assert "inferry-resolve-" not in message
    assert "unsatisfiable" not in message


def test_a_conda_package_without_a_wheel_is_explained_as_one(
    house: Path, env: dict[str, str]
) -> None:
    with pytest.raises(RequirementsError, match=r"source came from conda.*--dockerfile"):
        resolve(["source"], AMD64, wheelhouse=house, environment=env, conda_names={"source"})


def test_a_file_that_uv_renames_while_its_folder_is_measured_is_no_error(
    house: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: each time something is there when we list, and gone when we look."""
    listed: list[Path] = []

    def iterdir(folder: Path) -> Iterator[Path]:
        listed.append(folder / ".tmpGONE")
        yield listed[-1]
        yield from map(folder.joinpath, os.listdir(folder))

    monkeypatch.setattr(Path, "iterdir", iterdir)
    monkeypatch.setattr(resolver, "POLL_S", 0.0)
    lock = resolve(["top"], AMD64, wheelhouse=house, environment=env)
    assert versions(lock) == {"alone": "1.0", "top": "1.0"}
    assert listed


def test_a_demanded_hash_that_is_right_is_taken(house: Path, env: dict[str, str]) -> None:
    sha256 = resolve(["alone"], AMD64, wheelhouse=house, environment=env).wheels[0].sha256
    wanted = [f"alone --hash=sha256:{sha256}"]
    assert resolve(wanted, AMD64, wheelhouse=house, environment=env).wheels[0].sha256 == sha256


def test_without_a_network_the_message_says_so(env: dict[str, str]) -> None:
    with pytest.raises(RequirementsError, match=r"127\.0\.0\.1.* cannot be reached.*six") as raised:
        resolve(["six"], AMD64, environment=env)
    assert "secret" not in str(raised.value)


def test_an_index_that_is_gone_is_replaced_by_the_cache_and_that_is_said(
    house: Path, env: dict[str, str], tmp_path: Path
) -> None:
    wheel = house / "alone-2.0-py3-none-any.whl"
    page = tmp_path / "index/simple/alone"
    page.mkdir(parents=True)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (page / "index.html").write_text(f'<a href="{wheel.name}#sha256={sha256}">{wheel.name}</a>')
    shutil.copy(wheel, page)
    with serving(tmp_path / "index") as url:
        env["UV_DEFAULT_INDEX"] = f"{url}/simple"
        first = resolve(["alone"], AMD64, environment=env)
        assert first.wheels[0].url == f"{url}/simple/alone/{wheel.name}"
    said: list[str] = []
    assert resolve(["alone"], AMD64, environment=env, say=said.append) == first
    assert "uv's cache" in said[0]
    assert resolve(["alone"], AMD64, environment=env, offline=True) == first
    with pytest.raises(RequirementsError, match="cannot be reached, and top is not in uv's cache"):
        resolve(["alone", "top"], AMD64, environment=env)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The folder over HTTP, never to be kept without asking again."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Cache-Control", "no-cache")
            super().end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_missing_wheelhouse_is_refused(tmp_path: Path, env: dict[str, str]) -> None:
    with pytest.raises(RequirementsError, match="no folder"):
        resolve(["six"], AMD64, wheelhouse=tmp_path / "gone", environment=env)


def test_a_project_file_beside_does_not_count(
    house: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (house / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\n[tool.uv]\noverride-dependencies = ["alone==1.0"]\n'
    )
    (house / "uv.toml").write_text("resolution = 'lowest'")
    monkeypatch.chdir(house)
    assert versions(resolve(["alone"], AMD64, wheelhouse=house, environment=env)) == {
        "alone": "2.0"
    }


def test_a_resolution_is_cancelled_at_once(env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env["UV_DEFAULT_INDEX"] = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"

        def cancelled() -> None:
            raise CancelledError("cancelled")

        before = time.monotonic()
        with pytest.raises(CancelledError):
            resolve(["six"], AMD64, environment=env, cancelled=cancelled)
        assert time.monotonic() - before < 15


@pytest.mark.parametrize(
    ("glibc", "name"),
    [
        ((2, 36), "x86_64-manylinux_2_36"),
        ((2, 30), "x86_64-manylinux_2_28"),
        ((2, 17), "x86_64-manylinux_2_17"),
        ((2, 41), "x86_64-manylinux_2_40"),
    ],
)
def test_the_newest_glibc_that_the_target_has_is_chosen(glibc: tuple[int, int], name: str) -> None:
    assert platform_name(Target(Platform(), (3, 11), glibc)) == name


def test_a_glibc_that_is_too_old_is_refused() -> None:
    with pytest.raises(RequirementsError, match="--base"):
        platform_name(Target(Platform(), (3, 11), (2, 12)))
