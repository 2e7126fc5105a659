"""What Docker is asked for, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import HostError
from edge.hosts.container_settings import (
    BOOT,
    DIGEST,
    MODULE,
    SLOT,
    confinement,
    entrypoint,
    environment,
    image_name,
    observed,
    seconds,
)
from edge.hosts.port import Instance, InstanceId
from edge.messages.desired import Limits

ID = InstanceId("digits", "live")
DIGEST_OF_IT = "sha256:" + "ab" * 32


def details(status: str, *, boot: str = "this", **state: Any) -> dict[str, Any]:
    """As ``docker inspect`` has it."""
    labels = {MODULE: "digits", SLOT: "live", DIGEST: DIGEST_OF_IT, BOOT: boot}
    ports = {"5001/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]}
    return {
        "Config": {"Labels": labels},
        "State": {"Status": status, "ExitCode": 0, "StartedAt": "2026-11-26T19:55:00.5Z"} | state,
        "NetworkSettings": {"Ports": ports if status == "running" else {}},
        "HostConfig": {"PortBindings": {"5001/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}},
    }


def test_a_running_one_answers_where_docker_says() -> None:
    seen = observed(details("running"), "this")
    assert seen is not None
    assert (seen.id, seen.digest, seen.state) == (ID, DIGEST_OF_IT, "running")
    assert (seen.address, seen.port, seen.exit_code) == ("127.0.0.1", 32768, None)
    assert seen.started_at_s == 1795722900.5


def test_how_one_ended_is_known_only_within_a_boot() -> None:
    ended = details("exited", ExitCode=137, OOMKilled=True)
    seen = observed(ended, "this")
    assert seen is not None
    assert (seen.state, seen.exit_code, seen.is_out_of_memory) == ("exited", 137, True)
    seen = observed(ended, "another")
    assert seen is not None
    assert (seen.state, seen.exit_code, seen.is_out_of_memory) == ("exited", None, False)


def test_what_was_never_started_or_is_not_ours_is_not_seen() -> None:
    assert observed(details("created"), "this") is None
    foreign = details("running")
    foreign["Config"]["Labels"] = None
    assert observed(foreign, "this") is None


@pytest.mark.parametrize("text", ["", "0001-01-01T00:00:00Z", "yesterday"])
def test_no_time_is_none(text: str) -> None:
    assert seconds(text) is None


def test_a_bundle_of_the_device_takes_the_place_of_the_images() -> None:
    command = ["/usr/bin/python3.11", "-m", "scoring", "/opt/inferry/bundle", "--port", "5001"]
    config = json.dumps({"config": {"Entrypoint": command}}).encode()
    instance = Instance(ID, DIGEST_OF_IT, bundle=Path("/state/bundle"))
    found = entrypoint(instance, config)
    assert found == [*command[:3], "/opt/inferry/live/current", *command[4:]]
    assert entrypoint(Instance(ID, DIGEST_OF_IT), config) is None
    for strange in (b"{}", b'{"config": {"Entrypoint": ["/bin/other"]}}'):
        with pytest.raises(HostError, match="does not serve a bundle"):
            entrypoint(instance, strange)


def test_folders_of_the_device_are_read_only_but_one_and_the_socket_is_named() -> None:
    instance = Instance(
        ID, DIGEST_OF_IT, env={"A": "1"}, bundle=Path("/b"), run_folder=Path("/r"), port=80,
        capture_folder=Path("/c"),
    )  # fmt: skip
    found = confinement(instance)
    assert [(m["Source"], m["Target"], m["ReadOnly"]) for m in found["mounts"]] == [
        ("/b", "/opt/inferry/live", True),
        ("/r", "/run/inferry", True),
        ("/c", "/run/inferry-capture", False),
    ]
    assert environment(instance) == {
        "A": "1",
        "INFERRY_AGENT_SOCKET": "/run/inferry/agent.sock",
    }
    assert found["port_bindings"] == {5001: ("127.0.0.1", 80)}
    assert found["restart_policy"] == {"Name": "no"}


def test_limits_that_are_not_set_are_none() -> None:
    found = confinement(Instance(ID, DIGEST_OF_IT, limits=Limits(processes=None)))
    assert [found[name] for name in ("mem_limit", "nano_cpus", "pids_limit")] == [None] * 3
    assert found["port_bindings"] == {5001: ("127.0.0.1",)}


def test_two_devices_have_images_of_their_own() -> None:
    assert image_name("a", DIGEST_OF_IT) != image_name("b", DIGEST_OF_IT)
    assert image_name("a", DIGEST_OF_IT) == f"inferry-edge/{'ab' * 16}:a"
