from __future__ import annotations

import threading
import time

import msgspec
import pytest

from edge.agent.reporter import Reporter, Sent, applied_version, is_due
from edge.messages.reported import HostReport, ModuleReport, OutboxReport, Reported

HOST = HostReport(1, 2, 3, 4, 0.5, 10.0, "boot")
MODULE = ModuleReport("m", "m:1", "d", "d", "idle", "healthy")


def report(number: int = 1, **changes: object) -> Reported:
    made = Reported(1, "a", 1, number, 1, 1, (MODULE,), HOST, OutboxReport(0, 0))
    return msgspec.structs.replace(made, **changes)


def with_module(**changes: object) -> Reported:
    return report(modules=(msgspec.structs.replace(MODULE, **changes),))


@pytest.mark.parametrize(
    ("new", "now_s", "due"),
    [
        (report(2), 1.0, False),
        (report(2), 300.0, True),
        (report(host=msgspec.structs.replace(HOST, load1=9.0)), 1.0, False),
        (with_module(health="unhealthy"), 1.0, True),
        (with_module(phase="pulling"), 1.0, True),
        (with_module(restarts=1), 1.0, True),
        (with_module(done_bytes=5), 1.0, False),
        (with_module(done_bytes=5), 11.0, True),
        (report(desired_version=2), 1.0, True),
        (report(error="bad"), 1.0, True),
        (report(modules=()), 1.0, True),
    ],
)
def test_a_report_is_due_at_news_and_now_and_then(new: Reported, now_s: float, due: bool) -> None:
    assert is_due(new, Sent(report(1), 0.0), now_s, every_s=300.0) is due


def test_the_first_report_is_due() -> None:
    assert is_due(report(), None, 0.0, every_s=300.0)


def test_a_version_is_applied_when_every_module_is_at_rest() -> None:
    moving = msgspec.structs.replace(MODULE, phase="pulling")
    failed = msgspec.structs.replace(MODULE, phase="failed")
    assert applied_version([MODULE, failed], 7, 6) == 7
    assert applied_version([MODULE, moving], 7, 6) == 6
    assert applied_version([], 7, 6) == 7


class Wire:
    """Takes reports while it is connected."""

    def __init__(self) -> None:
        self.is_connected = True
        self.sent: list[Reported] = []
        self.current = report()
        self.now_s = 0.0
        self.reporter = Reporter(
            lambda number: msgspec.structs.replace(self.current, number=number),
            self._send,
            every_s=lambda: 300.0,
            debounce_s=0.05,
            clock=lambda: self.now_s,
        )

    def _send(self, report: Reported) -> bool:
        if self.is_connected:
            self.sent.append(report)
        return self.is_connected


def test_numbers_grow_by_each_report_that_was_sent() -> None:
    wire = Wire()
    assert wire.reporter.step()
    assert not wire.reporter.step()
    wire.current = report(error="x")
    assert wire.reporter.step()
    assert [sent.number for sent in wire.sent] == [1, 2]


def test_what_could_not_be_sent_is_sent_later() -> None:
    wire = Wire()
    wire.is_connected = False
    assert not wire.reporter.step()
    wire.is_connected = True
    assert wire.reporter.step()


def test_a_new_connection_asks_for_a_report_without_news() -> None:
    wire = Wire()
    wire.reporter.step()
    wire.reporter.ask()
    wire.is_connected = False
    assert not wire.reporter.step()
    wire.is_connected = True
    assert wire.reporter.step()
    assert not wire.reporter.step()


def test_it_reports_a_change_by_itself_and_ends_when_asked() -> None:
    wire = Wire()
    stopping = threading.Event()
    thread = threading.Thread(target=wire.reporter.work, args=(stopping,))
    thread.start()
    wait_for(wire, 1)
    wire.current = report(error="news")
    wait_for(wire, 2)
    stopping.set()
    wire.reporter.wake()
    thread.join(45)
    assert not thread.is_alive()


def wait_for(wire: Wire, count: int) -> None:
    deadline = time.monotonic() + 45
    while len(wire.sent) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)
