from __future__ import annotations

import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.errors import PullError
from edge.pull.signatures import ChildKey


@pytest.fixture
def private() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.mark.slow
def test_a_signature_is_right_or_wrong(private: Ed25519PrivateKey) -> None:
    key = ChildKey(private.public_key().public_bytes_raw())
    message = bytes(range(256)) * 40
    signature = private.sign(message)
    assert key.has_signed(signature, message)
    assert not key.has_signed(signature, message + b"x")
    assert not key.has_signed(bytes(64), message)
    assert not ChildKey(bytes(32)).has_signed(signature, message)


@pytest.mark.parametrize("length", [0, 63, 65, 1000])
def test_a_signature_of_another_length_is_none(private: Ed25519PrivateKey, length: int) -> None:
    key = ChildKey(private.public_key().public_bytes_raw())
    assert not key.has_signed(bytes(length), b"x")


def test_a_key_of_another_length_signs_nothing() -> None:
    assert not ChildKey(b"short").has_signed(bytes(64), b"x")


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false", "/bin/true"])
def test_a_process_that_fails_is_no_answer(
    private: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    key = ChildKey(private.public_key().public_bytes_raw())
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(PullError, match="could not be checked") as caught:
        key.has_signed(private.sign(b"x"), b"x")
    assert caught.value.is_temporary
