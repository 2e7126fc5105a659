"""What a run logged that is no number, on its page: as few tables as there are names, and little of
what there is much of."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from runtime.portal.app import PortalApp
from runtime.portal.pages.run_values import EACH, KEYS, ROWS, shown_values
from runtime.tracking import Run
from tests.runtime.portal.browser_like import Visitor, portal

AZURE = {
    "accuracy_table": {
        "probability_tables": [[[82, 118, 0, 0], [75, 31, 87, 7]]],
        "percentile_tables": [[[82, 118, 0, 0], [82, 67, 51, 0]]],
        "probability_thresholds": [0.0, 1.0],
        "percentile_thresholds": [0.0, 0.01],
        "class_labels": ["cat"],
    },
    "confusion_matrix": {"class_labels": ["cat", "dog"], "matrix": [[3, 1], [0, 4]]},
    "residuals": {"bin_edges": [50, 100, 200], "bin_counts": [0.88, 20]},
    "predictions": {
        "bin_averages": [0.25, 0.75],
        "bin_errors": [0.013, 0.042],
        "bin_counts": [56, 33],
        "bin_edges": [0.0, 0.5, 1.0],
    },
}
ODD: tuple[object, ...] = (5, None, "text", [[]], {})
TABLES = {
    "accuracy_table": [
        ["cat", "0.0", "82", "118", "0", "0"],
        ["cat", "1.0", "75", "31", "87", "7"],
    ],
    "confusion_matrix": [["cat", "3", "1"], ["dog", "0", "4"]],
    "residuals": [["50", "100", "0.88"], ["100", "200", "20"]],
    "predictions": [["0.0", "0.5", "56", "0.25", "0.013"], ["0.5", "1.0", "33", "0.75", "0.042"]],
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path / "ws", base="none")


@pytest.fixture
def run(workspace: Workspace) -> Iterator[Run]:
    with Run("e", workspace=workspace.root, outputs=None) as made:
        yield made


@pytest.fixture
def app(workspace: Workspace) -> Iterator[PortalApp]:
    made = portal(workspace.root)
    yield made
    made.close()


def shown(workspace: Workspace, run: Run) -> tuple[list[dict[str, Any]], int]:
    assert run.flush()
    return shown_values(workspace.tracking.metrics, run.id)


def test_rows_are_one_table(workspace: Workspace, run: Run, app: PortalApp) -> None:
    for number in range(ROWS + 50):
        run.log_row("epochs", epoch=number, loss=0.5)
    run.log_list("steps", [1, 2])
    run.log_list("steps", [3])
    (epochs, steps), left = shown(workspace, run)
    assert (epochs["columns"], len(epochs["rows"]), epochs["left"]) == (["epoch", "loss"], ROWS, 50)
    assert (steps["rows"][-1], epochs["unread"], left) == (["2", "3"], 0, 0)
    text = Visitor(app).get(f"/runs/{run.id}").text
    assert text.count("<bdi>epochs</bdi>") == 1
    assert "And 50 more rows." in text


@pytest.mark.parametrize("kind", AZURE)
def test_what_azure_has_a_schema_for_is_a_table(workspace: Workspace, run: Run, kind: str) -> None:
    document = {"schema_type": kind, "schema_version": "v1", "data": AZURE[kind]}
    getattr(run, f"log_{kind}")("it", document)
    ((it,), _) = shown(workspace, run)
    assert (it["kind"], it["rows"], it["text"]) == (kind, TABLES[kind], "")
    assert len(it["columns"]) == len(it["rows"][0])


def test_documents_of_another_shape_are_text_and_no_failure(
    workspace: Workspace, run: Run, app: PortalApp
) -> None:
    strange = ["[1]", "{}", '{"data": 5}', '{"data": {"matrix": 5, "bin_edges": "ab"}}', "x"]
    strange += [
        "[" * 100_000,
        *(json.dumps({"data": dict.fromkeys(d, ODD)}) for d in AZURE.values()),
    ]
    kinds = (*AZURE, "image", "row", "list", "table")
    for document in strange:
        child = run.child()
        key = workspace.tracking.runs.get(child.id).key
        rows = [(key, kind, 0, kind, 1, document) for kind in kinds]
        with closing(sqlite3.connect(workspace.root / "workspace.db")) as connection, connection:
            connection.executemany("INSERT INTO run_values VALUES (?, ?, ?, ?, ?, ?)", rows)
        found, _ = shown(workspace, child)
        assert {each["kind"] for each in found} == set(kinds)
        assert Visitor(app).get(f"/runs/{child.id}").status_code == 200


def test_of_matrices_and_pictures_the_newest_are_shown(
    workspace: Workspace, run: Run, app: PortalApp
) -> None:
    for number in range(EACH + 3):
        run.log_image("roc", plot=b"\x89PNG\r\n\x1a\n" + bytes([number]))
    found, _ = shown(workspace, run)
    assert len(found) == EACH
    assert found[-1]["unread"] == 3
    text = Visitor(app).get(f"/runs/{run.id}").text
    assert len(re.findall('class="picture"', text)) == EACH
    assert "3 more were logged under this name" in text


def test_of_much_little_is_read(workspace: Workspace, run: Run) -> None:
    for number in range(KEYS + 5):
        run.log_list(f"list {number}", [number])
    for number in range(20_000):
        run.log_row("a row", number=number, text="x" * 100)
    found, left = shown(workspace, run)
    assert left == 6
    first = found[0]
    assert (len(first["rows"]), first["left"] + first["unread"] + ROWS) == (ROWS, 20_000)
    assert first["unread"] > 15_000
    run.log_table("a b", {f"c{number}": [1] for number in range(150)})
    wide = shown(workspace, run)[0][0]
    assert (len(wide["columns"]), len(wide["rows"][0]), wide["columns_left"]) == (100, 100, 50)
