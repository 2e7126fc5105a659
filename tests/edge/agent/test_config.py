from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.agent.config import DEFAULT_PATH, DEFAULT_STATE, find, load, parse, reserve_bytes
from edge.errors import ConfigError

LEAST = 'device = "press-7"\n[broker]\nhost = "hub.example"\n'


def test_the_least_configuration_has_every_default() -> None:
    config = parse(LEAST, Path("/etc/x/agent.toml"))
    assert config.device == "press-7"
    assert config.state == DEFAULT_STATE
    assert config.identity == Path("/etc/x/identity")
    assert (config.broker.port, config.broker.tls, config.broker.keepalive_s) == (8883, True, 60)
    assert config.registry is None
    assert config.telemetry.outbox_bytes == 256 << 20
    assert config.listen.port is None


def test_relative_paths_begin_at_the_folder_of_the_file() -> None:
    text = (
        'device = "a"\nstate = "state"\n[broker]\nhost = "h"\n'
        '[registry]\nurl = "https://h:5000"\nca = "identity/ca.pem"\n'
    )
    config = parse(text, Path("/srv/a/agent.toml"))
    assert config.state == Path("/srv/a/state")
    assert config.registry_ca == Path("/srv/a/identity/ca.pem")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[broker]\nhost = 'h'\n", "device: is missing"),
        ("device = 'a'\n", "broker: is missing"),
        ("device = 'a'\n[broker]\nport = 1\n", "broker.host: is missing"),
        (LEAST + "prot = 1\n", "broker.prot: there is no such key"),
        ("colour = 1\n" + LEAST, "colour: there is no such key"),
        (LEAST + "port = 0\n", "broker.port: "),
        (LEAST + "port = '1'\n", "broker.port: "),
        (LEAST + "tls = 1\n", "broker.tls: "),
        (LEAST + "keepalive_s = 1.5\n", "broker.keepalive_s: "),
        (LEAST + "min_wait_s = 9\nmax_wait_s = 1\n", "broker.min_wait_s"),
        (LEAST + "min_wait_s = nan\n", "broker.min_wait_s"),
        (LEAST + "max_wait_s = inf\n", "broker.max_wait_s"),
        (LEAST + "[telemetry]\noutbox_bytes = -1\n", "telemetry.outbox_bytes: "),
        (LEAST + "[modules]\nhosts = ['podman']\n", "modules.hosts"),
        (LEAST + "[registry]\nurl = 'ftp://x'\n", "registry.url: "),
        (LEAST + "[registry]\nurl = 'https://user:secret@x'\n", "registry.url: "),
        ("device = '../a'\n[broker]\nhost = 'h'\n", "device: "),
        ("device = ", "Invalid value"),
        (LEAST * 2, "line 5"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=r"agent\.toml") as caught:
        parse(text, Path("/etc/x/agent.toml"))
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse(text, Path("/x/agent.toml")).device


def test_a_file_that_is_not_there_no_text_or_too_large_is_refused(tmp_path: Path) -> None:
    for name, data in (("none", None), ("binary", b"\xff\xfe"), ("large", b"#" * 300_000)):
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(ConfigError, match=name):
            load(path)


def test_the_file_is_the_one_given_else_of_the_environment_else_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(None, {}) == DEFAULT_PATH
    (tmp_path / "agent.toml").write_text(LEAST)
    assert find(None, {}) == Path("agent.toml")
    assert find(None, {"INFERRY_EDGE_CONFIG": "/b"}) == Path("/b")
    assert find(Path("/a"), {"INFERRY_EDGE_CONFIG": "/b"}) == Path("/a")
    assert load(Path("agent.toml")).identity == tmp_path / "identity"


def test_the_reserve_follows_the_disk_within_bounds() -> None:
    assert reserve_bytes(None, 100 << 20) == 64 << 20
    assert reserve_bytes(None, 10 << 30) == (10 << 30) // 20
    assert reserve_bytes(None, 1 << 40) == 1 << 30
    assert reserve_bytes(0, 1 << 40) == 0
