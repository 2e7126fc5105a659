"""Searches of MLflow's REST over thousands of names, versions and logged models."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.registry.many_versions import NAMES, add, versions_of
from tests.runtime.mlflow_service.conftest import Client, RefusedError

VERSIONS = [
    f"m{number:04d}:{version}" for number in range(NAMES) for version in versions_of(number)
]
WHAT = {
    "registered-models": ("registered_models", sorted({name[:5] for name in VERSIONS})),
    "model-versions": ("model_versions", VERSIONS),
    "logged-models": ("models", [f"l{number:04d}" for number in range(NAMES)]),
}


def fill(client: Client, prefix: str, count: int) -> None:
    """With models and logged models whose names begin with ``prefix``."""
    root = client.workspace.root
    add(root, prefix, range(count))
    run = client.run(prefix)
    letter = "l" if prefix == "m" else prefix
    with closing(sqlite3.connect(root / "workspace.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO logged_models (id, run, name, type, status, created_ms, updated_ms)"
            " SELECT 'm-' || lower(hex(randomblob(16))), key, ?, '', 'ready', 1, 1"
            " FROM runs WHERE id = ?",
            [(f"{letter}{number:04d}", run) for number in range(count)],
        )


def search(client: Client, what: str, **asked: Any) -> tuple[list[str], str | None]:
    """The names on a page, and the token."""
    if what == "logged-models":
        answer = client.post(f"{what}/search", experiment_ids=["0"], **asked)
        found = [each["info"]["name"] for each in answer.get("models", [])]
    else:
        answer = client.get(f"{what}/search", **asked)
        some = answer[WHAT[what][0]]
        is_version = what == "model-versions"
        found = [f"{e['name']}:{e['version']}" if is_version else e["name"] for e in some]
    return found, answer.get("next_page_token")


@pytest.mark.parametrize("what", WHAT)
def test_pages_give_all_once_while_new_ones_appear(client: Client, what: str) -> None:
    fill(client, "m", NAMES)
    found, token = search(client, what, max_results=900)
    while token:
        fill(client, f"a{len(found)}x", 3)
        page, token = search(client, what, max_results=900, page_token=token)
        assert 0 < len(page) <= 900
        found += page
    assert len(found) == len(set(found))
    assert sorted(found) == WHAT[what][1]


@pytest.mark.parametrize("what", WHAT)
def test_a_page_has_as_many_as_mlflow_gives_and_never_all(client: Client, what: str) -> None:
    fill(client, "m", NAMES)
    usual = {"registered-models": 100, "model-versions": 10_000, "logged-models": 100}[what]
    most = {"model-versions": 10_000}.get(what, 1000)
    for asked, size in (({}, usual), ({"max_results": 200_000}, most), ({"max_results": 7}, 7)):
        found, token = search(client, what, **asked)
        assert len(found) == min(size, len(WHAT[what][1]))
        assert (token is None) == (len(found) == len(WHAT[what][1]))


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize(
    "asked",
    [
        {"max_results": 0},
        {"max_results": -1},
        {"max_results": "many"},
        {"page_token": "x"},
        {"page_token": "-1"},
        {"page_token": "1-" + "9" * 30},
        {"page_token": "9" * 5000},
        {"page_token": "' OR 1=1 --"},
    ],
    ids=lambda asked: str(asked)[:40],
)
def test_what_is_no_page_is_refused_in_one_line(
    client: Client, what: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(RefusedError) as refused:
        search(client, what, **asked)
    assert (refused.value.status, refused.value.code) == (400, "INVALID_PARAMETER_VALUE")
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 200


def test_a_name_with_many_versions_is_shown_by_the_newest_of_each_stage(client: Client) -> None:
    add(client.workspace.root, "m", [2])
    for version, stage in ((1, "Production"), (2, "Staging")):
        client.post(
            "model-versions/transition-stage", name="m0002", version=str(version), stage=stage
        )
    found = client.get("registered-models/get", name="m0002")["registered_model"]
    [searched] = client.get("registered-models/search")["registered_models"]
    assert searched == found
    stages = [(each["version"], each["current_stage"]) for each in found["latest_versions"]]
    assert stages == [("1", "Production"), ("2", "Staging"), ("3", "None")]
    client.post("registered-models/alias", name="m0002", alias="champion", version="2")
    [searched] = client.get("registered-models/search")["registered_models"]
    assert searched["aliases"] == [{"alias": "champion", "version": "2"}]
    assert [each.get("aliases") for each in searched["latest_versions"]] == [
        None,
        ["champion"],
        None,
    ]
