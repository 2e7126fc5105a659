"""Answers a batch of requests: together where that works, one by one where not.

Each request is parsed and converted by itself, so one that is refused or that cannot be converted
gets its own answer and never reaches the others. When the joint call fails, all of its requests
are run again from their bodies, each alone, so that a bad one fails alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import msgspec

from scoring.azure import alarm, outputs
from scoring.azure.entry_script import EntryScript, answer
from scoring.azure.merging import Joint
from scoring.script.frames import ScoreRequest

logger = logging.getLogger("azmlinfsrv.merging")

Request = tuple[ScoreRequest, bytes | bytearray]
Send = Callable[[Sequence[tuple[int, outputs.Answer]]], None]
"""Sends answers, each with the place of its request in the batch."""


class _Item(NamedTuple):
    """A converted request; ``place`` is its place in the batch."""

    place: int
    head: ScoreRequest
    value: Any


def answer_batch(
    script: EntryScript,
    joint: Joint | None,
    requests: Sequence[Request],
    send: Send,
    progress: Callable[[], None],
) -> None:
    """Answer every request once. ``progress`` is called where a call has failed and others
    follow."""
    alone = list(range(len(requests)))
    if joint is not None:
        groups, alone, refused = _sort(script, joint, requests)
        if refused:
            send(refused)
        for items in groups:
            answers = _answer_group(script, joint, items)
            if answers is not None:
                send(answers)
            else:
                progress()
                alone += [item.place for item in items]
    for index in alone:
        send([(index, _whole(script, script.call(*requests[index])))])


def _sort(
    script: EntryScript, joint: Joint, requests: Sequence[Request]
) -> tuple[list[list[_Item]], list[int], list[tuple[int, outputs.Answer]]]:
    """What goes together, what goes alone, and what does not reach the script."""
    groups: dict[Hashable, list[_Item]] = {}
    alone: list[int] = []
    refused: list[tuple[int, outputs.Answer]] = []
    for index, (head, body) in enumerate(requests):
        arguments = script.arguments(head, body)
        if isinstance(arguments, outputs.Answer):
            refused.append((index, arguments))
            continue
        try:
            with alarm.time_limit(script.timeout_ms):
                value, key = joint.value(arguments)
        except BaseException:  # run() will raise the same, and it is logged there
            key = None
        if key is None:
            alone.append(index)
        else:
            groups.setdefault(key, []).append(_Item(index, head, value))
    alone += [items[0].place for items in groups.values() if len(items) == 1]
    return [items for items in groups.values() if len(items) > 1], alone, refused


def _answer_group(
    script: EntryScript, joint: Joint, items: Sequence[_Item]
) -> list[tuple[int, outputs.Answer]] | None:
    """The answers of one joint call, or None when it failed."""
    try:
        try:
            alarm.start(script.timeout_ms)
            started = time.perf_counter()
            results = joint.call([item.value for item in items])
            run_ms = (time.perf_counter() - started) * 1000
        finally:
            alarm.stop()
    except BaseException:
        logger.exception(
            "Encountered Exception: %d requests at once failed; running each alone", len(items)
        )
        return None
    return [
        (item.place, _whole(script, _result(script, item.head, result, run_ms)))
        for item, result in zip(items, results, strict=True)
    ]


def _result(script: EntryScript, head: ScoreRequest, result: Any, run_ms: float) -> outputs.Answer:
    if isinstance(result, BaseException):
        return script.failure(result)
    return answer(result, run_ms, head)


def _whole(script: EntryScript, found: outputs.Answer) -> outputs.Answer:
    """In a batch a stream is collected: others wait behind it."""
    if isinstance(found.body, bytes):
        return found
    try:
        with alarm.time_limit(script.timeout_ms):
            body = b"".join(found.body)
    except BaseException:
        logger.exception("Encountered Exception: the stream failed")
        return outputs.internal_error()
    return msgspec.structs.replace(found, body=body)
