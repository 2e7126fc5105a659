"""DSSE envelopes: what is signed, and each way in which one can be wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import TrustError
from registry.trust import sign
from registry.trust.envelope import (
    MAX_BYTES,
    MAX_SIGNATURES,
    PAYLOAD_TYPE,
    pae,
    read_envelope,
    verify_envelope,
)
from tests.registry.trust.signed_image import new_key

KEY = new_key()
OTHER = new_key()
PAYLOAD = b'{"a": "\xc3\xa4"}'


def test_the_encoding_is_the_specifications_own_example() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("ä", b"\0") == "DSSEv1 2 ä 1 \0".encode()


@given(st.text(), st.binary(), st.text(), st.binary())
def test_no_two_payloads_are_signed_alike(a: str, x: bytes, b: str, y: bytes) -> None:
    if (a, x) != (b, y):
        assert pae(a, x) != pae(b, y)


@given(st.binary(max_size=300))
def test_what_is_signed_is_verified(payload: bytes) -> None:
    assert verify_envelope(sign(payload, [KEY]), [KEY.public]) == (payload, (KEY.public,))


def test_equal_inputs_have_equal_envelopes() -> None:
    assert sign(PAYLOAD, [KEY, OTHER]) == sign(PAYLOAD, [KEY, OTHER])


def test_one_signature_of_several_is_enough() -> None:
    envelope = sign(PAYLOAD, [OTHER, KEY])
    assert verify_envelope(envelope, [KEY.public]) == (PAYLOAD, (KEY.public,))
    both = verify_envelope(envelope, [KEY.public, OTHER.public, KEY.public])[1]
    assert both == (KEY.public, OTHER.public)


def _changed(change: Callable[[Any], object], *, signers: tuple[Any, ...] = (KEY,)) -> bytes:
    document = json.loads(sign(PAYLOAD, signers))
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "hint", ["", "wrong", OTHER.key_id, None], ids=["empty", "wrong", "another", "null"]
)
def test_the_keys_id_is_a_hint_only(hint: str | None) -> None:
    envelope = _changed(lambda document: document["signatures"][0].update(keyid=hint))
    assert verify_envelope(envelope, [OTHER.public, KEY.public])[1] == (KEY.public,)


def test_a_hint_that_claims_a_trusted_key_does_not_make_it_so() -> None:
    envelope = _changed(
        lambda document: document["signatures"][0].update(keyid=KEY.key_id), signers=(OTHER,)
    )
    with pytest.raises(TrustError, match="does not fit what it signs"):
        verify_envelope(envelope, [KEY.public])


def test_no_hint_and_unknown_fields_are_fine() -> None:
    def change(document: Any) -> None:
        del document["signatures"][0]["keyid"]
        document["signatures"][0]["cert"] = "x"
        document["extension"] = {"a": [1.5]}

    assert verify_envelope(_changed(change), [KEY.public])[0] == PAYLOAD


def test_both_alphabets_of_base64_are_read() -> None:
    payload = b"\xff\xef\xbe" * 10

    def change(document: Any) -> None:
        for where, key in ((document, "payload"), (document["signatures"][0], "sig")):
            where[key] = where[key].replace("+", "-").replace("/", "_")

    document = json.loads(sign(payload, [KEY]))
    change(document)
    assert verify_envelope(json.dumps(document).encode(), [KEY.public])[0] == payload


def test_a_payload_of_another_type_is_no_statement() -> None:
    envelope = sign(PAYLOAD, [KEY], "text/plain")
    with pytest.raises(TrustError, match="holds 'text/plain', not a statement"):
        verify_envelope(envelope, [KEY.public])


def test_a_payload_cannot_be_given_another_type() -> None:
    document = json.loads(sign(PAYLOAD, [KEY], "text/plain"))
    document["payloadType"] = PAYLOAD_TYPE
    with pytest.raises(TrustError, match="does not fit"):
        verify_envelope(json.dumps(document).encode(), [KEY.public])


def test_a_signature_of_the_payload_alone_is_none() -> None:
    sig = base64.b64encode(KEY.sign(PAYLOAD)).decode()
    envelope = _changed(lambda document: document["signatures"][0].update(sig=sig))
    with pytest.raises(TrustError, match="does not fit"):
        verify_envelope(envelope, [KEY.public])


def test_another_key_is_named() -> None:
    with pytest.raises(TrustError, match=rf"by key {OTHER.key_id[:12]}, which is none of the 1"):
        verify_envelope(sign(PAYLOAD, [OTHER]), [KEY.public])


def test_every_flipped_bit_is_seen() -> None:
    document = json.loads(sign(PAYLOAD, [KEY]))
    for where, key in ((document, "payload"), (document["signatures"][0], "sig")):
        good = where[key]
        data = bytearray(base64.b64decode(good))
        for bit in range(8 * len(data)):
            data[bit // 8] ^= 1 << bit % 8
            where[key] = base64.b64encode(data).decode()
            with pytest.raises(TrustError, match="does not fit"):
                verify_envelope(json.dumps(document).encode(), [KEY.public])
            data[bit // 8] ^= 1 << bit % 8
        where[key] = good


def test_a_signature_has_one_form_only() -> None:
    """s + L is the same number for a careless verifier."""
    order = 2**252 + 27742317777372353535851937790883648493
    raw = KEY.sign(pae(PAYLOAD_TYPE, PAYLOAD))
    second = (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    sig = base64.b64encode(raw[:32] + second).decode()
    envelope = _changed(lambda document: document["signatures"][0].update(sig=sig))
    with pytest.raises(TrustError, match="does not fit"):
        verify_envelope(envelope, [KEY.public])


SIG = base64.b64encode(bytes(64)).decode()
ONE: dict[str, Any] = {"payload": "", "payloadType": "t", "signatures": [{"sig": SIG}]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"payload": None}, "no text 'payload'"),
        ({"payload": 5}, "no text 'payload'"),
        ({"payload": ["eA=="]}, "no text 'payload'"),
        ({"payloadType": None}, "no text 'payloadType'"),
        ({"payloadType": 1}, "no text 'payloadType'"),
        ({"signatures": None}, "no list of objects 'signatures'"),
        ({"signatures": {}}, "no list of objects 'signatures'"),
        ({"signatures": [SIG]}, "no list of objects 'signatures'"),
        ({"signatures": []}, "has no signature"),
        ({"signatures": [{"sig": SIG}] * (MAX_SIGNATURES + 1)}, "more than 16 signatures"),
        ({"signatures": [{"keyid": "x"}]}, "no text 'sig'"),
        ({"signatures": [{"sig": ""}]}, "a signature of 0 bytes"),
        ({"signatures": [{"sig": "AAAA"}]}, "a signature of 3 bytes"),
        ({"signatures": [{"sig": SIG, "keyid": 7}]}, "no text 'keyid'"),
        ({"payload": "eA"}, "not canonical base64"),
        ({"payload": "eA="}, "not canonical base64"),
        ({"payload": "eB=="}, "not canonical base64"),
        ({"payload": "eA==\n"}, "not canonical base64"),
        ({"payload": "eA==eA=="}, "not canonical base64"),
        ({"payload": " eA=="}, "not canonical base64"),
        ({"payload": "+_AA"}, "not canonical base64"),
        ({"payload": "éA=="}, "not canonical base64"),
    ],
)
def test_an_envelope_of_another_form_is_refused(change: dict[str, Any], says: str) -> None:
    read_envelope(json.dumps(ONE).encode())
    with pytest.raises(TrustError, match=says):
        read_envelope(json.dumps(ONE | change).encode())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no JSON, or is cut short"),
        (sign(PAYLOAD, [KEY])[:-1], "no JSON, or is cut short"),
        (sign(PAYLOAD, [KEY]) + b"{}", "no JSON"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'{"payload":"","payload":"eA=="}', "key 'payload' twice"),
        (b'{"signatures":[{"sig":"","sig":""}]}', "key 'sig' twice"),
        (b'{"a":NaN}', "no JSON"),
        (b'{"a":-Infinity}', "no JSON"),
        (b'{"a":"\\ud800"}', "no JSON"),
        (b'{"a":"\xff"}', "no JSON"),
        ("\ufeff{}".encode(), "no JSON"),
        ("{}".encode("utf-16"), "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "no JSON"),
        (b" " * (MAX_BYTES + 1), "larger than 1048576 bytes"),
    ],
    ids=[
        *("empty", "cut", "more", "list", "null", "twice", "twice-within", "nan", "infinity"),
        *("surrogate", "not-utf8", "mark", "utf16", "deep", "number", "large"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(TrustError, match=says):
        read_envelope(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_line(data: bytes) -> None:
    with pytest.raises(TrustError) as caught:
        read_envelope(data)
    assert "\n" not in str(caught.value)
