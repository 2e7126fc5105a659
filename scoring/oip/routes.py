"""The protocol's paths, as Triton takes them.

/v2[/]                                                              SERVER
/v2/health/live|ready                                               LIVE, READY
/v2/models/stats                                                    STATS of all
/v2/models/M[/versions/V]                                           METADATA
/v2/models/M[/versions/V]/ready|infer|config|stats                  MODEL_READY, INFER, ...
/v2/models/M[/versions/V]/generate|generate_stream|trace/setting    NOT_OFFERED
/v2/repository[/R]/index                                            INDEX
/v2/repository[/R]/models/M/load|unload                             LOAD, UNLOAD
/v2/systemsharedmemory..., cudasharedmemory..., logging, trace/setting   NOT_OFFERED
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from scoring.errors import InputError


class Ask(Enum):
    """What a path asks for; the value is the methods that it takes."""

    SERVER = ("server", "GET")
    LIVE = ("live", "GET")
    READY = ("ready", "GET")
    METADATA = ("metadata", "GET")
    MODEL_READY = ("model_ready", "GET")
    INFER = ("infer", "POST")
    CONFIG = ("config", "GET")
    STATS = ("stats", "GET")
    INDEX = ("index", "POST")
    LOAD = ("load", "POST")
    UNLOAD = ("unload", "POST")
    NOT_OFFERED = ("not_offered", "GET, POST")

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that may be used."""
        return tuple(self.value[1].split(", "))


@dataclass(frozen=True, slots=True)
class Route:
    """``model`` is empty where there is none, ``version`` where the server chooses; ``why`` says
    what is not offered."""

    ask: Ask
    model: str = ""
    version: str = ""
    why: str = ""


_MODEL = re.compile(
    r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?"
    r"(?:/(?P<what>ready|infer|config|stats|generate|generate_stream|trace/setting))?"
)
_REPOSITORY = re.compile(
    r"/v2/repository(?:/(?P<repository>[^/]+))?/"
    r"(?:(?P<index>index)|models/(?P<model>[^/]+)/(?P<what>load|unload))"
)
_MEMORY = re.compile(
    r"/v2/(?P<kind>system|cuda)sharedmemory(?:/region/[^/]+)?/(?:status|register|unregister)"
)
_FIXED = {
    "/v2": Route(Ask.SERVER),
    "/v2/": Route(Ask.SERVER),
    "/v2/health/live": Route(Ask.LIVE),
    "/v2/health/ready": Route(Ask.READY),
    "/v2/models/stats": Route(Ask.STATS),
    "/v2/logging": Route(Ask.NOT_OFFERED, why="changing log settings"),
    "/v2/trace/setting": Route(Ask.NOT_OFFERED, why="trace settings"),
}
_ASKS = {
    None: Ask.METADATA,
    "ready": Ask.MODEL_READY,
    "infer": Ask.INFER,
    "config": Ask.CONFIG,
    "stats": Ask.STATS,
}
_NOT_OFFERED = {
    "generate": "text generation",
    "generate_stream": "text generation",
    "trace/setting": "trace settings",
}


def parse_path(path: str) -> Route | None:
    """What ``path`` (as it came, without the query) asks for; None when it is none of the
    protocol's. A percent sign stands for the byte it encodes within a name: ``a%2Fb`` is a model
    called ``a/b``.

    Raises InputError for a name whose bytes are no UTF-8."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    if match := _MODEL.fullmatch(path):
        return _model_route(match["model"], match["version"], match["what"])
    if match := _REPOSITORY.fullmatch(path):
        if match["index"]:
            return Route(Ask.INDEX)
        ask = Ask.LOAD if match["what"] == "load" else Ask.UNLOAD
        return Route(ask, _decoded(match["model"]))
    if match := _MEMORY.fullmatch(path):
        return Route(Ask.NOT_OFFERED, why=f"{match['kind']} shared memory")
    return None


def _model_route(model: str, version: str | None, what: str | None) -> Route:
    name, number = _decoded(model), _decoded(version or "")
    if what in _NOT_OFFERED:
        return Route(Ask.NOT_OFFERED, name, number, _NOT_OFFERED[what])
    return Route(_ASKS[what], name, number)


def _decoded(name: str) -> str:
    if "%" not in name:
        return name
    try:
        return unquote(name, errors="strict")
    except UnicodeDecodeError:
        raise InputError("the path is no UTF-8") from None
