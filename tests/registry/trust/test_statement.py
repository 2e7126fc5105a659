"""Statements about images: written and read back, and held to their types."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from registry.errors import TrustError
from registry.trust import statement_bytes
from registry.trust.statement import read_statement
from tests.registry.trust.signed_image import image_manifest, statement

GOOD = statement(image_manifest())


def test_it_is_read_as_it_was_written() -> None:
    assert read_statement(statement_bytes(GOOD)) == GOOD
    bare = replace(GOOD, models=(), lock_digest=None, base_digest=None, revision=None)
    assert read_statement(statement_bytes(bare)) == bare
    assert statement_bytes(GOOD) == statement_bytes(replace(GOOD))


def test_it_is_an_in_toto_statement_about_the_manifest() -> None:
    document = json.loads(statement_bytes(GOOD))
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    digest = {"sha256": GOOD.manifest_digest.removeprefix("sha256:")}
    assert document["subject"] == [{"name": "net-image:2", "digest": digest}]
    assert set(document) == {"_type", "subject", "predicateType", "predicate"}


def test_fields_of_later_versions_are_ignored() -> None:
    document = json.loads(statement_bytes(GOOD))
    document["later"] = document["predicate"]["later"] = [1]
    document["subject"][0]["digest"]["sha512"] = "x"
    assert read_statement(json.dumps(document).encode()) == GOOD


def _with(path: str, value: object) -> bytes:
    document: Any = json.loads(statement_bytes(GOOD))
    *parts, last = path.split(".")
    where = document
    for part in parts:
        where = where[int(part) if part.isdigit() else part]
    where[int(last) if last.isdigit() else last] = value
    return json.dumps(document).encode()


SUBJECT = {"name": "net-image:2", "digest": {"sha256": "0" * 64}}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1", "no in-toto Statement v1"),
        ("_type", None, "no text '_type'"),
        ("predicateType", "https://slsa.dev/provenance/v1", "something else than an image"),
        ("predicate", [], "no object 'predicate'"),
        ("subject", [], "about 0 subjects, not one image"),
        ("subject", [SUBJECT, SUBJECT], "about 2 subjects, not one image"),
        ("subject", SUBJECT, "no list of objects 'subject'"),
        ("subject.0.digest", {"sha512": "0" * 128}, "no text 'sha256'"),
        ("subject.0.digest", "sha256:" + "0" * 64, "no object 'digest'"),
        ("subject.0.digest.sha256", "A" * 64, "64 hex digits"),
        ("subject.0.digest.sha256", "0" * 64 + "\n", "64 hex digits"),
        ("subject.0.digest.sha256", "0" * 63, "64 hex digits"),
        ("subject.0.name", "net-image:3", "contradicts itself"),
        ("subject.0.name", None, "no text 'name'"),
        ("predicate.name", "other", "contradicts itself"),
        ("predicate.name", "../etc", "a name that is not allowed"),
        ("predicate.name", 5, "no text 'name'"),
        ("predicate.version", "2", "no number 'version'"),
        ("predicate.version", True, "no number 'version'"),
        ("predicate.version", 2.0, "no number 'version'"),
        ("predicate.version", -2, "no number 'version'"),
        ("predicate.version", 0, "no number from 1 on"),
        ("predicate.version", 10**12, "no number from 1 on"),
        ("predicate.kind", None, "no text 'kind'"),
        ("predicate.platform", "a\x1b[2J", "a text that is not allowed"),
        ("predicate.platform", "x" * 300, "a text that is not allowed"),
        ("predicate.models", None, "no list of objects 'models'"),
        ("predicate.models", [{}] * 1001, "more than 1000 models"),
        ("predicate.models.0.digest", "sha256:x", "no digest 'digest'"),
        ("predicate.models.0.digest", "sha512:" + "0" * 64, "no digest 'digest'"),
        ("predicate.models.0.version", None, "no number 'version'"),
        ("predicate.sbomDigest", "", "no digest 'sbomDigest'"),
        ("predicate.lockDigest", False, "no text 'lockDigest'"),
        ("predicate.baseDigest", {}, "no text 'baseDigest'"),
        ("predicate.revision", 7, "no text 'revision'"),
        ("predicate.builderVersion", None, "no text 'builderVersion'"),
    ],
)
def test_a_statement_of_another_form_is_refused(path: str, value: object, says: str) -> None:
    with pytest.raises(TrustError, match=says) as caught:
        read_statement(_with(path, value))
    assert str(caught.value).isprintable()


def test_a_key_that_is_there_twice_is_refused() -> None:
    data = statement_bytes(GOOD).replace(b'"version":2', b'"version":1,"version":2')
    with pytest.raises(TrustError, match="key 'version' twice"):
        read_statement(data)
