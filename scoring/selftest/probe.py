"""Scores one sample: the given one, a script's own (its swagger), or one made from the signature.

What a script wants to read nobody can guess: without a sample of its own it is not scored, and only
init() is shown to work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from scoring.bundle import open_bundle
from scoring.errors import BundleError
from scoring.selftest import samples
from scoring.selftest.client import Answer, ask
from scoring.selftest.errors import SelfTestError

Origin = Literal["given", "the script's", "made"]
SHOWN_CHARS = 300


@dataclass(frozen=True, slots=True)
class Sample:
    """A body for /score, and where it is from."""

    body: bytes
    origin: Origin


class Probe:
    """``found`` is the report's ``score``; None before anything was scored."""

    def __init__(self, what: Path, deadline: float) -> None:
        self.found: dict[str, Any] | None = None
        self._what = what
        self._deadline = deadline

    def score(self, port: int, given: bytes | None) -> None:
        """Raises SelfTestError when the server that listens on ``port`` does not answer well."""
        refusal: str | None = None
        for sample in self._samples(port, given):
            answer = self._ask(port, "POST", "/score", sample.body, "the sample")
            if self.found is None or 200 <= answer.status <= 299:
                self.found = {
                    "status": answer.status,
                    "bytes": answer.size_bytes,
                    "ms": round(answer.took_s * 1000, 1),
                    "sample": sample.origin,
                }
            if 200 <= answer.status <= 299:
                return
            refusal = refusal or _refusal(sample, answer)
            if sample.origin == "the script's" and 400 <= answer.status <= 499:
                return  # the script has seen it and has judged
        if refusal is not None:
            raise SelfTestError(refusal)
        self.found = {"skipped": "no sample"}

    def _samples(self, port: int, given: bytes | None) -> Iterator[Sample]:
        if given is not None:
            yield Sample(given, "given")
            return
        try:
            bundle = open_bundle(self._what)
        except BundleError as error:  # the server has read it: it has changed since
            raise SelfTestError(str(error)) from error
        if bundle.file.engine == "script":
            own = samples.of_script(self._json(port, "/swagger.json"))
            if own is not None:
                yield Sample(own, "the script's")
            return
        path = f"/v2/models/{quote(bundle.file.models[0].name, safe='')}"
        metadata, config = self._json(port, path), self._json(port, f"{path}/config")
        for body in samples.of_model(metadata, config):
            yield Sample(body, "made")

    def _json(self, port: int, path: str) -> Any:
        answer = self._ask(port, "GET", path, None, path)
        try:
            return json.loads(answer.body) if answer.status == 200 else None
        except ValueError:
            return None

    def _ask(self, port: int, method: str, path: str, body: bytes | None, what: str) -> Answer:
        try:
            return ask(port, method, path, body, timeout_s=self._deadline - time.monotonic())
        except TimeoutError:
            raise SelfTestError(f"{what} was not answered in time") from None
        except OSError as error:
            raise SelfTestError(f"{what} was not answered: {error}") from error


def _refusal(sample: Sample, answer: Answer) -> str:
    origin = " made from the model's signature" if sample.origin == "made" else ""
    hint = "; give a sample that fits" if sample.origin == "made" else ""
    text = f"the sample{origin} was answered {answer.status}"
    said = _message(answer.body)
    return f"{text}: {said}{hint}" if said else f"{text}{hint}"


def _message(body: bytes) -> str:
    """What an error's body says, in one line."""
    text = body[:65536].decode(errors="replace")
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict) and isinstance(document.get("message"), str):
        text = document["message"]
    return " ".join(text.split())[:SHOWN_CHARS]
