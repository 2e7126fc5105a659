"""``/score`` for a score.py: the request goes to a worker as it came (serving.md, section 2)."""

from __future__ import annotations

import logging
from typing import Any

from scoring.errors import InputError, RunTimeoutError, ScoringError, WorkerDiedError
from scoring.http.answer import Answer, are_valid, error_answer
from scoring.http.call import Call
from scoring.http.errors import answer_error
from scoring.http.model_route import NOT_ALLOWED, deadline_of
from scoring.script.frames import ScoreRequest
from scoring.script.script_request import ScriptReply, ScriptRequest
from scoring.service import ScriptService
from scoring.watching.shadow import Shadow
from scoring.work import Work

logger = logging.getLogger("scoring")

FAILED = ("x-ms-run-function-failed", "True")
NOT_FAILED = ("x-ms-run-function-failed", "False")
METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
DIED = "The scoring process ended while it had this request. Check the logs for more info."


class ScriptRoute:
    """Answers by running the script; every method that it names reaches run() or its rules."""

    name = "/score"

    def __init__(
        self,
        service: ScriptService,
        *,
        deadline_ms: float | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self._key = service.key
        self._shadow = shadow
        self._dispatcher = service.dispatcher
        self._timeout_ms = service.azure.scoring_timeout_ms
        self._deadline_ms = deadline_ms

    def refuse_unread(self, call: Call) -> Answer | None:
        """Another method than the contract knows."""
        if call.method in METHODS:
            return None
        return error_answer(405, NOT_ALLOWED, [NOT_FAILED])

    def begin(self, call: Call) -> None:
        """The script's answer, or the error that the contract asks for."""
        if call.method not in METHODS:
            call.reply(error_answer(405, NOT_ALLOWED, [NOT_FAILED]))
            return
        try:
            deadline = deadline_of(call, self._deadline_ms)
            work = Work(
                _to_script(call),
                self._done,
                key="script",
                deadline=deadline,
                body=call.body,
                context=call,
            )
            work.name = b"%b %b" % (call.method.encode(), call.target)
            call.work, call.dispatcher = work, self._dispatcher  # it may run at once
            self._dispatcher.submit(work)
        except ScoringError as error:
            call.reply(self._error(error))

    def _done(self, work: Work[ScriptRequest, ScriptReply], outcome: Any) -> None:
        call: Call = work.context
        if isinstance(outcome, ScoringError):
            call.reply(self._error(outcome))
        elif not 200 <= outcome.status <= 599:
            text = f"The scoring script answered with status {outcome.status}"
            call.reply(error_answer(500, text))
        elif not are_valid(outcome.headers):
            logger.error("the script has set a header that is not valid HTTP")
            call.reply(error_answer(500, "The scoring script has set a header that is not valid"))
        else:
            call.reply(Answer(outcome.status, tuple(outcome.headers), outcome.body))
            if self._shadow is not None:
                self._shadow.offer(self._key, work, outcome)

    def _error(self, error: ScoringError) -> Answer:
        if isinstance(error, RunTimeoutError):
            return error_answer(500, f"Scoring timeout after {self._timeout_ms} ms", [FAILED])
        if isinstance(error, WorkerDiedError):
            return error_answer(500, DIED, [FAILED])
        if isinstance(error, InputError):
            return error_answer(400, str(error), [NOT_FAILED])
        return answer_error(error).with_headers([NOT_FAILED])


def _to_script(call: Call) -> ScriptRequest:
    head = ScoreRequest(
        method=call.method,
        path=call.path,
        query=call.query.decode("latin-1"),
        headers=[(name.decode("latin-1"), v.decode("latin-1")) for name, v in call.headers],
        scheme=call.scheme,
        server=_address(call.server),
        client=_address(call.client),
    )
    return ScriptRequest(head, call.body)


def _address(pair: tuple[str, int | None] | None) -> tuple[str, int]:
    if pair is None:
        return ("127.0.0.1", 0)
    return (pair[0], pair[1] or 0)
