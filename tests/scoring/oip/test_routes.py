"""Paths as Triton takes them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.errors import InputError
from scoring.oip.routes import Ask, Route, parse_path


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2", Route(Ask.SERVER)),
        ("/v2/", Route(Ask.SERVER)),
        ("/v2/health/live", Route(Ask.LIVE)),
        ("/v2/health/ready", Route(Ask.READY)),
        ("/v2/models/stats", Route(Ask.STATS)),
        ("/v2/models/m", Route(Ask.METADATA, "m")),
        ("/v2/models/m/versions/3", Route(Ask.METADATA, "m", "3")),
        ("/v2/models/m/ready", Route(Ask.MODEL_READY, "m")),
        ("/v2/models/m/versions/1/ready", Route(Ask.MODEL_READY, "m", "1")),
        ("/v2/models/m/infer", Route(Ask.INFER, "m")),
        ("/v2/models/m/versions/1/infer", Route(Ask.INFER, "m", "1")),
        ("/v2/models/m/config", Route(Ask.CONFIG, "m")),
        ("/v2/models/m/stats", Route(Ask.STATS, "m")),
        ("/v2/models/m/versions/1/stats", Route(Ask.STATS, "m", "1")),
        ("/v2/models/a%2Fb%20c/infer", Route(Ask.INFER, "a/b c")),
        ("/v2/models/gr%C3%BC%C3%9Fe", Route(Ask.METADATA, "grüße")),
        ("/v2/models/infer", Route(Ask.METADATA, "infer")),
        ("/v2/models/versions/versions/1", Route(Ask.METADATA, "versions", "1")),
        ("/v2/repository/index", Route(Ask.INDEX)),
        ("/v2/repository/r/index", Route(Ask.INDEX)),
        ("/v2/repository/models/m/load", Route(Ask.LOAD, "m")),
        ("/v2/repository/models/m/unload", Route(Ask.UNLOAD, "m")),
        ("/v2/repository/r/models/m%20n/unload", Route(Ask.UNLOAD, "m n")),
    ],
)
def test_paths_that_are_answered(path: str, route: Route) -> None:
    assert parse_path(path) == route


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/v2/systemsharedmemory/status", "system shared memory"),
        ("/v2/systemsharedmemory/region/r/register", "system shared memory"),
        ("/v2/cudasharedmemory/region/r/unregister", "cuda shared memory"),
        ("/v2/cudasharedmemory/unregister", "cuda shared memory"),
        ("/v2/logging", "log settings"),
        ("/v2/trace/setting", "trace settings"),
        ("/v2/models/m/trace/setting", "trace settings"),
        ("/v2/models/m/generate", "text generation"),
        ("/v2/models/m/versions/1/generate_stream", "text generation"),
    ],
)
def test_paths_that_say_what_is_not_offered(path: str, why: str) -> None:
    route = parse_path(path)
    assert route is not None
    assert route.ask is Ask.NOT_OFFERED
    assert why in route.why


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/v2x", "/v3", "/v2//", "/v2/health", "/v2/health/live/", "/V2"),
        *("/v2/models", "/v2/models/", "/v2/models//infer", "/v2/models/m/", "/v2/models/m/infers"),
        *("/v2/models/m/versions", "/v2/models/m/versions/", "/v2/models/m/versions//infer"),
        *("/v2/models/m/infer/", "/v2/models/m/n/infer", "/v2/models/m/infer\n", "/x/v2"),
        *("/v2/repository", "/v2/repository/models/m", "/v2/repository/models/m/reload"),
        *("/v2/repository/a/b/index", "/v2/sharedmemory/status", "/score"),
    ],
)
def test_paths_that_are_none(path: str) -> None:
    assert parse_path(path) is None


def test_a_name_that_is_no_text() -> None:
    with pytest.raises(InputError, match="UTF-8"):
        parse_path("/v2/models/%ff/infer")


def test_methods() -> None:
    assert Ask.INFER.methods == ("POST",)
    assert Ask.READY.methods == ("GET",)
    assert Ask.NOT_OFFERED.methods == ("GET", "POST")
    assert len({ask.value for ask in Ask}) == len(Ask)


@given(st.lists(st.sampled_from(["v2", "models", "m", "%", "%2", "infer", "versions", "1", ""])))
def test_any_path_is_a_route_or_none(parts: list[str]) -> None:
    with suppress(InputError):
        parse_path("/" + "/".join(parts))
