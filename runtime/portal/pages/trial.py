"""Try a deployment: JSON in, its answer out.

The request goes from the service to the address that the controller saw the deployment at, and to
no other: whoever fills in the form cannot say where to."""

from __future__ import annotations

import json
import shlex
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any

from registry.deployments import Deployment
from runtime.errors import InferryError, ScoringCallError
from runtime.portal.answers import Answer, Commands, Page
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.place import Place
from runtime.scoring_relay import post, seen_at, trusted
from runtime.workspace_service.faults import Fault

MAX_CHARS = 1_000_000
MAX_ANSWER_BYTES = 512 * 1024
TIMEOUT_S = 30.0
AT_ONCE = 4
EXAMPLE = '{"data": [[0, 0, 0, 0]]}'
_room = threading.Semaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """``status`` None: there was no answer, and ``text`` says why."""

    status: int | None
    reason: str
    text: str
    took_s: float
    is_cut: bool = False


def form(ask: Ask) -> Answer:
    """What to send."""
    found = ask.workspace.deployments.get(ask.arguments["name"])
    return _page(ask, found, _example(ask, found), None, "")


def score(ask: Ask) -> Answer:
    """Send it, and show the answer."""
    found = ask.workspace.deployments.get(ask.arguments["name"])
    text = ask.text("body", limit=MAX_CHARS)
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, ValueError) else "it is nested too deep"
        return _page(ask, found, text, None, f"This is no JSON: {said}")
    address = seen_at(found)
    if address is None:
        return _page(ask, found, text, None, "The deployment has no address now.")
    if not _is_ready(found):
        return _page(ask, found, text, None, "No replica of it is ready.")
    if not _room.acquire(blocking=False):
        raise Fault(503, "busy", "others are trying deployments just now; try again")
    try:
        key = ask.workspace.deployments.keys(found.name)["primary"]
        outcome = sent(
            address,
            text.encode(),
            key if found.service.is_keyed else None,
            trusted(found),
        )
    except InferryError:
        return _page(ask, found, text, None, "The deployment's certificate cannot be read.")
    finally:
        _room.release()
    return _page(ask, found, text, outcome, "")


def _is_ready(found: Deployment) -> bool:
    replicas = () if found.observed is None else found.observed.replicas
    return any(each.state == "ready" for each in replicas)


def sent(
    address: str, body: bytes, key: str | None, tls: ssl.SSLContext | None,
    timeout_s: float = TIMEOUT_S,
) -> Outcome:  # fmt: skip
    """One POST. A redirect is an answer, not followed; proxies of the environment are not used."""
    began = time.monotonic()
    try:
        found = post(
            address,
            body,
            content_type="application/json",
            key=key,
            tls=tls,
            timeout_s=timeout_s,
            most_bytes=MAX_ANSWER_BYTES,
        )
    except ScoringCallError as error:
        return Outcome(None, "", str(error), time.monotonic() - began)
    took_s = time.monotonic() - began
    text = _pretty(found.body.decode(errors="replace"))
    return Outcome(found.status, found.reason, text, took_s, found.is_cut)


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _example(ask: Ask, found: Deployment) -> str:
    """Zeros of the shape that the image's model takes, where that is known."""
    from registry.errors import RegistryError

    try:
        image = ask.workspace.images.get(found.revision(found.goal).image)
        model = ask.workspace.models.get(image.models[0])
    except (RegistryError, KeyError, IndexError):
        return EXAMPLE
    if model.signature is None or not model.signature.inputs:
        return EXAMPLE
    shape = [
        size if isinstance(size, int) and 0 < size <= 1000 else 1
        for size in model.signature.inputs[0].shape or (1,)
    ]
    count = 1
    for size in shape:
        count *= size
    return json.dumps({"data": _zeros(shape)}) if count <= 4096 else EXAMPLE


def _zeros(shape: list[int]) -> Any:
    return [_zeros(shape[1:]) for _ in range(shape[0])] if shape else 0


def _page(ask: Ask, found: Deployment, body: str, outcome: Outcome | None, complaint: str) -> Page:
    name = found.name
    return Page(
        "trial.html",
        f"Try {name}",
        {"deployment": found, "body": body, "outcome": outcome, "complaint": complaint},
        section="deployments",
        trail=(
            ("Deployments", url("deployments", workspace=ask.workspace_name)),
            (name, url("deployment", workspace=ask.workspace_name, name=name)),
        ),
        commands=Commands(f"inferry score {shlex.quote(name)} --data input.json"),
    )


PLACES = (
    Place("GET", "deployment.try", "contributor", form),
    Place("POST", "deployment.score", "contributor", score),
)
