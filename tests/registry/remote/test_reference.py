"""References by Docker's rules; where a name leads, and what is no name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidNameError
from registry.remote import ImageReference, parse_image_reference

HEX = "a" * 64
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "host", "path", "tag", "digest"),
    [
        ("python", "docker.io", "library/python", "latest", None),
        ("python:3.11-slim", "docker.io", "library/python", "3.11-slim", None),
        ("team/app", "docker.io", "team/app", "latest", None),
        ("index.docker.io/python", "docker.io", "library/python", "latest", None),
        ("localhost/a/b:1", "localhost", "a/b", "1", None),
        ("localhost:5000/a", "localhost:5000", "a", "latest", None),
        ("127.0.0.1:5000/a__b/c-d.e_f:T_1.x-", "127.0.0.1:5000", "a__b/c-d.e_f", "T_1.x-", None),
        ("[::1]:5000/a", "[::1]:5000", "a", "latest", None),
        ("Registry.Example/a", "registry.example", "a", "latest", None),
        ("HOST/a", "HOST", "a", "latest", None),
        (f"a@{DIGEST}", "docker.io", "library/a", None, DIGEST),
        (f"r.io/a:1@{DIGEST}", "r.io", "a", "1", DIGEST),
        ("a/b/c/d/e", "docker.io", "a/b/c/d/e", "latest", None),
        ("a---b", "docker.io", "library/a---b", "latest", None),
    ],
)
def test_a_reference_is_read_as_docker_does(
    text: str, host: str, path: str, tag: str | None, digest: str | None
) -> None:
    found = parse_image_reference(text)
    assert found == ImageReference(host, path, tag, digest)
    assert parse_image_reference(str(found)) == found
    assert found.target == (digest or tag)


def test_docker_hub_is_reached_at_its_own_host() -> None:
    assert parse_image_reference("python").api_host == "registry-1.docker.io"
    assert parse_image_reference("r.io/python").api_host == "r.io"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" ", "space"),
        ("a b", "space"),
        ("a\n", "control character"),
        ("a\x00b", "control character"),
        ("\u0430bc", "not allowed"),
        ("a\u2215b", "not allowed"),
        ("https://r.io/a", "leave out the scheme"),
        ("https://ann:secret@r.io/a", "no user or password"),
        ("docker://r.io/a", "leave out the scheme"),
        ("me:secret@r.io/a", "no user or password"),
        ("me@r.io/a", "no user or password"),
        ("Team/App", "repository's name|host"),
        ("App", "in lower case, as in library/app"),
        ("r.io/App:1", "in lower case, as in app"),
        ("../etc/passwd", "host|parts of"),
        ("r.io/../a", "parts of"),
        ("r.io/a/../b", "parts of"),
        ("r.io/a/./b", "parts of"),
        ("r.io//a", "parts of"),
        ("r.io/a/", "parts of"),
        ("/a", "parts of"),
        ("r.io/a%2f..", "parts of"),
        ("r.io/a..b", "parts of"),
        ("r.io/-a", "parts of"),
        ("r.io/a___b", "parts of"),
        ("r.io/a?x=y", "parts of"),
        ("r.io/a#x", "parts of"),
        ("r.io/$(id)", "parts of"),
        ("r.io/a:", "a tag is"),
        ("r.io/a:.x", "a tag is"),
        ("r.io/a:" + "x" * 129, "a tag is"),
        ("r.io/a:b:c", "a tag is"),
        ("r.io/a@sha256:abc", "the digest must be"),
        (f"r.io/a@sha512:{HEX}", "the digest must be"),
        (f"r.io/a@{DIGEST.upper()}", "the digest must be"),
        (f"r.io/a@{DIGEST}@{DIGEST}", "the digest must be"),
        (HEX, "an image's id is no name"),
        ("r.io:0/a", "is no port"),
        ("r.io:65536/a", "is no port"),
        ("r.io:/a", "no host name"),
        ("-r.io/a", "no host name"),
        ("r..io/a", "no host name"),
        ("[::zz]/a", "no host name|no IPv6"),
        ("[1:2]:5000/a", "no IPv6"),
        ("r.io/" + "a" * 256, "at most 255"),
        ("a" * 4096, "too long"),
    ],
)
def test_what_is_no_reference_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidNameError, match=message) as refused:
        parse_image_reference(text)
    assert "secret" not in str(refused.value)
    assert len(str(refused.value)) < 400


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        found = parse_image_reference(text)
    except InvalidNameError:
        return
    assert parse_image_reference(str(found)) == found
    assert ".." not in found.path
