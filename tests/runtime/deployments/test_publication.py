"""Ports of services. What the balancer shall do is seen in test_unit.py."""

from __future__ import annotations

import random
import socket

import pytest

from edge.errors import EdgeError
from runtime.deployments import publication
from runtime.deployments.publication import first_given_port, free_port


def test_a_port_is_none_that_the_kernel_may_give_to_a_connection() -> None:
    ports = {free_port("127.0.0.1") for _ in range(20)}
    assert len(ports) > 1
    assert publication.LOWEST_PORT <= min(ports) <= max(ports) < first_given_port()


def test_a_port_that_is_taken_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port("127.0.0.1"))) as taken:
        port, other = taken.getsockname()[1], free_port("127.0.0.1")
        monkeypatch.setattr(random, "sample", lambda *_: [port, other])
        assert free_port("127.0.0.1") == other
        monkeypatch.setattr(random, "sample", lambda *_: [port])
        assert free_port("127.0.0.1") not in (port, 0)  # then it is the kernel's choice


def test_an_address_of_another_machine_has_none() -> None:
    with pytest.raises(EdgeError, match=r"no port can be had on 192\.0\.2\.1"):
        free_port("192.0.2.1")
