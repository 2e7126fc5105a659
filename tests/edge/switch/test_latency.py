"""How quick a version is, beside one that serves clients meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from edge.errors import GateError
from edge.hosts.port import InstanceId, ModuleHost, Observed
from edge.messages.desired import Module
from edge.switch import gate as gate_module
from edge.switch.gate import Gate
from edge.switch.golden import Answer, Case, Golden

OLD = Observed(InstanceId("m", "live"), "sha256:0", "running", port=1)
NEW = Observed(InstanceId("m", "next"), "sha256:0", "running", port=2)
QUEUED_MS = (28, 29, 35, 46, 51, 51, 52, 53, 54, 55)
"""As measured: an answer takes 27 ms, and one client asks again and again (T5)."""


def judge(
    monkeypatch: pytest.MonkeyPatch, new_ms: Sequence[float], old_ms: Sequence[float], **known: Any
) -> None:
    """Two cases, each asked five times after the first."""
    times = {NEW.port: list(new_ms), OLD.port: list(old_ms)}
    asked = {NEW.port: 0, OLD.port: 0}

    def score(seen: Observed, body: bytes, timeout_s: float) -> Answer:
        asked[seen.port] += 1
        found = times[seen.port]
        return Answer(200, b"[1.0]", found[asked[seen.port] % len(found)] / 1000)

    monkeypatch.setattr(gate_module, "score", score)
    gate = Gate(Module("m", "m:1", "sha256:0"), cast("ModuleHost", None), lambda: None)
    gate.pass_golden(NEW, OLD, Golden([Case([1]), Case([2])], **known))


def test_clients_that_wait_at_the_old_version_do_not_let_a_slow_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(GateError, match=r"252\.0 ms, where the version before takes") as refused:
        judge(monkeypatch, [252], QUEUED_MS)
    assert refused.value.check == "latency"


def test_one_as_quick_as_the_old_version_passes_whoever_has_the_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge(monkeypatch, [27], QUEUED_MS)
    judge(monkeypatch, QUEUED_MS, [27])


def test_the_bound_of_the_image_is_for_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    judge(monkeypatch, [10, 10, 10, 10, 10, 10, 10, 90, 90, 90], [10], max_latency_ms=50.0)
    with pytest.raises(GateError, match="are allowed"):
        judge(monkeypatch, [10, 10, 10, 90, 90, 90, 90, 90, 90, 90], [10], max_latency_ms=50.0)
