"""Every route of the service, whichever part answers it, as a path and what it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

import runtime.portal.pages
from runtime.mlflow_service import ROUTES as MLFLOW
from runtime.portal.pages import PLACES
from runtime.portal.paths import template_of
from runtime.registry_service.paths import METHODS, Kind
from runtime.workspace_service.routes import TABLE

DIGEST = "sha256:" + "0" * 64
GOOD: Mapping[str, str] = {
    "digest": DIGEST,
    "id": "0" * 32,
    "kind": "model",
    "number": "1",
    "reference": DIGEST,
    "slot": "primary",
    "upload": "0" * 32,
    "version": "1",
}
"""What a part of a path is where nothing is wrong with it; else ``x``."""
_PART = re.compile(r"\{(\w+)(?::path)?\}")
_V2 = {
    Kind.BASE: "/v2/",
    Kind.CATALOG: "/v2/_catalog",
    Kind.TAGS: "/v2/{repository}/tags/list",
    Kind.REFERRERS: "/v2/{repository}/referrers/{digest}",
    Kind.MANIFEST: "/v2/{repository}/manifests/{reference}",
    Kind.BLOB: "/v2/{repository}/blobs/{digest}",
    Kind.UPLOADS: "/v2/{repository}/blobs/uploads/",
    Kind.UPLOAD: "/v2/{repository}/blobs/uploads/{upload}",
}
_V2_QUERY = ("n", "last", "artifactType", "digest", "mount", "from")
_FORM_FIELD = re.compile(r"""\b(?:text|many|number)\(\s*"(\w+)\"""")


@dataclass(frozen=True)
class Target:
    """``template`` has ``{name}`` for each of ``names``. ``query``: parameters; ``form``: fields;
    ``document``: of which structure the JSON body is. ``is_open``: whoever asks is answered."""

    id: str
    method: str
    template: str
    query: tuple[str, ...] = ()
    form: tuple[str, ...] = ()
    document: type[msgspec.Struct] | None = None
    is_stream: bool = False
    is_open: bool = False
    names: tuple[str, ...] = field(default=())

    @property
    def is_changing(self) -> bool:
        """Whether a browser must be ours."""
        return self.method not in ("GET", "HEAD")

    def path(self, bad: str | None = None, name: str = "") -> str:
        """With good parts but the one of ``name``, which is ``bad`` as it stands."""

        def part(match: re.Match[str]) -> str:
            return bad if bad is not None and match[1] == name else GOOD.get(match[1], "x")

        return _PART.sub(part, self.template)


def _with_names(**values: object) -> Target:
    template = str(values["template"])
    names = tuple(match[1] for match in _PART.finditer(template))
    return Target(names=names, **values)  # type: ignore[arg-type]


def _api() -> Iterator[Target]:
    for route in TABLE.routes:
        fields = [each.encode_name for each in msgspec.structs.fields(route.arguments)]
        own = tuple(name for name in fields if name not in route.path_names)
        has_query = route.method in ("GET", "DELETE") or route.is_async
        yield _with_names(
            id=f"api {route.name}",
            method=route.method,
            template=TABLE.template(route).replace("{workspace}", "default"),
            query=own if has_query else (),
            document=None if has_query else route.arguments,
            is_stream=route.path.endswith("/events"),
        )


def _mlflow() -> Iterator[Target]:
    for route in MLFLOW:
        if route.path.startswith("/ajax-api/"):
            continue  # the same functions
        fields = tuple(each.encode_name for each in msgspec.structs.fields(route.request))
        has_body = route.method != "GET" and route.kind in ("ask", "log")
        yield _with_names(
            id=f"mlflow {route.method} {route.path}",
            method=route.method,
            template=route.path,
            query=fields if route.method == "GET" else (),
            document=route.request if has_body else None,
        )


def _portal() -> Iterator[Target]:
    folder = Path(runtime.portal.pages.__file__).parent
    said = "\n".join(page.read_text() for page in sorted(folder.glob("*.py")))
    known = tuple(sorted(set(_FORM_FIELD.findall(said))))
    for place in PLACES:
        yield _with_names(
            id=f"portal {place.method} {place.name}",
            method=place.method,
            template=template_of(place.name).replace("{workspace}", "default"),
            query=known if place.method == "GET" else (),
            form=known if place.method == "POST" else (),
            is_stream=place.is_live,
            is_open=place.role is None,
        )


def _v2() -> Iterator[Target]:
    for kind, template in _V2.items():
        for method in METHODS[kind]:
            yield _with_names(
                id=f"v2 {method} {kind.name.lower()}",
                method=method,
                template=template,
                query=_V2_QUERY,
            )


TARGETS: tuple[Target, ...] = (*_api(), *_mlflow(), *_portal(), *_v2())
"""All of them, each once."""
