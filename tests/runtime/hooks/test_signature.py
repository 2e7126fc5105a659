from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from runtime.hooks.signature import headers, signature


def test_a_signature_is_what_the_libraries_of_standard_webhooks_expect() -> None:
    """Made with the Python package standardwebhooks 1.1.0."""
    found = signature(
        b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
        id="c1.after",
        at_unix_s=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert found == "v1,CderDBkh9ELKO1ELAbH1+wow9CDuIo5Hpg2R10PgbZc="


def test_any_secret_is_its_bytes_without_the_last_line_feed() -> None:
    digest = hmac.new(b"not base64", b"a.5.{}", hashlib.sha256).digest()
    for secret in (b"not base64", b"not base64\n", b"not base64\r\n"):
        found = signature(secret, id="a", at_unix_s=5, body=b"{}")
        assert base64.b64decode(found.removeprefix("v1,")) == digest
    assert signature(b"whsec_!", id="a", at_unix_s=5, body=b"") != signature(
        b"!", id="a", at_unix_s=5, body=b""
    )


@pytest.mark.parametrize(
    "other",
    [
        {"id": "b", "at_unix_s": 5, "body": b"{}"},
        {"id": "a", "at_unix_s": 6, "body": b"{}"},
        {"id": "a", "at_unix_s": 5, "body": b"{ }"},
    ],
)
def test_id_time_and_body_are_all_signed(other: dict[str, object]) -> None:
    one = signature(b"s", id="a", at_unix_s=5, body=b"{}")
    assert signature(b"s", **other) != one  # type: ignore[arg-type]


def test_without_a_secret_nothing_is_signed() -> None:
    assert headers(None, id="a", at_unix_s=5, body=b"{}") == {
        "Webhook-Id": "a",
        "Webhook-Timestamp": "5",
    }
    assert "Webhook-Signature" in headers(b"s", id="a", at_unix_s=5, body=b"{}")
