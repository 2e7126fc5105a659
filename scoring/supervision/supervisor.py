"""The supervisor: it owns the listening sockets and keeps N server processes alive.

    hooks = Hooks(child_main=child_main, reload=open_bundle_again, on_ready=say_listening, ...)
    exit_code = Supervisor(listeners, generation, hooks, processes=2, drain_s=30).run()

    def child_main(generation, link: ParentLink) -> int: ...    # in each forked process

It accepts, passes each connection to the process with the fewest, keeps a copy, and so can move
idle ones: to a new generation (SIGHUP), to a process that was restarted, away from one that died.

It is one thread around a selector, with no event loop, so that it can fork at any moment; and it
never reads a byte of a request. Which process gets what is decided in connection_table.py, when one
is restarted in restarts.py, who loads when only one process can in handover.py; the child's side of
everything is parent_link.py.

Signals: SIGTERM and SIGINT drain and end (a second one at once), SIGHUP reloads.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Generic, TypeVar

from scoring.supervision.board import Board
from scoring.supervision.child import fork_child
from scoring.supervision.child_link import ChildLink
from scoring.supervision.connection_table import surplus
from scoring.supervision.connections import Connections
from scoring.supervision.door import Door, raise_descriptor_limit
from scoring.supervision.fleet import Child, Fleet, Seat
from scoring.supervision.handover import Handover, Phase
from scoring.supervision.hooks import Hooks
from scoring.supervision.link_messages import (
    Answer,
    Ask,
    Closed,
    Drain,
    Failed,
    GiveBack,
    Ready,
    Released,
    Retire,
    Tell,
    ToParent,
)
from scoring.supervision.parent_link import ParentLink
from scoring.supervision.relay import Relay, Sends
from scoring.supervision.timers import Timers
from scoring.supervision.wakeup import Wakeup

logger = logging.getLogger("scoring.supervision.supervisor")

G = TypeVar("G")

RELOAD_S = 600.0
"""How long a new generation may take to load; then the next SIGHUP is heard again."""
ORPHAN_DRAIN_S = 1.0
"""What a process may still do when its supervisor was killed: whoever did that wants it gone."""
FUTILE_STARTS = 4
"""Processes that may end while they load, before the first was ever ready."""
LOAD_FAILED_EXIT = 3
"""Exit code of a process, and of the supervisor, when the model or script does not load (unless the
process asks for another one)."""
ASK_TIMEOUT_S = 60.0
MAX_CONNECTIONS = 1 << 16

_GRACE_S = 0.5
"""A process may be this late before it is killed."""
_FAILED_S = 1.0
"""How long a process whose model did not load may answer what it has before it leaves."""
_LEAVE_S = 5.0
"""A process that has closed its link ends within this time, or is killed."""
_FORK_AGAIN_S = 0.1
_LAST_MESSAGES = 1 << 20
_MOVES_AT_A_TIME = 64
_REBALANCE_S = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Supervisor(Generic[G]):
    """See the module. ``listeners`` are bound and listening; they are closed at the end."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        generation: G,
        hooks: Hooks[G],
        *,
        processes: int,
        drain_s: float,
        board: Board | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        descriptors = raise_descriptor_limit()
        self.board = board or new_board(processes)
        self._listeners = list(listeners)
        self._hooks = hooks
        self._processes = processes
        self._drain_s = drain_s
        self._clock = clock
        self._timers = Timers(clock)
        self._selector = selectors.DefaultSelector()
        self._connections = Connections(self.board, min(self.board.slots, descriptors))
        self._door = Door(self._listeners, self._connections, self._selector, self._timers)
        self._relay = Relay()
        self._children: dict[int, Child[G]] = {}
        self._births = 0
        self._generations = 1
        self._current = self._fleet(generation)
        self._incoming: Fleet[G] | None = None
        self._handover: Handover[G] | None = None
        self._wakeup = Wakeup(_SIGNALS)
        self._is_stopping = False
        self._was_ready = False
        self._futile = 0
        self._wants_reload = False
        self._wants_balance = False
        self._balance_is_due = False
        self._exit_code = 0

    def run(self) -> int:
        """Until a signal ends it: 0. LOAD_FAILED_EXIT when what it first serves does not load."""
        self.board.set_generation(1)
        gc.freeze()
        try:
            with self._wakeup:
                self._selector.register(self._wakeup, selectors.EVENT_READ, self._on_signals)
                self._man(self._current)
                while not (self._is_stopping and not self._children):
                    self._turn()
        finally:
            self._clean_up()
        return self._exit_code

    def _turn(self) -> None:
        self._settle()
        for key, events in self._selector.select(self._timers.wait_s()):
            key.data(events)
        self._timers.run_due()

    def _settle(self) -> None:
        """After all that happened in a turn: give out what has no owner, and watch what waits."""
        if self._wants_reload:
            self._reload()
        if self._handover is not None:
            self._hand_over(self._handover)
        targets = self._targets()
        if self._is_stopping:
            self._connections.close_waiting()
        else:
            self._connections.distribute(targets)
            self._balance_if_wanted(targets)
        self._door.set_open(bool(targets) and not self._is_stopping)
        for child in self._children.values():
            self._watch(child)

    # Connections

    def _targets(self) -> dict[int, ChildLink]:
        """Who gets connections: the ready ones, or while none is, those that load. Nobody while
        the one that could have them leaves for the next."""
        if self._handover is not None and self._hooks.is_exclusive(self._current.generation):
            return {}
        children = [
            child for child in self._current.children if child.link.is_open and not child.has_failed
        ]
        ready = [child for child in children if child.life.is_ready]
        return {child.number: child.link for child in ready or children}

    def _balance_if_wanted(self, targets: Collection[int]) -> None:
        """Ask those with more than their share to give back the rest."""
        if not self._wants_balance:
            return
        self._wants_balance = False
        plan = surplus(self._connections.table.counts(targets), at_most=_MOVES_AT_A_TIME)
        for child in map(self._children.__getitem__, targets):
            count = plan.get(child.number, 0)
            if count != child.asked_back:
                child.asked_back = count
                child.link.send(GiveBack(count))

    def _balance_later(self) -> None:
        """Connections that end leave their processes uneven, which is looked at once a second."""
        if not self._balance_is_due:
            self._balance_is_due = True
            self._timers.after(_REBALANCE_S, self._balance_if_uneven)

    def _balance_if_uneven(self) -> None:
        self._balance_is_due = False
        counts = self._connections.table.counts(self._targets()).values()
        if counts and max(counts) - min(counts) > 1 + max(counts) // 8:
            self._wants_balance = True

    # Processes

    def _fleet(self, generation: G) -> Fleet[G]:
        is_exclusive = self._hooks.is_exclusive(generation)
        return Fleet(self._generations, generation, 1 if is_exclusive else self._processes)

    def _man(self, fleet: Fleet[G]) -> None:
        for seat in fleet.seats:
            self._fork(fleet, seat)

    def _fork(self, fleet: Fleet[G], seat: Seat[G]) -> None:
        """Raises OSError when the machine has no process to spare."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.setblocking(False)
        life = self.board.begin_life(fleet.number)
        link = ParentLink(theirs, self.board, life, self._listeners, orphan_drain_s=ORPHAN_DRAIN_S)
        main = partial(_live, self._hooks.child_main, fleet.generation, link)
        try:
            pid = fork_child(main, partial(self._close_inherited, ours))
        except OSError:
            ours.close()
            self.board.end_life(life, self._fold)
            raise
        finally:
            theirs.close()
        self._births += 1
        child = Child(self._births, pid, life, ChildLink(ours), fleet, seat)
        seat.child = child
        self._children[child.number] = child
        self._connections.table.add_owner(child.number)

    def _close_inherited(self, ours: socket.socket) -> None:
        """In a child: close what is not its. The selector is closed, never told anything: the
        kernel's object is the parent's too."""
        self._selector.close()
        ours.close()
        for child in self._children.values():
            child.link.close()
        self._door.close_copies()
        self._wakeup.close()
        self._connections.close_copies()

    def _watch(self, child: Child[G]) -> None:
        wanted = 0
        if child.link.is_open:
            wanted = selectors.EVENT_READ | child.link.has_unsent * selectors.EVENT_WRITE
        if wanted == child.watched:
            return
        if child.watched:
            self._selector.unregister(child.link)
        if wanted:
            self._selector.register(child.link, wanted, partial(self._on_link, child))
        else:
            self._timers.after(_LEAVE_S, partial(self._kill_late, child))
        child.watched = wanted

    def _reap(self) -> None:
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._died(child, os.waitstatus_to_exitcode(status))

    def _died(self, child: Child[G], code: int) -> None:
        for message in child.link.receive(at_most=_LAST_MESSAGES):
            self._on_message(child, message)
        if child.watched:
            self._selector.unregister(child.link)
        child.link.close()
        del self._children[child.number]
        child.seat.child = None
        bodies, was_alone = child.life.running(), child.life.ran_alone()
        self.board.end_life(child.life, self._fold)
        self._connections.child_died(child.number)
        self._send_all(self._relay.gone(child.number))
        if bodies and code != 0 and not child.was_killed:
            self._judge(bodies, was_alone)
        self._after_death(child, code)

    def _fold(self, past: bytes, snapshot: bytes) -> bytes:
        try:
            return self._hooks.fold(past, snapshot)
        except Exception:
            logger.exception("the metrics of a process that ended are lost")
            return past

    def _judge(self, bodies: list[bytes], was_alone: bool) -> None:
        try:
            verdict = self._hooks.on_death(bodies, was_alone)
        except Exception:
            logger.exception("on_death failed")
            return
        if verdict is not None:
            for child in self._children.values():
                child.link.send(Tell(verdict))

    def _after_death(self, child: Child[G], code: int) -> None:
        if self._is_stopping or child.is_leaving:
            return
        if self._is_restoring(child.fleet):  # who waits is told the truth from now on
            self._handover = None
        if child.fleet is self._incoming:
            self._give_up_reload(f"a process ended while it loaded ({_ending(code)})")
        elif code == LOAD_FAILED_EXIT and not self._was_ready and child.ready_at is None:
            self._stop(LOAD_FAILED_EXIT, 0.0)
        elif self._is_hopeless(child):
            print(f"error: the model does not load: {_ending(code)}", file=sys.stderr, flush=True)
            self._stop(LOAD_FAILED_EXIT, 0.0)
        else:
            self._restart_later(child, code)

    def _is_hopeless(self, child: Child[G]) -> bool:
        """What has ended its process each time, and was never ready, will not load by trying."""
        if self._was_ready or child.ready_at is not None:
            return False
        self._futile += 1
        return self._futile >= FUTILE_STARTS

    def _restart_later(self, child: Child[G], code: int) -> None:
        ready_for_s = 0.0 if child.ready_at is None else self._clock() - child.ready_at
        delay_s = child.seat.restarts.delay_s(ready_for_s=ready_for_s)
        logger.warning(
            "server process %d ended (%s); the next one starts in %g s",
            child.pid,
            _ending(code),
            delay_s,
        )
        self.board.count_restart()
        if delay_s:
            self._timers.after(delay_s, partial(self._restart, child.fleet, child.seat))
        else:
            self._restart(child.fleet, child.seat)

    def _restart(self, fleet: Fleet[G], seat: Seat[G]) -> None:
        if self._is_stopping or fleet is not self._current or seat.child is not None:
            return
        if self._handover is not None and not self._handover.may_fork(fleet):
            return
        try:
            self._fork(fleet, seat)
        except OSError as error:
            delay_s = seat.restarts.delay_s(ready_for_s=0.0) or _FORK_AGAIN_S
            logger.error("cannot start a server process: %s", error.strerror)
            self._timers.after(delay_s, partial(self._restart, fleet, seat))

    def _kill_late(self, child: Child[G]) -> None:
        if child.number in self._children:
            logger.warning("server process %d did not leave in time: killed", child.pid)
            self._kill(child)

    def _kill(self, child: Child[G]) -> None:
        child.was_killed = True
        os.kill(child.pid, signal.SIGKILL)

    # Messages

    def _on_link(self, child: Child[G], events: int) -> None:
        if child.number not in self._children:  # reaped in this turn
            return
        if events & selectors.EVENT_WRITE:
            child.link.flush()
        for message in child.link.receive():
            self._on_message(child, message)

    def _on_message(self, child: Child[G], message: ToParent) -> None:
        match message:
            case Closed(slot):
                self._connections.closed(slot, child.number)
                self._balance_later()
            case Released(slot):
                self._on_released(child, slot)
            case Ready():
                self._on_ready(child)
            case Failed(text, exit_code):
                self._on_failed(child, text, exit_code)
            case Tell(payload):
                self._hear(child, payload)
                for member in self._members(child.fleet):
                    member.link.send(message)
            case Ask(ask_id, payload):
                self._hear(child, payload)
                self._on_ask(child, ask_id, payload)
            case Answer(number, payload):
                self._send_all(self._relay.answer(number, child.number, payload))

    def _on_released(self, child: Child[G], slot: int) -> None:
        self._connections.released(slot, child.number)
        if child.asked_back:
            child.asked_back -= 1
            if child.asked_back == 0:
                self._wants_balance = True

    def _on_ready(self, child: Child[G]) -> None:
        if child.ready_at is None:
            child.ready_at = self._clock()
        if child.fleet is self._incoming:
            if self._incoming.is_ready:
                self._promote(self._incoming)
        elif child.fleet is self._current:
            self._wants_balance = True
            if self._is_restoring(child.fleet) and self._current.is_ready:
                self._handover = None
            if self._current.is_ready and not self._was_ready:
                self._was_ready = True
                self._hooks.on_ready()

    def _on_failed(self, child: Child[G], text: str, exit_code: int) -> None:
        if self._is_stopping or child.is_leaving:
            return
        if child.fleet is self._incoming:
            self._give_up_reload(text)
        elif self._was_ready:
            logger.error("server process %d failed: %s", child.pid, text)
            child.has_failed = True  # the connections that it has are the next one's
            child.link.send(Retire(_FAILED_S))
            self._timers.after(_FAILED_S + _GRACE_S, partial(self._kill_late, child))
        else:
            print(text, file=sys.stderr, flush=True)
            self._stop(exit_code, 0.0)

    def _hear(self, child: Child[G], payload: bytes) -> None:
        if child.fleet is self._current:
            self._hooks.on_tell(payload)

    def _on_ask(self, child: Child[G], ask_id: int, payload: bytes) -> None:
        members = self._members(child.fleet)
        number = self._relay.ask(
            asker=child.number, ask_id=ask_id, asked=[member.number for member in members]
        )
        for member in members:
            member.link.send(Ask(number, payload))
        self._timers.after(ASK_TIMEOUT_S, lambda: self._send_all(self._relay.give_up(number)))

    def _send_all(self, sends: Sends) -> None:
        for number, message in sends:
            if number in self._children:
                self._children[number].link.send(message)

    def _members(self, fleet: Fleet[G]) -> list[Child[G]]:
        """The living processes of a generation, also one that retires."""
        return [child for child in self._children.values() if child.fleet is fleet]

    # Reload

    def _reload(self) -> None:
        """Start the next generation, unless the last one is still on its way or leaving."""
        has_room = self.board.free_lives >= 2 * self._processes
        is_busy = self._incoming is not None or self._handover is not None
        if self._is_stopping or is_busy or not (self._was_ready and has_room):
            return
        self._wants_reload = False
        try:
            generation = self._hooks.reload()
        except Exception as error:
            logger.error("reload failed, the old generation goes on: %s", error)
            return
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._generations += 1
        self._incoming = self._fleet(generation)
        if self._hooks.is_exclusive(generation) and self._holders():
            self._handover = Handover(self._current, self._incoming)
            for child in self._holders():
                if not child.is_leaving:
                    self._dismiss(child, Retire(self._drain_s), self._drain_s)
        else:
            self._man_incoming(self._incoming)
        self._timers.after(RELOAD_S, partial(self._end_late_reload, self._generations))

    def _man_incoming(self, fleet: Fleet[G]) -> None:
        try:
            self._man(fleet)
        except OSError as error:
            self._give_up_reload(f"cannot start a server process: {error.strerror}")

    def _holders(self) -> list[Child[G]]:
        """The living processes that have, or may get, what one at a time can have."""
        return [
            child
            for child in self._children.values()
            if self._hooks.is_exclusive(child.fleet.generation)
        ]

    def _hand_over(self, handover: Handover[G]) -> None:
        """Let the next load as soon as the ones before are gone."""
        if self._is_stopping or not handover.waits or self._holders():
            return
        fleet = handover.vacated()
        if fleet is self._incoming:
            self._man_incoming(fleet)
        elif fleet.is_ready:  # it never had to leave
            self._handover = None
        else:
            for seat in fleet.seats:
                self._restart(fleet, seat)

    def _is_restoring(self, fleet: Fleet[G]) -> bool:
        handover = self._handover
        return handover is not None and handover.phase is Phase.RESTORING and fleet is handover.old

    def _end_late_reload(self, number: int) -> None:
        if self._incoming is not None and self._incoming.number == number:
            self._give_up_reload(f"it has not loaded in {RELOAD_S:g} s")

    def _promote(self, fleet: Fleet[G]) -> None:
        old, self._current, self._incoming = self._current, fleet, None
        self._handover = None
        self.board.set_generation(fleet.number)
        self._wants_balance = True
        for child in self._members(old):
            self._dismiss(child, Retire(self._drain_s), self._drain_s)
        logger.info("generation %d serves now", fleet.number)

    def _give_up_reload(self, reason: str) -> None:
        assert self._incoming is not None
        logger.error("reload failed, the old generation goes on: %s", reason)
        failed, self._incoming = self._incoming, None
        if self._handover is not None:
            self._handover.give_up()
        for child in self._members(failed):
            self._dismiss(child, Drain(0.0), 0.0)

    def _dismiss(self, child: Child[G], message: Drain | Retire, seconds: float) -> None:
        child.is_leaving = True
        child.asked_back = 0
        child.link.send(message)
        self._timers.after(seconds + _GRACE_S, partial(self._kill_late, child))

    # The end

    def _stop(self, exit_code: int, drain_s: float) -> None:
        """Take in who has connected already, refuse others, and let the processes finish."""
        if self._is_stopping:
            for child in self._children.values():
                self._kill(child)
            return
        self._door.accept_rest()
        self._handover = None
        self._connections.distribute(self._targets())
        self._is_stopping = True
        self._exit_code = exit_code
        self._door.close()
        for child in self._children.values():
            self._dismiss(child, Drain(drain_s), drain_s)

    def _on_signals(self, events: int) -> None:
        for number in self._wakeup.read():
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop(0, self._drain_s)
            elif number == signal.SIGHUP:
                self._wants_reload = True
        self._reap()

    def _clean_up(self) -> None:
        for child in self._children.values():  # only after an exception of ours
            os.kill(child.pid, signal.SIGKILL)
            child.link.close()
        self._selector.close()
        self._connections.close_copies()
        self._door.close_copies()
        self._wakeup.close()


def new_board(processes: int) -> Board:
    """Room for three generations of so many processes, and for one that is given up."""
    return Board.create(slots=MAX_CONNECTIONS, lives=4 * processes)


def _live(child_main: Callable[[G, ParentLink], int], generation: G, link: ParentLink) -> int:
    try:
        return child_main(generation, link)
    finally:
        link.close()


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
