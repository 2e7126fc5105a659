"""From a module that is wanted to a release that may come into service: fetched, ready, and tried
beside what is live.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge.errors import GateError, HostError
from edge.hosts.port import Observed
from edge.messages.desired import HostKind, Module
from edge.pull.errors import CancelledError
from edge.stock.port import StoredImage
from edge.switch.gate import Before, Gate
from edge.switch.golden import Golden, made_from_signature, read_golden
from edge.switch.machine import State
from edge.switch.plan import check_update, choose_host, has_equal_packages, is_served_alike
from edge.switch.record import Release
from edge.switch.service import Service
from edge.switch.shadow import run_shadow
from edge.switch.tools import Tools

PROGRESS_S = 1.0


class Show(Protocol):
    """What is shown of the step under way."""

    def __call__(
        self,
        *,
        waiting_for: str | None = None,
        done_bytes: int | None = None,
        total_bytes: int | None = None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """How the updater hears of what is done, and says that it is over. ``check`` raises when it is;
    ``is_over`` says so."""

    check: Callable[[], None]
    is_over: Callable[[], bool]
    move: Callable[[State], None]
    show: Show
    pause: Callable[[float], None]


def pull(
    wanted: Module, tools: Tools, attempt: Attempt, keep: Callable[[], set[str]]
) -> StoredImage:
    """The image, whole, in the stock. Raises PullError, and what ``check`` raises."""

    def waits() -> str | None:
        return None if tools.stock.has(wanted.digest) else tools.may_pull()

    while True:
        attempt.check()
        waits_for = waits()
        if waits_for is not None:
            attempt.show(waiting_for=waits_for)
            attempt.pause(tools.pace.look_s)
            continue
        attempt.show()
        try:
            image = tools.puller.pull(
                wanted.image,
                wanted.digest,
                keep=keep,
                on_progress=_progress(tools, attempt),
                is_cancelled=lambda: attempt.is_over() or tools.may_pull() is not None,
            )
        except CancelledError:
            attempt.check()
            continue  # the window has closed
        attempt.show()
        return image


def load(
    wanted: Module, image: StoredImage, live: Release | None, tools: Tools, attempt: Attempt
) -> Release:
    """Ready to start. Raises GateError where this device cannot run it, EdgeError."""
    try:
        kind = choose_host(wanted, image, list(tools.hosts))
        check_update(wanted, image)
    except HostError as error:
        raise GateError("health", str(error)) from error
    runtime = _runtime(wanted, image, kind, live, tools)
    if runtime == wanted.digest:
        tools.hosts[kind].prepare(runtime, attempt.is_over)
    return Release(wanted, runtime, kind, image.kind)


def try_beside(
    release: Release, live: Release | None, service: Service, tools: Tools, attempt: Attempt
) -> None:
    """Start it beside what is live, and let it show what it can; it is gone at the end. Raises
    GateError."""
    module = release.module
    attempt.move(State.STARTING)
    try:
        gate = Gate(
            module, service.host(release.host), attempt.check,
            clock=tools.clock, look_s=tools.pace.start_look_s,
        )  # fmt: skip
        service.start_next(release)
        new = gate.await_ready(service.next_id)
        attempt.move(State.GATING)
        old = service.live(live)
        pass_golden(gate, release, tools, seen=(new, old))
        if module.update.shadow_s > 0 and old is not None:
            attempt.move(State.SHADOWING)
            run_shadow(
                module, new, service.folders.capture, attempt.check, tools.clock, attempt.pause
            )
    finally:
        service.drop_next()
    attempt.check()


def pass_golden(
    gate: Gate,
    release: Release,
    tools: Tools,
    *,
    seen: tuple[Observed, Observed | None],
    before: Before | None = None,
    is_timed: bool = True,
) -> None:
    """The image's golden inputs, or some made of what its model takes; without either nothing is
    asked. ``seen``: the instance, and that of the version before; ``before``: what that did, where
    it is stopped. Raises GateError."""
    golden, is_made = _golden(release.module.digest, tools)
    if golden is not None:
        gate.pass_golden(*seen, golden, before=before, is_made=is_made, is_timed=is_timed)


def look_at_old(
    release: Release, live: Release, service: Service, tools: Tools, attempt: Attempt
) -> Before | None:
    """What the version in service does with the golden inputs of the one that shall replace it."""
    old = service.live(live)
    golden, _ = _golden(release.module.digest, tools)
    if old is None or golden is None:
        return None
    gate = Gate(release.module, service.host(live.host), attempt.check, clock=tools.clock)
    return gate.look_at(old, golden)


def _golden(digest: str, tools: Tools) -> tuple[Golden | None, bool]:
    data = tools.stock.golden(digest)
    if data is not None:
        return read_golden(data), False
    try:
        made = (tools.stock.bundle(digest) / "bundle.json").read_bytes()
    except OSError:
        return None, True
    return made_from_signature(made), True


def _runtime(
    wanted: Module, image: StoredImage, kind: HostKind, live: Release | None, tools: Tools
) -> str:
    """The image to start: that of the live instance, where only the bundle is new and a reload
    brings that."""
    if live is None or live.host != kind or not tools.stock.has(live.runtime):
        return wanted.digest
    as_live = Release(wanted, live.runtime, kind, image.kind)
    if not is_served_alike(live, as_live):
        return wanted.digest
    old = tools.stock.image(live.runtime)
    return live.runtime if has_equal_packages(old, image) else wanted.digest


def _progress(tools: Tools, attempt: Attempt) -> Callable[[int, int], None]:
    last = [-PROGRESS_S]

    def on_progress(done: int, total: int) -> None:
        now = tools.clock()
        if now - last[0] >= PROGRESS_S or done == total:
            last[0] = now
            attempt.show(done_bytes=done, total_bytes=total)

    return on_progress
