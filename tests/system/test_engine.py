"""The fixtures of tests/engine.py do what the tests that use them build on."""

from __future__ import annotations

import base64
import http.client
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import trustme

from tests.engine import PASSWORD, ROOT, USER, DockerRegistry, Engine, Registries, program


@pytest.mark.slow
def test_what_a_test_makes_in_the_engine_is_removed(engine_base: str, engine: Engine) -> None:
    made = Engine()
    container = made.container(engine_base, "sleep", "60")
    ref = made.tag()
    made.run("tag", engine_base, ref)
    made.tidy()
    assert container not in engine.run("ps", "--all", "--quiet", "--no-trunc")
    assert engine.run("images", "--quiet", ref) == ""
    assert engine.run("images", "--quiet", engine_base) != ""  # the same image by another name


@pytest.mark.slow
def test_the_base_runs_its_python(engine: Engine, engine_base: str) -> None:
    asked = ["run", "--rm", "--network", "none", engine_base, "python3", "-c", "print(6 * 7)"]
    assert engine.run(*asked) == "42"


def test_the_base_holds_nothing_of_this_machine_or_hour(debian_base: Path) -> None:
    listing = ["tar", "--list", "--verbose", "--utc", "--full-time", "--file", str(debian_base)]
    lines = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()
    assert all(" 1970-01-01 00:00:00 " in line for line in lines)
    names = [line.split()[5] for line in lines]
    assert names == sorted(names, key=lambda name: name.rstrip("/").split("/"))
    assert "./etc/hostname" not in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("./dev/c")]


def test_a_registry_starts_empty(docker_registry: DockerRegistry) -> None:
    connection = http.client.HTTPConnection(docker_registry.host, timeout=10)
    connection.request("GET", "/v2/_catalog")
    assert connection.getresponse().read().strip() == b'{"repositories":[]}'
    connection.close()
    deadline = time.monotonic() + 45  # it logs a request after it has answered it
    while b"/v2/_catalog" not in docker_registry.log.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_registry_asks_for_its_user_over_tls(registries: Registries, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    files[0].write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    files[1].write_bytes(certificate.private_key_pem.bytes())
    registry = registries(user=True, certificate=files)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    statuses = []
    for headers in ({}, {"Authorization": f"Basic {basic}"}):
        connection = http.client.HTTPSConnection(registry.host, timeout=10, context=context)
        connection.request("GET", "/v2/", headers=headers)
        statuses.append(connection.getresponse().status)
        connection.close()
    assert registry.url.startswith("https://")
    assert statuses == [401, 200]


def test_a_program_that_is_not_there_skips_the_test() -> None:
    with pytest.raises(pytest.skip.Exception, match="needs no-such-program: run scripts/"):
        program("no-such-program")


@pytest.mark.engine
def test_the_engine_script_says_that_one_answers() -> None:
    done = subprocess.run(
        [ROOT / "scripts/docker-engine", "status"], capture_output=True, text=True, check=True
    )
    assert "answers" in done.stdout
