"""The document of the routes: valid, whole, and of one mind with the table."""

from __future__ import annotations

import re

from schemathesis import openapi

from runtime.workspace_service.openapi import document
from runtime.workspace_service.routes import TABLE

DOCUMENT = document(TABLE)
OPERATIONS = {
    each["operationId"]: (path, method, each)
    for path, item in DOCUMENT["paths"].items()
    for method, each in item.items()
}


def test_it_is_valid() -> None:
    openapi.from_dict(DOCUMENT).validate()


def test_every_route_is_in_it_and_says_what_it_does_and_who_may() -> None:
    assert set(OPERATIONS) == {route.name for route in TABLE.routes}
    for route in TABLE.routes:
        _, method, operation = OPERATIONS[route.name]
        assert method == route.method.lower()
        assert operation["x-role"] == route.role
        assert operation["summary"].endswith("."), route.name


def test_no_two_paths_mean_the_same() -> None:
    shapes = [re.sub(r"\{\w+\}", "{}", path) for path in DOCUMENT["paths"]]
    assert len(shapes) == len(set(shapes))


def test_no_path_could_be_read_as_another() -> None:
    """Else a client cannot know which methods a path has."""
    for routes in (TABLE.of_service, TABLE.of_workspace):
        shapes = {re.sub(r"\{\w+", "{", route.path): route for route in routes}
        for shape, route in shapes.items():
            path = re.sub(r"\{(:path)?\}", "x", shape)
            meant = [s for s, other in shapes.items() if other.pattern.fullmatch(path)]
            assert meant == [shape], route.name


def test_a_path_says_all_its_parameters() -> None:
    for path, _, operation in OPERATIONS.values():
        said = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert said == set(re.findall(r"\{(\w+)\}", path)), path
