"""What holds for every route: made from the table of routes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import RegistryError, WorkspaceDamagedError
from runtime.mlflow_service import ROUTES, Limits, MlflowApp, Route
from runtime.mlflow_service.absent import SUBJECTS
from runtime.mlflow_service.refusals import refusal
from tests.runtime.mlflow_service.conftest import API, Client, RefusedError

GUIDE = Path(__file__).parents[3] / "docs/guides/mlflow.md"
ONE = [route for route in ROUTES if route.path.startswith("/api/")]


def _path(route: Route) -> str:
    made = route.path.replace("{model_id}", "m-" + "0" * 32).replace("{key}", "k")
    return made.replace("{path}", "0/" + "0" * 32 + "/artifacts/a")


def test_no_route_is_there_twice() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


def test_each_route_has_a_twin_for_pages() -> None:
    twins = {(r.method, r.path, r.role) for r in ROUTES if r.path.startswith("/ajax-api/")}
    assert {(r.method, f"/ajax-{r.path[1:]}", r.role) for r in ONE} == twins


@pytest.mark.parametrize("route", ONE, ids=lambda r: f"{r.method} {r.path}")
def test_only_what_reads_is_for_readers(route: Route) -> None:
    reads = route.method == "GET" or any(
        word in route.path.rsplit("/", 1)[-1] for word in ("search", "get-latest")
    )
    assert (route.role == "reader") == reads


NONSENSE = [b"{", b"[]", b'"x"', b"\xff", b"[" * 10_000, b'{"name": 1}', b"{}"]


def test_nonsense_is_refused_by_every_route(client: Client) -> None:
    """None answers it with a 500, a trace or a path of the machine."""
    for route in ROUTES:
        for body in NONSENSE if route.method != "GET" else [b""]:
            answer = client.send(
                route.method,
                _path(route),
                content=body,
                headers={"content-type": "application/json"},
            )
            assert answer.status_code < 500, route
            assert str(client.workspace.root) not in answer.text
            assert "Traceback" not in answer.text
            if answer.status_code != 200:
                assert {"error_code", "message"} <= set(answer.json())
            elif route.kind in ("ask", "log"):  # all of it can be left out, or is not known
                assert body in (b"", b"{}", b'{"name": 1}'), route


def test_only_json_changes_something(client: Client) -> None:
    """A form of another site can send text, and no JSON."""
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "")
    for route in [r for r in ROUTES if r.kind in ("ask", "log") and r.method != "GET"]:
        for kind in kinds:
            answer = client.send(
                route.method, _path(route), content=b'{"a": 1}', headers={"content-type": kind}
            )
            assert (answer.status_code, "application/json" in answer.text) == (400, True)


def test_other_paths_are_not_there(client: Client) -> None:
    for method, path in (
        ("GET", "/"),
        ("GET", f"{API}runs/create"),
        ("POST", f"{API}runs/create/"),
        ("POST", f"{API}traces/search"),
        ("PATCH", f"{API}logged-models/a/b/c"),
        ("GET", "/api/2.0/mlflow-artifacts/artifactsx"),
    ):
        answer = client.send(method, path, json={})
        assert (answer.status_code, answer.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
        assert "not part of Inferry" in answer.json()["message"]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_what_is_not_part_of_inferry_is_said_in_one_line_and_in_the_guide(
    client: Client, subject: str
) -> None:
    root = "mlflow-artifacts" if subject in ("mpu", "presigned") else "mlflow"
    for path in (f"/api/3.0/{root}/{subject}", f"/ajax-api/2.0/{root}/{subject}/a/b"):
        answer = client.send("POST", path, content=b"not read")
        assert (answer.status_code, answer.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
        assert re.fullmatch(
            r"[^\n]+ (is|are) not part of Inferry; [^\n]+", answer.json()["message"]
        )
    assert f"`{subject}`" in GUIDE.read_text()


def test_a_path_that_is_not_there_is_shown_as_plain_text(client: Client) -> None:
    answer = client.send("GET", f"{API}%1b[31m{'x' * 3000}/%e2%80%ae")
    said = answer.json()["message"]
    assert answer.status_code == 404
    assert said.isascii()
    assert said.isprintable()
    assert len(said) < 300


def test_a_request_that_is_too_large_is_refused(tmp_path: Path) -> None:
    app = MlflowApp(Workspace.init(tmp_path / "ws", base="none"), limits=Limits(json_bytes=1000))
    with asyncio.Runner() as runner:
        client = Client(app, app._workspace, runner)
        with pytest.raises(RefusedError) as refused:
            client.post("experiments/create", name="n" * 2000)
    assert refused.value.status == 413
    app.close()


def test_a_query_with_too_many_fields_is_refused(client: Client) -> None:
    with pytest.raises(RefusedError, match="query"):
        client.get("runs/get", **{f"f{n}": "x" for n in range(100)})
    with pytest.raises(RefusedError):
        client.get("runs/get", run_id=["a", "b"])


def test_it_answers_below_where_it_is_mounted(client: Client) -> None:
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    scope = {
        "type": "http",
        "method": "POST",
        "root_path": "/w/main",
        "path": f"/w/main{API}runs/create",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "state": {"who": "ada"},
    }
    client.runner.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 200
    [run] = client.workspace.tracking.runs.search().runs
    assert run.user == "ada"


def test_what_is_wrong_with_the_machine_is_not_told() -> None:
    for error in (
        RegistryError("/var/lib/secret is broken"),
        WorkspaceDamagedError("/var/lib/secret"),
        ValueError("/var/lib/secret"),
    ):
        answer = refusal(error)
        assert answer.status == 500
        assert b"secret" not in answer.body
