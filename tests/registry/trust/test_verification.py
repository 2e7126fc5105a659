"""The trust rules: an image that holds, and each way in which one can be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.errors import TrustError
from registry.trust import Descriptor, sbom_manifest, sign, signature_manifest, statement_bytes
from registry.trust.artifacts import Artifact, sha256
from registry.trust.verification import MAX_REFERRERS, verify
from tests.registry.trust.signed_image import (
    SBOM,
    SignedImage,
    encoded,
    image_manifest,
    new_key,
    pair,
    signed,
    statement,
)

KEY = new_key()
OTHER = new_key()
TRUSTED = [KEY.public]
GOOD = signed([KEY])
SUBJECT = Descriptor(GOOD.digest, len(GOOD.manifest))


def test_an_image_that_holds() -> None:
    verified = GOOD.check(TRUSTED, reference="net-image:2")
    assert verified.statement == statement(GOOD.manifest)
    assert (verified.keys, verified.sbom) == ((KEY.public,), SBOM)
    assert verified.statement.reference == "net-image:2"


def test_an_image_that_is_said_to_have_no_sbom_needs_none() -> None:
    assert signed([KEY], sbom=None, sbom_digest=None).check(TRUSTED).sbom is None


def test_an_sbom_that_nobody_signed_is_not_given_on() -> None:
    assert signed([KEY], sbom_digest=None).check(TRUSTED).sbom is None


def test_the_order_of_referrers_does_not_matter() -> None:
    assert replace(GOOD, referrers=GOOD.referrers[::-1]).check(TRUSTED).sbom == SBOM


def test_a_hostile_referrer_beside_a_good_one_does_no_harm() -> None:
    """Anybody may add one to a registry, and must not be able to stop a device with it."""
    junk = [
        (b"", b""),
        (b"{", b"x"),
        (encoded({"artifactType": 5}), b""),
        (encoded({"artifactType": "application/other"}), b"x"),
        pair(sbom_manifest(SUBJECT, b"another")),
        pair(signature_manifest(SUBJECT, sign(b"{}", [OTHER]))),
        pair(signature_manifest(SUBJECT, sign(b"{}", [KEY]))),
        pair(signature_manifest(SUBJECT, b"no envelope")),
        *signed([OTHER]).referrers,
    ]
    assert replace(GOOD, referrers=(*junk, *GOOD.referrers)).check(TRUSTED).sbom == SBOM


def _says(image: SignedImage, says: str, **more: Any) -> None:
    with pytest.raises(TrustError, match=says) as caught:
        image.check(TRUSTED, **more)
    assert str(caught.value).isprintable()


def test_an_image_that_is_not_signed() -> None:
    _says(replace(GOOD, referrers=()), "the image is not signed")
    _says(replace(GOOD, referrers=GOOD.referrers[:1]), "the image is not signed")


def test_another_key() -> None:
    _says(signed([OTHER]), f"signed by key {OTHER.key_id[:12]}, which is none of the 1 trusted")


def test_no_key_at_all() -> None:
    with pytest.raises(TrustError, match="no key is trusted"):
        GOOD.check([])


def test_a_changed_manifest() -> None:
    changed = GOOD.manifest.replace(b"net-image", b"net-imagf")
    with pytest.raises(TrustError, match=r"does not have the digest sha256:.*: it was changed"):
        verify(GOOD.digest, changed, GOOD.referrers, TRUSTED)


@pytest.mark.parametrize("digest", ["", "latest", "sha256:", "sha512:" + "0" * 128])
def test_an_image_without_a_digest(digest: str) -> None:
    with pytest.raises(TrustError, match="the image has no digest of the form"):
        verify(digest, GOOD.manifest, GOOD.referrers, TRUSTED)


def test_a_changed_manifest_with_its_new_digest() -> None:
    changed = GOOD.manifest.replace(b"net-image", b"net-imagf")
    _says(SignedImage(changed, GOOD.referrers), "a signature is one of another image")


def test_the_signature_of_another_image_replayed_for_this_one() -> None:
    """The referrer is made anew for this image; the envelope in it cannot be."""
    other = image_manifest(note="another")
    envelope = sign(statement_bytes(statement(other)), [KEY])
    _says(signed([], envelope=envelope), "the signature is one of another image, net-image:2")


def test_the_signature_of_another_version_replayed_for_this_one() -> None:
    older = image_manifest(**{"dev__inferry__version": "1"})
    envelope = sign(statement_bytes(statement(older, version=1)), [KEY])
    _says(signed([], envelope=envelope), "the signature is one of another image, net-image:1")


def test_an_older_image_served_for_a_newer_one() -> None:
    """It is signed, but not what was asked for."""
    _says(GOOD, "the image is net-image:2, where net-image:3 was", reference="net-image:3")
    _says(GOOD, "the image is net-image:2, where other:2 was asked", reference="other:2")


def test_a_payload_of_another_type() -> None:
    payload = statement_bytes(statement(GOOD.manifest))
    confused = signed([], envelope=sign(payload, [KEY], "application/json"))
    _says(confused, "holds 'application/json', not a statement about an image")


def test_a_statement_with_two_subjects() -> None:
    document = json.loads(statement_bytes(statement(GOOD.manifest)))
    document["subject"].append({"name": "x", "digest": {"sha256": "0" * 64}})
    _says(signed([KEY], payload=encoded(document)), "about 2 subjects, not one image")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "other"}, r"its dev\.inferry\.name is 'net-image', .* says 'other'"),
        ({"version": 3}, r"its dev\.inferry\.version is '2', the signed statement says '3'"),
        ({"models": ()}, r"its dev\.inferry\.models is 'net:3@sha256"),
        ({"revision": None}, r"its org\.opencontainers\.image\.revision is 'ffff"),
        ({"revision": "0" * 40}, r"revision is 'ffff.* the signed statement says '0000"),
    ],
)
def test_a_statement_that_does_not_fit_the_manifest(changes: dict[str, Any], says: str) -> None:
    _says(signed([KEY], **changes), says)


@pytest.mark.parametrize(
    ("annotations", "says"),
    [
        ({"dev__inferry__name": None}, r"its dev\.inferry\.name is None"),
        ({"dev__inferry__models": None}, r"its dev\.inferry\.models is None"),
        ({"org__opencontainers__image__revision": None}, r"revision is None"),
        ({"org__opencontainers__image__base__digest": "sha256:" + "0" * 64}, r"base\.digest is"),
    ],
)
def test_a_manifest_that_does_not_fit_the_statement(
    annotations: dict[str, str | None], says: str
) -> None:
    _says(signed([KEY], image_manifest(**annotations)), says)


def test_a_manifest_without_annotations() -> None:
    _says(signed([KEY], b"{}"), "the image's manifest has no object 'annotations'")


def test_a_manifest_with_a_key_twice() -> None:
    doubled = GOOD.manifest.replace(b"{", b'{"layers":[],', 1)
    _says(signed([KEY], doubled), "the image's manifest has the key 'layers' twice")


def test_an_sbom_that_is_missing_or_another() -> None:
    _says(signed([KEY], sbom=None), "the image's SBOM is missing")
    _says(signed([KEY], sbom=SBOM + b" "), "the image's SBOM is not the one that was signed")


def test_an_sbom_of_another_image() -> None:
    subject = replace(SUBJECT, digest="sha256:" + "0" * 64)
    referrers = (pair(sbom_manifest(subject, SBOM)), GOOD.referrers[1])
    _says(replace(GOOD, referrers=referrers), "a SBOM is one of another image.*SBOM is missing")


@pytest.mark.parametrize("which", [0, 1])
def test_bytes_that_were_cut_or_exchanged(which: int) -> None:
    manifest, blob = GOOD.referrers[which]
    for data in (b"", blob[:-1], blob + b" ", blob.replace(b"{", b"[", 1)):
        referrers = list(GOOD.referrers)
        referrers[which] = (manifest, data)
        _says(replace(GOOD, referrers=tuple(referrers)), "does not have the bytes that its manife")


@pytest.mark.parametrize("which", [0, 1])
def test_a_referrer_that_was_cut(which: int) -> None:
    manifest, blob = GOOD.referrers[which]
    for end in range(0, len(manifest), 37):
        referrers = list(GOOD.referrers)
        referrers[which] = (manifest[:end], blob)
        _says(replace(GOOD, referrers=tuple(referrers)), "referrer of the image is no JSON")


def _media_type(document: Any) -> None:
    document["mediaType"] = "application/json"


def _config(document: Any) -> None:
    document["config"]["digest"] = "sha256:" + "0" * 64


def _two_layers(document: Any) -> None:
    document["layers"] *= 2


def _layer_type(document: Any) -> None:
    document["layers"][0]["mediaType"] = "text/plain"


def _no_subject(document: Any) -> None:
    del document["subject"]


def _list_as_subject(document: Any) -> None:
    document["subject"] = [document["subject"]]


def _subject_size(document: Any) -> None:
    document["subject"]["size"] += 1


def _layer_size(document: Any) -> None:
    document["layers"][0]["size"] += 1


def _size_as_text(document: Any) -> None:
    document["layers"][0]["size"] = str(document["layers"][0]["size"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_media_type, "no OCI manifest"),
        (_config, "has a config, where"),
        (_two_layers, "not have just one file of type application/vnd.dsse"),
        (_layer_type, "not have just one file of type application/vnd.dsse"),
        (_no_subject, "no object 'subject'"),
        (_list_as_subject, "no object 'subject'"),
        (_subject_size, "an image of another size"),
        (_layer_size, "does not have the bytes that its manifest names"),
        (_size_as_text, "no number 'size'"),
    ],
)
def test_a_signatures_manifest_of_another_form(change: Callable[[Any], None], says: str) -> None:
    manifest, blob = GOOD.referrers[1]
    document = json.loads(manifest)
    change(document)
    _says(replace(GOOD, referrers=(GOOD.referrers[0], (encoded(document), blob))), says)


def test_a_signature_under_the_sboms_type_is_none() -> None:
    envelope = GOOD.referrers[1][1]
    confused = (pair(sbom_manifest(SUBJECT, envelope)), GOOD.referrers[0])
    _says(replace(GOOD, referrers=confused), "the image is not signed")


def test_too_many_referrers_take_no_time() -> None:
    many = GOOD.referrers * MAX_REFERRERS
    _says(replace(GOOD, referrers=many), "more than 64 referrers")


def test_several_complaints_are_one_line() -> None:
    bad = [pair(signature_manifest(SUBJECT, sign(b"%d" % n, [KEY]))) for n in range(9)]
    odd = [pair(signature_manifest(SUBJECT, b"x" * n)) for n in range(9)]
    _says(replace(GOOD, referrers=(*bad, *odd, (b"", b""))), "; ")


def test_the_artifacts_are_oci_manifests_that_name_their_blobs() -> None:
    for artifact in (signature_manifest(SUBJECT, b"envelope"), sbom_manifest(SUBJECT, SBOM)):
        document = json.loads(artifact.manifest)
        assert document["schemaVersion"] == 2
        assert document["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
        assert document["artifactType"] == artifact.artifact_type
        named = [document["config"], *document["layers"]]
        assert [item["digest"] for item in named] == [sha256(blob) for blob in artifact.blobs]
        assert [item["size"] for item in named] == [len(blob) for blob in artifact.blobs]
        assert document["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
        assert document["subject"]["digest"] == SUBJECT.digest
        assert artifact.descriptor == Descriptor(
            sha256(artifact.manifest), len(artifact.manifest), document["mediaType"]
        )
    assert isinstance(artifact, Artifact)


def test_a_device_needs_no_more_than_cryptography(tmp_path: Path) -> None:
    """Neither the database nor any package of the registry's is loaded by the rules themselves."""
    program = """
import sys, types
registry = types.ModuleType("registry")
registry.__path__ = [sys.argv[1]]  # without what registry/__init__.py offers
sys.modules["registry"] = registry
import registry.trust.verification
heavy = {"sqlite3", "onnx", "httpx", "msgspec", "docker", "yaml", "numpy", "cryptography", "socket"}
print(sorted(heavy & set(sys.modules)))
"""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program, str(root / "registry")],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "[]\n"
