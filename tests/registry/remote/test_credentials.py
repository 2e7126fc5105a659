"""Credentials come from where docker and podman keep them, and are shown by nobody."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from registry.errors import RemoteError
from registry.remote import credentials
from registry.remote.credentials import Credentials, find_credentials

AUTH = base64.b64encode(b"me:pass:word").decode()
ME = Credentials("me", "pass:word")


def docker_config(root: Path, **document: object) -> dict[str, str]:
    (root / "config.json").write_text(json.dumps(document))
    return {"DOCKER_CONFIG": str(root)}


def helper(root: Path, name: str, script: str) -> None:
    path = root / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("key", ["r.io", "https://r.io/v1/", "https://r.io/v2/", "http://r.io"])
def test_dockers_config_is_read(tmp_path: Path, key: str) -> None:
    environment = docker_config(tmp_path, auths={key: {"auth": AUTH}, "other.io": {"auth": "!"}})
    assert find_credentials("r.io", "a", environment) == ME
    assert find_credentials("r.io:5000", "a", environment) is None


def test_docker_hub_has_its_old_key(tmp_path: Path) -> None:
    auths = {"https://index.docker.io/v1/": {"auth": AUTH}}
    assert find_credentials("docker.io", "a", docker_config(tmp_path, auths=auths)) == ME


def test_podmans_longest_match_counts(tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    other = base64.b64encode(b"team:x").decode()
    file.write_text(json.dumps({"auths": {"r.io": {"auth": AUTH}, "r.io/team": {"auth": other}}}))
    environment = {"REGISTRY_AUTH_FILE": str(file)}
    assert find_credentials("r.io", "team/a", environment) == Credentials("team", "x")
    assert find_credentials("r.io", "teams/a", environment) == ME
    (tmp_path / "containers").mkdir()
    file.rename(tmp_path / "containers/auth.json")
    assert find_credentials("r.io", "a", {"XDG_RUNTIME_DIR": str(tmp_path)}) == ME


def test_the_environment_comes_first_and_may_be_for_one_host(tmp_path: Path) -> None:
    given = {"INFERRY_REGISTRY_USER": "u", "INFERRY_REGISTRY_PASSWORD": "p"}
    environment = {**docker_config(tmp_path, auths={"r.io": {"auth": AUTH}}), **given}
    assert find_credentials("r.io", "a", environment) == Credentials("u", "p")
    environment["INFERRY_REGISTRY_HOST"] = "other.io"
    assert find_credentials("r.io", "a", environment) == ME
    token = {"INFERRY_REGISTRY_PASSWORD": "token"}
    assert find_credentials("r.io", "a", token) == Credentials(registry_token="token")
    with pytest.raises(RemoteError, match="control character"):
        find_credentials("r.io", "a", {"INFERRY_REGISTRY_PASSWORD": "a\r\nX: y"})


def test_a_helper_is_asked(tmp_path: Path) -> None:
    answer = """read server; echo "{\\"Username\\":\\"at $server\\",\\"Secret\\":\\"s\\"}" """
    helper(tmp_path, "test", answer)
    environment = docker_config(tmp_path, credHelpers={"r.io": "test"})
    environment["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    assert find_credentials("r.io", "a", environment) == Credentials("at r.io", "s")
    helper(tmp_path, "test", """echo '{"Username":"<token>","Secret":"long"}'""")
    assert find_credentials("r.io", "a", environment) == Credentials(identity_token="long")
    environment |= docker_config(tmp_path, credsStore="test", auths={"r.io": {}})
    assert find_credentials("r.io", "a", environment) == Credentials(identity_token="long")
    helper(tmp_path, "test", "echo credentials not found in native keychain; exit 1")
    assert find_credentials("r.io", "a", environment) is None


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo planted-secret; exit 1", "failed for r.io"),
        ("echo planted-secret", "gave no password"),
        ("echo '[]'", "gave no password"),
        ("exec sleep 20", "did not answer"),
    ],
)
def test_a_helper_that_fails_is_named_and_not_quoted(
    tmp_path: Path, script: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "HELPER_TIMEOUT_S", 0.5)
    helper(tmp_path, "bad", script)
    environment = docker_config(tmp_path, credHelpers={"r.io": "bad"})
    environment["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    with pytest.raises(RemoteError, match=message) as refused:
        find_credentials("r.io", "a", environment)
    assert "planted-secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["../../bin/sh", "a b", "x;id", "", "-x", "a/b"])
def test_a_helper_is_a_plain_name(tmp_path: Path, name: str) -> None:
    environment = docker_config(tmp_path, credHelpers={"r.io": name})
    with pytest.raises(RemoteError, match="no program's name"):
        find_credentials("r.io", "a", environment)


def test_a_helper_that_is_not_installed_is_said(tmp_path: Path) -> None:
    environment = docker_config(tmp_path, credHelpers={"r.io": "absent"}) | {"PATH": str(tmp_path)}
    with pytest.raises(RemoteError, match="cannot be started"):
        find_credentials("r.io", "a", environment)


@pytest.mark.parametrize("data", ["", "[]", "{", "[" * 100_000, '{"x":"' + "y" * 2_000_000 + '"}'])
def test_a_damaged_file_is_named(tmp_path: Path, data: str) -> None:
    (tmp_path / "config.json").write_text(data)
    with pytest.raises(RemoteError, match="cannot be read; mend or remove it"):
        find_credentials("r.io", "a", {"DOCKER_CONFIG": str(tmp_path)})


def test_entries_of_wrong_types_are_none(tmp_path: Path) -> None:
    wrong: list[object] = [[], 7, {"r.io": []}, {"r.io": {"auth": 7}}, {"r.io": {}}]
    for auths in wrong:
        environment = docker_config(tmp_path, auths=auths, credHelpers=[], credsStore=7)
        assert find_credentials("r.io", "a", environment) is None
    environment = docker_config(tmp_path, auths={"r.io": {"auth": "not base64!"}})
    with pytest.raises(RemoteError, match="docker login again"):
        find_credentials("r.io", "a", environment)


def test_no_text_of_credentials_shows_them() -> None:
    assert "word" not in repr(Credentials("u", "word", "word", "word"))
