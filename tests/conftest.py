"""Applies to every test: under INFERRY_STRICT=1 (CI) a test that skips itself is a failure.

A skip is right on a developer's machine that lacks an optional tool. CI installs them all, so that
there a skip means a check that silently stopped checking. Fixtures for real programs are in
tests/engine.py and tests/broker.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import hypothesis
import pytest

pytest_plugins = ["tests.engine", "tests.broker"]
STRICT = os.environ.get("INFERRY_STRICT") == "1"
LONG_ID = 32
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell begins what it puts in the background so, and programs that tests start would inherit
    # it and be deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
# An example's time is the machine's, not the code's: a busy one makes any deadline flaky.
hypothesis.settings.register_profile("inferry", deadline=None)
hypothesis.settings.load_profile("inferry")
LONGEST = ("tests/system/", "tests/runtime/deployments/", "tests/runtime/test_deploy.py")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although INFERRY_STRICT=1: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns a test's skip into a failure."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turns a whole module's skip into a failure."""
    report = yield
    _refuse_skip(report)
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whoever runs beside others (pytest-xdist) begins with what takes longest: a test of a minute
    that is begun last is waited for by all."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Two workers must name a test alike, and compressed bytes have the second in which they were
    made in them, others are random."""
    return argname if isinstance(val, bytes | bytearray) and len(val) > LONG_ID else None
