"""The text: what HAProxy itself says of it, and what must be in it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.balance import Balance, Health, Keys, Limits, Replica, Service, Version, configuration
from runtime.balance.layout import arranged
from tests.engine import program

FULL = Service(
    "digits",
    8443,
    (
        Version("digits:7", 95, (Replica("127.0.0.1", 9001), Replica("::1", 9002, 50)), 8),
        Version("digits:8", 5, (Replica("10.0.0.1", 9003, is_draining=True),)),
    ),
    address="::",
    keys=Keys("0" * 64, "1" * 64),
    sticky_header="X-Session",
    is_repeatable=True,
    health=Health("/healthz", 0.25, 0.2, 3, 2),
    limits=Limits(connections=77, queue=9, queue_s=1.5, hold_s=0, answer_s=12),
)
BALANCE = Balance(
    (FULL, Service("words", 8001)), metrics_port=9100, connections=99, threads=1, finish_s=7
)


MIRRORED = Balance(
    (
        replace(FULL, versions=(*FULL.versions, Version("digits:9", 0, copies=1))),
        Service("words", 8001),
    )
)


def text_of(balance: Balance) -> str:
    return configuration.configuration(arranged(balance))


def section(text: str, name: str) -> list[str]:
    found = re.search(rf"^\w+ {re.escape(name)}\n((?:  .*\n)*)", text, re.M)
    assert found is not None
    return [line.strip() for line in found[1].splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("balance", [Balance(), BALANCE, MIRRORED, Balance(metrics_port=9)])
def test_haproxy_takes_it(balance: Balance, tmp_path: Path) -> None:
    for name, text in configuration.files(arranged(balance)).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [program("haproxy"), "-c", "-f", configuration.FILE],
        cwd=tmp_path,
        env={"GENERATION": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    complaints = done.stdout + done.stderr
    assert done.returncode == 0, complaints
    assert "WARNING" not in complaints
    assert "ALERT" not in complaints


def test_replicas_are_servers_of_their_version() -> None:
    text = text_of(BALANCE)
    first = section(text, "digits.0")
    assert "server s1 127.0.0.1:9001 weight 100 maxconn 8" in first
    assert "server s2 [::1]:9002 weight 50 maxconn 8" in first
    assert "server s3 127.0.0.1:1 maxconn 1000000 disabled" in first
    assert "server s1 10.0.0.1:9003 weight 100 maxconn 1000000 disabled" in section(
        text, "digits.1"
    )
    assert "balance hdr(X-Session)" in first
    assert "balance leastconn" in section(text, "words.0")
    assert "bind [::]:8443" in section(text, "digits")
    assert "bind 127.0.0.1:9100" in section(text, "_metrics")


def test_only_what_no_replica_got_is_sent_again_unless_it_may_run_twice() -> None:
    text = text_of(BALANCE)
    assert "retry-on conn-failure" in section(text, "words.0")
    assert "retry-on conn-failure empty-response" in section(text, "digits.0")
    assert "retries 2" in section(text, "digits.0")
    assert "option redispatch 1" in text


def test_the_wait_for_a_replica_is_ended_by_no_bound_of_haproxy_on_lua() -> None:
    assert "tune.lua.session-timeout 30000ms" in text_of(BALANCE)
    assert "tune.lua.session-timeout 4000ms" in text_of(Balance((FULL,)))


def test_neither_keys_nor_their_digests_nor_paths_of_the_machine_are_in_it() -> None:
    text = text_of(Balance((replace(FULL, certificate="/root/secret place/cert.pem"),)))
    assert "0" * 64 not in text
    assert "root" not in text
    assert "ssl crt certificates/digits.pem alpn h2,http/1.1" in text


def test_the_shape_is_the_same_for_other_replicas_shares_keys_and_certificates() -> None:
    shape = configuration.shape(arranged(Balance((replace(FULL, certificate="/a"),))))
    other = replace(
        FULL,
        versions=(Version("v", 1, (Replica("10.9.9.9", 1, is_draining=True),), max_requests=3),),
        keys=Keys("2" * 64, "3" * 64),
        certificate="/b",
    )
    assert configuration.shape(arranged(Balance((other,)))) == shape
    for changed in (
        replace(other, keys=None),
        replace(other, certificate=None),
        replace(other, port=1),
        replace(other, limits=Limits()),
        replace(other, is_repeatable=False),
    ):
        assert configuration.shape(arranged(Balance((changed,)))) != shape


def test_a_service_without_a_shadow_has_nothing_of_a_mirror() -> None:
    assert "mirror" not in text_of(BALANCE)
    assert "inferry-copy" not in text_of(BALANCE)
    assert text_of(BALANCE).startswith("global\n  maxconn 99\n")
    text = text_of(MIRRORED)
    assert "words.mirror" not in text
    assert text.startswith("global\n  maxconn 4800\n")


def test_a_mirror_is_reached_only_by_what_has_a_key() -> None:
    lines = section(text_of(MIRRORED), "digits")
    refused = next(at for at, line in enumerate(lines) if "return status 401" in line)
    drawn = next(at for at, line in enumerate(lines) if "set-var(txn.copy)" in line)
    chosen = next(at for at, line in enumerate(lines) if line.startswith("use_backend"))
    assert refused < drawn < chosen
    assert "digits.mirror" in lines[chosen]
    assert lines.index("http-request del-header inferry-copy") < drawn
    text = text_of(MIRRORED)
    for name in ("digits.direct", "digits.copies"):
        (bind,) = [line for line in section(text, name) if line.startswith("bind ")]
        assert bind == f"bind unix@./{name}.sock mode 600"


def test_beside_a_mirror_a_lane_is_chosen_by_the_same_rules() -> None:
    text = text_of(MIRRORED)

    def choosing(name: str) -> list[str]:
        return [line for line in section(text, name) if "maps/digits.split" in line]

    assert choosing("digits") == choosing("digits.direct")
    assert choosing("digits") != []
    assert "default_backend digits.0" in section(text, "digits.direct")


def test_more_copies_need_no_reload_and_a_first_shadow_does() -> None:
    def shape(*versions: Version) -> str:
        service = Service("a", 80, (Version("v1", 1), *versions))
        return configuration.shape(arranged(Balance((service,))))

    one = shape(Version("v2", 0, copies=1))
    assert shape(Version("v2", 0, copies=500)) == one
    assert shape(Version("v3", 0, copies=1), Version("v4", 0, copies=7)) == one
    assert shape() != one
    assert shape(Version("v2", 0)) == shape()
