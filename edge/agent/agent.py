"""The agent of a device: its threads, and what they have to do with each other.

    agent = Agent(config, assemble)
    agent.start()                      # what ran goes on, and runs with no network
    agent.stop()                       # within 10 s; modules run on

    link      -> session               desired states, acknowledgements, commands
    session   -> modules               what shall run
    modules   -> a unit for each       kept and updated by threads of its own
    reporter  -> link                  what runs
    services                           telemetry: see assembly.py

start: state and modules, then the network. run: until stop. drain: no new work; threads end, the
last report and "offline" are said. stop: files are closed.
"""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from edge import topics
from edge.agent import checks, machine, memory, support_bundle
from edge.agent.commands import Action, Commands
from edge.agent.config import AgentConfig
from edge.agent.modules import ModuleSet
from edge.agent.parts import Parts
from edge.agent.reporter import Reporter, applied_version
from edge.agent.session import Session
from edge.agent.state import AgentState
from edge.agent.threads import Crew, within
from edge.agent.version import agent_version
from edge.agent.view import keep_report
from edge.errors import EdgeError, HostError, InvalidSpecError
from edge.hosts.port import ModuleHost
from edge.link.port import Message
from edge.messages.codec import VERSION, encode
from edge.messages.desired import Desired, Settings
from edge.messages.reported import OutboxReport, Reported
from edge.messages.status import Status

log = logging.getLogger(__name__)
STOP_S, GOODBYE_S, CLOSE_S = 5.0, 2.5, 2.0
"""In all, SIGTERM ends us within 10 s."""
ORPHANS_RETRY_S = 10.0
DISCARD_S = 3600.0
DEATH_SHOWN_S = 600.0
LOG_LINES = 200
BUNDLE_LINES = 1000
MAX_LOG_CHARACTERS = 1024 * 1024
REPLY_EXPIRY_S = 3600


class Agent:
    """One device's. The caller holds the StateLock of its folder."""

    def __init__(
        self,
        config: AgentConfig,
        assemble: Callable[[AgentConfig, Agent], Parts],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ConfigError. ``assemble``: what it is made of; it may look at the agent only
        once that has begun."""
        self.config = config
        self._clock = clock
        self._death: tuple[float, str] | None = None
        self._applied = 0
        self._is_stopped = False
        self.state = AgentState(config.state)
        try:
            self.epoch = self.state.begin_epoch(int(time.time()))
            self.crew = Crew(on_death=self._on_death)
            self.parts = assemble(config, self)
        except BaseException:
            self.state.close()
            raise
        self.modules = ModuleSet(
            self.parts.make_unit, on_change=self.wake, kept=self.parts.kept_modules
        )
        self.commands = Commands(
            self.state,
            self._actions(),
            send=lambda payload: self._publish(topics.REPLY, payload, expiry_s=REPLY_EXPIRY_S),
            hub_now_ms=self.parts.hub_now_ms,
        )
        self.session = Session(
            config.device,
            self.state,
            announce=lambda: self._publish(
                topics.STATUS, encode(self._status(True)), retained=True
            ),
            apply=self._apply,
            on_ack=self.parts.on_ack,
            on_command=self.commands.put,
            on_announced=self._on_announced,
        )
        self.reporter = Reporter(
            self.report,
            self._send_report,
            every_s=self._report_every_s,
            debounce_s=config.report.debounce_s,
        )

    def start(self) -> None:
        """Begin. Returns at once; the network comes last."""
        log.info("agent %s of %s begins, epoch %d", agent_version(), self.config.device, self.epoch)
        if self.session.desired is not None:
            self._apply(self.session.desired)
        self.crew.add("modules", self.modules.work)
        self.crew.add("housekeeping", self._keep_house)
        self.crew.add("session", self.session.work)
        self.crew.add("commands", self.commands.work)
        self.crew.add("reporter", self.reporter.work)
        for name, work in self.parts.services.items():
            self.crew.add(name, work)
        if self.config.telemetry.metrics_s > 0:
            self.crew.add("agent metrics", self._measure)
        self._listen()
        device = self.config.device
        self.parts.link.start(
            subscriptions=topics.downward_filters(device),
            on_message=self.session.on_message,
            on_connected=self.session.on_connected,
            will=Message(
                topics.topic(device, topics.STATUS), encode(self._status(False)), is_retained=True
            ),
        )

    def stop(self, *, is_halting: bool = False) -> None:
        """End everything but the modules; with ``is_halting`` they are stopped too. Idempotent."""
        if self._is_stopped:
            return
        self._is_stopped = True
        log.info("agent ends")
        deadline = self._clock() + STOP_S
        self.crew.stopping.set()
        for part in (self.reporter, self.session, self.commands):
            part.wake()
        self.parts.wake()
        self.modules.stop(deadline, is_halting=is_halting)
        stuck = self.crew.stop(deadline)
        if stuck:
            log.warning("these threads did not end: %s", ", ".join(stuck))
        last = Message(
            topics.topic(self.config.device, topics.STATUS),
            encode(self._status(False)),
            is_retained=True,
        )
        # A broker that swallows packets must not keep us: it has our will.
        within(GOODBYE_S, "the link", lambda: self.parts.link.stop(last))
        within(CLOSE_S, "the outbox", self.parts.close)
        self.state.close()

    def wake(self) -> None:
        """Something may have changed that the hub should know."""
        if hasattr(self, "reporter"):
            self.reporter.wake()

    def report(self, number: int) -> Reported:
        """As everything is now."""
        modules = self.modules.reports()
        version = self.session.version
        self._applied = applied_version(modules, version, self._applied)
        return Reported(
            v=VERSION,
            device=self.config.device,
            epoch=self.epoch,
            number=number,
            desired_version=version,
            applied_version=self._applied,
            modules=tuple(modules),
            host=machine.report(self.config.state),
            outbox=self._outbox(),
            error=self.trouble(),
            agent_version=agent_version(),
            time_ms=self.parts.hub_now_ms(),
        )

    @property
    def settings(self) -> Settings:
        """What the hub says of this device itself."""
        desired = self.session.desired
        return Settings() if desired is None else desired.settings

    def trouble(self) -> str | None:
        """What is wrong with the agent itself, one line."""
        if self.session.error is not None:
            return self.session.error
        if self._death is not None and self._clock() - self._death[0] < DEATH_SHOWN_S:
            return self._death[1]
        if self.state.was_damaged:
            return "state.db was damaged and is put aside"
        return None

    def metrics(self) -> dict[str, float]:
        """The agent's own numbers."""
        outbox = self._outbox()
        modules = self.modules.reports()
        return {
            "connected": float(self.parts.link.is_connected),
            "resident_bytes": float(machine.resident_bytes()),
            "threads": float(threading.active_count()),
            "thread_deaths": float(self.crew.deaths),
            "outbox_records": float(outbox.records),
            "outbox_bytes": float(outbox.size_bytes),
            "outbox_dropped": float(outbox.dropped),
            "modules": float(len(modules)),
            "modules_healthy": float(sum(module.health == "healthy" for module in modules)),
            "desired_version": float(self.session.version),
            "applied_version": float(self._applied),
        }

    def _apply(self, desired: Desired) -> None:
        self.parts.prepare(desired)
        self.modules.apply(desired)
        self.wake()

    def _status(self, is_online: bool) -> Status:
        if not is_online:
            return Status(VERSION, self.config.device, self.epoch)
        return Status(
            VERSION,
            self.config.device,
            self.epoch,
            online=True,
            agent_version=agent_version(),
            desired_version=self.session.version,
            machine=machine.kind(),
            hosts=tuple(host.kind for host in self.parts.hosts),
            life=self.parts.life(),
        )

    def _publish(
        self, kind: str, payload: bytes, *, retained: bool = False, expiry_s: int | None = None
    ) -> bool:
        return self.parts.link.publish(
            Message(
                topics.topic(self.config.device, kind),
                payload,
                is_retained=retained,
                expiry_s=expiry_s,
                properties={"mono": self.parts.mark()},
            )
        )

    def _on_announced(self) -> None:
        self.parts.on_announced()
        self.reporter.ask()

    def _send_report(self, report: Reported) -> bool:
        keep_report(self.config.state, report)
        return self._publish(topics.REPORTED, encode(report), retained=True)

    def _report_every_s(self) -> float:
        wanted = self.settings.report_s
        return wanted if wanted is not None else self.config.report.every_s

    def _outbox(self) -> OutboxReport:
        return self.parts.outbox_report()

    def _on_death(self, name: str, cause: str) -> None:
        text = f"the thread {name} died: {cause}"[:500]
        self._death = (self._clock(), text)
        self.wake()
        try:
            self.parts.event("thread-died", {"thread": name, "cause": cause[:500]})
        except EdgeError as error:
            log.warning("%s", error)

    def _listen(self) -> None:
        if self.config.listen.port is None:
            return
        from edge.agent.listener import Listener

        listen = self.config.listen

        def work(stopping: threading.Event) -> None:
            # Here, as a port that another has is no reason to keep no modules.
            listener = Listener(
                listen.address, listen.port or 0, metrics=self.metrics, health=self.trouble
            )
            try:
                listener.work(stopping)
            finally:
                listener.close()

        self.crew.add("listener", work)

    def _measure(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            if stopping.wait(self.settings.metrics_s or self.config.telemetry.metrics_s):
                return
            self.parts.metrics(self.metrics())

    def _keep_house(self, stopping: threading.Event) -> None:
        """Stop what an earlier agent left and nothing wants; free what hosts prepared for images
        that are gone."""
        are_orphans_gone = False
        next_discard_s = self._clock() + 60
        tidied = self._applied
        while not stopping.is_set():
            if not are_orphans_gone and self.session.desired is not None:
                are_orphans_gone = all([self._stop_orphans(host) for host in self.parts.hosts])
            if self._applied != tidied:  # a deployment has ended
                tidied = self._applied
                memory.give_back()
            if self._clock() >= next_discard_s:
                next_discard_s = self._clock() + DISCARD_S
                for host in self.parts.hosts:
                    try:
                        host.discard(sorted(self.modules.digests()))
                    except HostError as error:
                        log.warning("%s: %s", host.kind, error)
            stopping.wait(ORPHANS_RETRY_S)

    def _stop_orphans(self, host: ModuleHost) -> bool:
        """Whether there are none any more."""
        try:
            for found in host.list():
                if found.id.module not in self.modules.names():
                    log.info("%s of %s is not wanted any more, and is stopped", found.id, host.kind)
                    host.stop(found.id)
        except HostError as error:
            log.warning("%s: %s", host.kind, error)
            return False
        return True

    def _actions(self) -> Mapping[str, Action]:
        return {
            "ping": lambda arguments: "pong",
            "logs": self._logs,
            "restart": self._restart,
            "check": lambda arguments: msgspec.json.encode(checks.run(self.config)).decode(),
            "support-bundle": self._support_bundle,
            "telemetry-flush": lambda arguments: self.parts.flush(),
        }

    def _logs(self, arguments: Mapping[str, Any]) -> str:
        lines = arguments.get("lines", LOG_LINES)
        if not isinstance(lines, int) or not 1 <= lines <= 5000:
            raise InvalidSpecError("lines: 1 to 5000")
        return self.modules.unit(_name(arguments)).logs(lines)[-MAX_LOG_CHARACTERS:]

    def _restart(self, arguments: Mapping[str, Any]) -> str:
        name = _name(arguments)
        self.modules.unit(name).restart()
        return f"restarted {name}"

    def _support_bundle(self, arguments: Mapping[str, Any]) -> str:
        logs = {}
        for name in sorted(self.modules.names()):
            try:
                logs[name] = self.modules.unit(name).logs(BUNDLE_LINES)[-MAX_LOG_CHARACTERS:]
            except EdgeError as error:
                logs[name] = f"(not to be had: {error})"
        made = support_bundle.make(self.config, logs=logs, results=checks.run(self.config))
        return base64.b64encode(made).decode()


def _name(arguments: Mapping[str, Any]) -> str:
    name = arguments.get("module")
    if not isinstance(name, str):
        raise InvalidSpecError("the command names no module")
    return name
