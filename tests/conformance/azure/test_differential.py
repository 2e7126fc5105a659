"""Every script of the corpus under the reference and under us: same status, headers and body."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance.azure import harness
from tests.conformance.azure.cases import SCRIPTS
from tests.conformance.azure.deliberate import DIFFERENCES, REFUSED, Difference, Seen
from tests.conformance.azure.model import Outcome, Response, Script, Server

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / os.environ.get("INFERRY_AZURE_REFERENCE", ".venv-azure/bin/azmlinfsrv")
SERVERS = (
    Server((str(REFERENCE),)),
    Server((sys.executable, "-P", "-m", "scoring.azmlinfsrv"), "/readyz"),
)
LOAD_FAILED = 3
PARALLEL = 4

needs_reference = pytest.mark.skipif(
    not REFERENCE.exists(),
    reason=f"no reference server at {REFERENCE}: run scripts/azure-reference",
)
Pair = tuple[Outcome, Outcome]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[Callable[[Script], Pair]]:
    """What a script does under both servers. All that this process will need starts at once."""
    wanted: list[Script] = [
        item.callspec.params["script"]  # type: ignore[misc]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_as_the_reference.__name__
    ]
    if "PYTEST_XDIST_WORKER" in os.environ:  # another process may get them: start when asked
        wanted = []
    with ThreadPoolExecutor(PARALLEL) as pool:
        started = {script.name: _start(pool, script) for script in wanted}

        def outcome(script: Script) -> Pair:
            ours = started.get(script.name) or _start(pool, script)
            return ours[0].result(), ours[1].result()

        yield outcome


@pytest.mark.slow
@needs_reference
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_as_the_reference(script: Script, outcomes: Callable[[Script], Pair]) -> None:
    reference, ours = outcomes(script)
    if script.name in REFUSED:
        assert (reference.exit_code, ours.exit_code) == (None, LOAD_FAILED)
        return
    expected_exit = LOAD_FAILED if script.fails else None
    assert (reference.exit_code, ours.exit_code) == (expected_exit, expected_exit)
    for request in script.requests if not script.fails else ():
        difference = DIFFERENCES.get((script.name, request.name))
        pair = reference.responses[request.name], ours.responses[request.name]
        if difference is None:
            assert pair[1] == pair[0], request
        else:
            assert_differs(difference, *pair)


def test_every_difference_names_a_request() -> None:
    requests = {(script.name, request.name) for script in SCRIPTS for request in script.requests}
    assert set(DIFFERENCES) <= requests
    assert set(REFUSED) <= {script.name for script in SCRIPTS}


def test_the_corpus_is_as_large_as_promised() -> None:
    names = [script.name for script in SCRIPTS]
    assert len(names) == len(set(names))
    assert len({script.path for script in SCRIPTS}) >= 45
    assert sum(len(script.requests) for script in SCRIPTS) >= 150
    for script in SCRIPTS:
        requests = [request.name for request in script.requests]
        assert len(requests) == len(set(requests)), script.name


def assert_differs(difference: Difference, reference: Response, ours: Response) -> None:
    """Both answers are what the list says."""
    assert_seen(difference.reference, reference)
    assert_seen(difference.ours, ours)
    assert reference != ours


def assert_seen(seen: Seen, response: Response) -> None:
    """The response has this status and text."""
    assert response.status == seen.status
    assert seen.text in response.body.decode()


def _start(pool: ThreadPoolExecutor, script: Script) -> tuple[Future[Outcome], Future[Outcome]]:
    first, second = (pool.submit(harness.run, script, server) for server in SERVERS)
    return first, second
