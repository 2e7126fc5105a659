"""What is signed of an image: an in-toto Statement v1 about the digest of its manifest. Pure; the
same facts give the same bytes.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md: fields that are not known
are ignored; fields that are known have their exact types.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from registry.errors import InvalidNameError, TrustError
from registry.names import check_name, check_text
from registry.trust import strict_json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://inferry.dev/image/v1"
MAX_MODELS = 1000
MAX_TEXT_CHARS = 256
MAX_VERSION = 10**9
_WHAT = "the signed statement"
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StatedModel:
    """A model in the image; ``digest`` is its manifest's."""

    name: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class ImageStatement:
    """The facts about an image that its maker vouches for. ``kind`` and ``platform`` as in its
    record; digests are ``sha256:<hex>``."""

    manifest_digest: str
    name: str
    version: int
    kind: str
    platform: str
    models: tuple[StatedModel, ...]
    builder_version: str
    lock_digest: str | None = None
    base_digest: str | None = None
    sbom_digest: str | None = None
    revision: str | None = None

    @property
    def reference(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"


def statement_bytes(statement: ImageStatement) -> bytes:
    """The statement as JSON."""
    hexed = statement.manifest_digest.removeprefix("sha256:")
    return strict_json.encoded(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": statement.reference, "digest": {"sha256": hexed}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "name": statement.name,
                "version": statement.version,
                "kind": statement.kind,
                "platform": statement.platform,
                "models": [
                    {"name": model.name, "version": model.version, "digest": model.digest}
                    for model in statement.models
                ],
                "builderVersion": statement.builder_version,
                "lockDigest": statement.lock_digest,
                "baseDigest": statement.base_digest,
                "sbomDigest": statement.sbom_digest,
                "revision": statement.revision,
            },
        }
    )


def read_statement(payload: bytes) -> ImageStatement:
    """The statement in ``payload``. Raises TrustError."""
    document = strict_json.read_object(payload, _WHAT)
    if strict_json.text(document, "_type", _WHAT) != STATEMENT_TYPE:
        raise TrustError(f"{_WHAT} is no in-toto Statement v1")
    if strict_json.text(document, "predicateType", _WHAT) != PREDICATE_TYPE:
        raise TrustError(f"{_WHAT} is about something else than an image ({PREDICATE_TYPE})")
    subject_name, digest = _subject(document)
    statement = _statement(digest, strict_json.mapping(document, "predicate", _WHAT))
    if subject_name != statement.reference:
        raise TrustError(
            f"{_WHAT} contradicts itself: it is about {ascii(subject_name)[:80]}"
            f" and about {statement.reference}"
        )
    return statement


def _subject(document: dict[str, Any]) -> tuple[str, str]:
    subjects = strict_json.objects(document, "subject", _WHAT)
    if len(subjects) != 1:
        raise TrustError(f"{_WHAT} is about {len(subjects)} subjects, not one image")
    hexed = strict_json.text(strict_json.mapping(subjects[0], "digest", _WHAT), "sha256", _WHAT)
    if not _HEX.fullmatch(hexed):
        raise TrustError(f"{_WHAT} has a subject without a sha256 of 64 hex digits")
    return strict_json.text(subjects[0], "name", _WHAT), f"sha256:{hexed}"


def _statement(digest: str, predicate: dict[str, Any]) -> ImageStatement:
    models = strict_json.objects(predicate, "models", _WHAT)
    if len(models) > MAX_MODELS:
        raise TrustError(f"{_WHAT} has more than {MAX_MODELS} models")
    return ImageStatement(
        manifest_digest=digest,
        name=_name(predicate),
        version=_version(predicate),
        kind=_short(predicate, "kind"),
        platform=_short(predicate, "platform"),
        models=tuple(
            StatedModel(_name(model), _version(model), strict_json.digest(model, "digest", _WHAT))
            for model in models
        ),
        builder_version=_short(predicate, "builderVersion"),
        lock_digest=_optional_digest(predicate, "lockDigest"),
        base_digest=_optional_digest(predicate, "baseDigest"),
        sbom_digest=_optional_digest(predicate, "sbomDigest"),
        revision=None if predicate.get("revision") is None else _short(predicate, "revision"),
    )


def _name(document: dict[str, Any]) -> str:
    try:
        return check_name(strict_json.text(document, "name", _WHAT))
    except InvalidNameError as error:
        raise TrustError(f"{_WHAT} has a name that is not allowed: {error}") from error


def _version(document: dict[str, Any]) -> int:
    version = strict_json.number(document, "version", _WHAT)
    if not 1 <= version < MAX_VERSION:
        raise TrustError(f"{_WHAT} has a version that is no number from 1 on")
    return version


def _short(document: dict[str, Any], key: str) -> str:
    value = strict_json.text(document, key, _WHAT)
    try:
        return check_text(value, f"'{key}'", MAX_TEXT_CHARS)
    except InvalidNameError as error:
        raise TrustError(f"{_WHAT} has a text that is not allowed: {error}") from error


def _optional_digest(document: dict[str, Any], key: str) -> str | None:
    return None if document.get(key) is None else strict_json.digest(document, key, _WHAT)
