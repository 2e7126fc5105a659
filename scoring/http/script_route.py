"""``/score`` for a score.py: the request goes to a worker as it came (serving.md, section 2)."""

from __future__ import annotations

from scoring.dispatcher import Dispatcher
from scoring.errors import RunTimeoutError, ScoringError, WorkerDiedError
from scoring.frames import ScoreRequest
from scoring.http.answer import Answer, error_answer
from scoring.http.errors import answer_error
from scoring.http.exchange import Exchange
from scoring.script_request import ScriptReply, ScriptRequest

FAILED = ("x-ms-run-function-failed", "True")
NOT_FAILED = ("x-ms-run-function-failed", "False")


class ScriptRoute:
    """Answers by running the script; every method that it names reaches run() or its rules."""

    methods = frozenset({"GET", "HEAD", "POST", "OPTIONS"})

    def __init__(
        self, dispatcher: Dispatcher[ScriptRequest, ScriptReply], *, timeout_ms: int
    ) -> None:
        self._dispatcher = dispatcher
        self._timeout_ms = timeout_ms

    async def answer(self, exchange: Exchange) -> Answer:
        """The script's answer, or the error that the contract asks for."""
        try:
            reply = await self._dispatcher.submit(_to_script(exchange))
        except RunTimeoutError:
            text = f"Scoring timeout after {self._timeout_ms} ms"
            return error_answer(500, text, [FAILED])
        except WorkerDiedError:
            text = (
                "The scoring process ended while it had this request. Check the logs for more info."
            )
            return error_answer(500, text, [FAILED])
        except ScoringError as error:
            return answer_error(error).with_headers([NOT_FAILED])
        if not 200 <= reply.status <= 599:
            return error_answer(500, f"The scoring script answered with status {reply.status}")
        return Answer(reply.status, tuple(reply.headers), reply.body)


def _to_script(exchange: Exchange) -> ScriptRequest:
    scope = exchange.scope
    head = ScoreRequest(
        method=exchange.method,
        path=exchange.path,
        query=exchange.query,
        headers=exchange.header_list,
        scheme=scope["scheme"],
        server=_address(scope.get("server")),
        client=_address(scope.get("client")),
    )
    return ScriptRequest(head, exchange.body)


def _address(pair: tuple[str, int | None] | None) -> tuple[str, int]:
    if pair is None:
        return ("127.0.0.1", 0)
    return (pair[0], pair[1] or 0)
