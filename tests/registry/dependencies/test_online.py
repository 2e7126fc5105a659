"""With the packages of the real index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry.dependencies import (
    Lock,
    WheelCache,
    read_requirements,
    resolve,
    top_level_modules,
    wheel_entries,
)
from registry.errors import RequirementsError
from registry.image_tree import PACKAGES_ROOT
from registry.layers import Entry
from registry.platforms import Target
from tests.registry.dependencies.wheel_maker import AMD64, ARM64

pytestmark = pytest.mark.slow
PURE = "six==1.17.0\nuvicorn==0.34.0\n"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The user's settings, with a cache of uv that begins empty."""
    return {**os.environ, "UV_CACHE_DIR": str(tmp_path_factory.mktemp("uv"))}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> WheelCache:
    return WheelCache(tmp_path_factory.mktemp("wheels"))


def locked(text: str, target: Target, env: dict[str, str]) -> Lock:
    """Skips where no index can be reached."""
    try:
        return resolve(read_requirements(text).requirements, target, environment=env)
    except RequirementsError as error:
        if "cannot be reached" in str(error):
            pytest.skip("no package index can be reached")
        raise


def unpack(entries: list[Entry], root: Path) -> None:
    for entry in entries:
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with entry.open() as file:
            path.write_bytes(file.read())


def test_pure_packages_are_equal_for_both_processors(
    env: dict[str, str], cache: WheelCache
) -> None:
    amd64, arm64 = (locked(PURE, target, env) for target in (AMD64, ARM64))
    assert amd64.text() == arm64.text()
    assert {wheel.name for wheel in amd64.wheels} == {"click", "h11", "six", "uvicorn"}
    assert wheel_entries(cache.fetch(amd64.wheels), "/usr/bin/python3")


def test_once_cached_no_network_is_needed(
    env: dict[str, str], cache: WheelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = locked(PURE, AMD64, env)
    cache.fetch(first.wheels)
    dead = {name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
    for name, value in dead.items():
        monkeypatch.setenv(name, value)
    without = {**env, **dead, "NO_PROXY": "", "UV_HTTP_RETRIES": "0"}
    wanted = read_requirements(PURE).requirements
    assert resolve(wanted, AMD64, offline=True, environment=without).text() == first.text()
    assert resolve(wanted, AMD64, environment=without).text() == first.text()
    assert cache.fetch(first.wheels)


@pytest.mark.parametrize("target", [AMD64, ARM64], ids=str)
def test_numpy_is_unpacked_for_both_processors(
    target: Target, env: dict[str, str], cache: WheelCache, tmp_path: Path
) -> None:
    lock = locked("numpy>=2,<2.4\n", target, env)
    wheels = cache.fetch(lock.wheels)
    assert top_level_modules(wheels) == {"numpy": ["numpy"]}
    unpack(wheel_entries(wheels, sys.executable), tmp_path)
    native = next((tmp_path / PACKAGES_ROOT / "numpy/_core").glob("_multiarray_umath*.so"))
    assert target.platform.machine in native.name
    if (target.platform.machine, target.python) == (os.uname().machine, sys.version_info[:2]):
        program = "import numpy; print(numpy.__file__, numpy.ones(3).sum())"
        done = subprocess.run(
            [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, sys.argv[1]); {program}",
             tmp_path / PACKAGES_ROOT],
            capture_output=True, timeout=60, check=True, text=True,
        )  # fmt: skip
        assert done.stdout == f"{tmp_path / PACKAGES_ROOT}/numpy/__init__.py 3.0\n"


def test_an_unknown_package_and_a_source_package_are_explained(env: dict[str, str]) -> None:
    locked("six", AMD64, env)
    with pytest.raises(RequirementsError, match="inferry-no-such-package-1 was not found"):
        resolve(["inferry-no-such-package-1"], AMD64, environment=env)
    with pytest.raises(RequirementsError, match=r"numpy==1\.20.*--dockerfile"):
        resolve(["numpy==1.20.0"], AMD64, environment=env)
