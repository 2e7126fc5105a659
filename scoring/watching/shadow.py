"""A second model, or a second score.py, that is asked what the first has answered: the answers are
compared and counted, and nobody ever sees them.

shadow = Shadow(path, share=0.1, config=config, ledger=ledger, environ=environ)
await shadow.start(service)              # loads; raises ShadowError
shadow.attach(service)                   # once that has loaded too; raises ShadowError
...
call.reply(answer)
shadow.offer(key, work, outcome)         # returns at once, never raises
...
await shadow.close()

The primary comes first in every way: its reply is written when a request is offered; the shadow
has an engine, a thread and a queue of its own and never runs on the event loop; and what it cannot
take at once is dropped (and counted), so that no memory grows behind a slow one.
"""

from __future__ import annotations

import asyncio
import logging
import random as randomness
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from scoring.bundle import Bundle, open_bundle
from scoring.config import ServerConfig
from scoring.errors import QueueFullError, ScoringError
from scoring.metrics import Ledger
from scoring.quarantine import Quarantine
from scoring.repository import ModelRepository
from scoring.service import ModelService, ScriptService, Shared, bundle_service
from scoring.watching.comparison import Comparison, Verdict, no_comparison
from scoring.watching.shadow_pair import ModelPair, Pair, ScriptPair
from scoring.work import Work

logger = logging.getLogger("scoring.watching.shadow")

ROOM = 32
"""Requests of one process that may be in the shadow's hands at a time, from the offer to the count.
What comes then is dropped."""
SMALL_BYTES = 16 * 1024
"""Answers above this size are compared on a thread."""
QUIET_S = 10.0
"""How long after one line about a difference the next may come."""

Service = ScriptService | ModelRepository[ModelService]


class ShadowError(ScoringError):
    """The shadow cannot be opened, does not load, or does not fit what is served."""


class Shadow:
    """One for each server process. ``share`` of the requests are mirrored, 0 to 1."""

    def __init__(
        self,
        path: Path,
        *,
        share: float,
        config: ServerConfig,
        ledger: Ledger,
        environ: Mapping[str, str],
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._path = path
        self._share = share
        self._config = config
        self._ledger = ledger
        self._environ = environ
        self._random = random
        self._service: Service | None = None
        self._pair: Pair | None = None
        self._offered: list[tuple[Work[Any, Any], Any]] = []
        self._taken = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._quiet_until = 0.0

    def __repr__(self) -> str:
        return f"<Shadow {self._path.name} taken={self._taken}>"

    async def start(self, primary: Service) -> None:
        """Load what is to shadow ``primary``. Raises ShadowError."""
        self._loop = asyncio.get_running_loop()
        try:
            service = self._service = self._open()
            _check_kinds(primary, service)
            if isinstance(service, ScriptService):
                await service.dispatcher.start()
            else:
                await service.start()
        except (ScoringError, ValueError) as error:
            await self.close()
            raise self._error(str(error)) from error

    def attach(self, primary: Service) -> None:
        """Take offers, now that ``primary`` is loaded too. Raises ShadowError where they do not
        fit. Nothing happens where the shadow has not started."""
        service = self._service
        if service is None:
            return
        if isinstance(primary, ScriptService):
            assert isinstance(service, ScriptService)
            self._pair = ScriptPair(primary, service)
            return
        assert not isinstance(service, ScriptService)
        ours, theirs = primary.main, service.main
        assert ours is not None
        assert theirs is not None
        pair = ModelPair(ours, theirs)
        if pair.misfit is not None:
            raise self._error(f"it does not fit '{ours.name}': {pair.misfit}")
        self._pair = pair

    def offer(self, key: str, work: Work[Any, Any], outcome: Any) -> None:
        """The primary ``key`` has answered ``work`` with ``outcome``: mirror it, perhaps."""
        pair = self._pair
        if pair is None or key != pair.key or not pair.is_comparable(outcome):
            return
        if self._random() >= self._share:
            return
        if self._taken >= ROOM:
            self._ledger.shadowed(key, "dropped")
            return
        self._taken += 1
        self._offered.append((work, outcome))
        if len(self._offered) == 1 and self._loop is not None:
            # Later: the others of this batch wait for their replies yet.
            self._loop.call_soon(self._mirror)

    async def close(self) -> None:
        """Abandon what is under way; idempotent; leaves no process behind."""
        service, self._service, self._pair = self._service, None, None
        if isinstance(service, ScriptService):
            await service.dispatcher.close()
        elif service is not None:
            await service.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _error(self, text: str) -> ShadowError:
        return ShadowError(f"the shadow '{self._path}' cannot be used: {text}")

    def _open(self) -> Service:
        """The shadow's service, with nothing of the primary's: not its counts, its quarantine or
        its place on the event loop."""
        limits = replace(self._config.limits, queue=ROOM)
        shared = Shared(
            replace(self._config, what=self._path, limits=limits),
            Ledger(),
            Quarantine(),
            inline_s=0.0,
        )
        return bundle_service(_first_model(open_bundle(self._path)), shared, self._environ)

    def _mirror(self) -> None:
        """Ask the shadow what was offered in this turn of the loop."""
        offered, self._offered = self._offered, []
        for work, outcome in offered:
            pair = self._pair
            if pair is None:
                return
            try:
                pair.submit(work, self._answered(pair, work, outcome))
            except QueueFullError:
                self._count(pair, None)
            except ScoringError as error:
                self._count(pair, no_comparison(str(error)))

    def _answered(
        self, pair: Pair, work: Work[Any, Any], outcome: Any
    ) -> Callable[[Work[Any, Any], Any], None]:
        """What is to be done when the shadow has answered too."""

        def done(mirrored: Work[Any, Any], answer: Any) -> None:
            if self._pair is None:
                return
            if isinstance(answer, ScoringError):
                self._count(pair, no_comparison(str(answer)))
                return
            ratio = pair.duration_ratio(work, outcome, mirrored, answer)
            if pair.size_bytes(outcome, answer) <= SMALL_BYTES:
                self._count(pair, _compared(pair, outcome, answer), ratio)
            else:
                future = self._pool.submit(_compared, pair, outcome, answer)
                future.add_done_callback(lambda done: self._count_later(pair, done, ratio))

        return done

    def _count_later(self, pair: Pair, future: Future[Comparison], ratio: float | None) -> None:
        """On the pool's thread."""
        loop = self._loop
        if not future.cancelled() and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._count, pair, future.result(), ratio)

    def _count(self, pair: Pair, found: Comparison | None, ratio: float | None = None) -> None:
        """None: it was dropped."""
        self._taken -= 1
        if found is None:
            self._ledger.shadowed(pair.key, "dropped")
            return
        is_answer = found.verdict != Verdict.ERROR
        self._ledger.shadowed(
            pair.key,
            found.verdict.value,
            max_difference=found.max_absolute if is_answer else None,
            duration_ratio=ratio,
            disagreeing_rows=found.disagreeing_rows,
        )
        if found.verdict in (Verdict.DIFFERENT, Verdict.ERROR):
            self._say(found)

    def _say(self, found: Comparison) -> None:
        assert self._loop is not None
        now = self._loop.time()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            logger.warning("shadow: %s: %s", found.verdict.value, found.text)


def _compared(pair: Pair, outcome: Any, answer: Any) -> Comparison:
    try:
        return pair.compared(outcome, answer)
    except Exception as error:  # a bug of ours must not stay in the shadow's hands for ever
        logger.exception("two answers could not be compared")
        return no_comparison(f"internal error: {type(error).__name__}")


def _first_model(bundle: Bundle) -> Bundle:
    """The bundle with the one model that is asked: loading others would be for nothing."""
    if bundle.file.engine == "script":
        return bundle
    models = [model for model in bundle.file.models if model.entry is not None][:1]
    return Bundle(bundle.root, msgspec.structs.replace(bundle.file, models=models))


def _check_kinds(primary: Service, shadow: Service) -> None:
    """Raises ShadowError."""
    is_script = isinstance(shadow, ScriptService)
    if is_script != isinstance(primary, ScriptService):
        kinds = ("a score.py", "a model") if is_script else ("a model", "a score.py")
        raise ShadowError("it is {}, but {} is served".format(*kinds))
