"""Answers of two revisions to the same request."""

from __future__ import annotations

import gzip
import json
import zlib

import numpy as np
import pytest

from runtime.shadow.comparison import MOST_BYTES, compared, excerpt
from runtime.shadow.records import Answer
from scoring.watching.comparison import Verdict

INFER = b"/v2/models/m/infer"


def said(body: bytes | object, status: int = 200, **headers: str) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return Answer(status, pairs, data, 0.01)


def binary(values: np.ndarray, datatype: str = "FP32", model: str = "1", name: str = "y") -> Answer:
    data = values.tobytes()
    head = {
        "model_name": "m",
        "model_version": model,
        "outputs": [
            {
                "name": name,
                "datatype": datatype,
                "shape": list(values.shape),
                "parameters": {"binary_data_size": len(data)},
            }
        ],
    }
    text = json.dumps(head).encode()
    return said(text + data, Inference_Header_Content_Length=str(len(text)))


@pytest.mark.parametrize(
    ("primary", "shadow", "verdict"),
    [
        ({"y": [1.0, 2]}, {"y": [1, 2.0]}, Verdict.EQUAL),
        ({"y": [1.0]}, {"y": [1.0001]}, Verdict.CLOSE),
        ({"y": [1.0]}, {"y": [1.1]}, Verdict.DIFFERENT),
        ({"y": [1.0]}, {"y": [1.0, 2.0]}, Verdict.DIFFERENT),
        ({"y": [1.0]}, {"z": [1.0]}, Verdict.DIFFERENT),
        ({"y": "a"}, {"y": "b"}, Verdict.DIFFERENT),
        (b"plain", b"plain", Verdict.EQUAL),
        (b"plain", b"other", Verdict.DIFFERENT),
        (b"[" * 100_000, b"[" * 99_999, Verdict.DIFFERENT),
    ],
)
def test_answers_are_compared_by_what_they_say(
    primary: object, shadow: object, verdict: Verdict
) -> None:
    assert compared(b"/score", said(primary), said(shadow)).verdict == verdict


def test_the_largest_difference_is_told() -> None:
    found = compared(b"/score", said({"y": [[1, 2], [3, 4]]}), said({"y": [[1, 2], [3, 4.5]]}))
    assert found.max_absolute == 0.5
    assert "y" in found.text


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (200, 500, Verdict.ERROR),
        (200, 429, Verdict.ERROR),
        (200, 503, Verdict.ERROR),
        (200, 400, Verdict.DIFFERENT),
        (400, 200, Verdict.DIFFERENT),
        (400, 400, Verdict.EQUAL),
        (500, 500, Verdict.EQUAL),
        (500, 200, Verdict.DIFFERENT),
    ],
)
def test_a_status_is_compared_first(ours: int, theirs: int, verdict: Verdict) -> None:
    assert compared(b"/score", said({"e": 1}, ours), said({"e": 2}, theirs)).verdict == verdict


def test_an_answer_of_the_protocol_may_name_another_version() -> None:
    first = {"model_version": "1", "outputs": [{"name": "y", "datatype": "FP32", "shape": [1]}]}
    second = {**first, "model_version": "2", "id": "x"}
    first["outputs"][0]["data"] = [1.0]  # type: ignore[index]
    assert compared(INFER, said(first), said(second)).verdict == Verdict.EQUAL
    assert compared(b"/score", said(first), said(second)).verdict == Verdict.DIFFERENT


def test_binary_answers_are_compared_by_value() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    near, far = values * np.float32(1.0001), values.copy()
    far[1, 1] = 4.25
    assert compared(INFER, binary(values), binary(values, model="2")).verdict == Verdict.EQUAL
    assert compared(INFER, binary(values), binary(near)).verdict == Verdict.CLOSE
    found = compared(INFER, binary(values), binary(far))
    assert (found.verdict, found.max_absolute) == (Verdict.DIFFERENT, 0.25)
    whole = values.astype(np.int64)
    assert compared(INFER, binary(whole, "INT64"), binary(whole, "INT64")).verdict == Verdict.EQUAL
    other = compared(INFER, binary(whole, "INT64"), binary(whole + 1, "INT64"))
    assert (other.verdict, other.max_absolute) == (Verdict.DIFFERENT, 1)
    assert compared(INFER, binary(values), binary(whole, "INT64")).verdict == Verdict.DIFFERENT
    assert compared(INFER, binary(values), binary(values, name="z")).verdict == Verdict.DIFFERENT


def test_a_binary_answer_may_be_beside_one_in_json() -> None:
    values = np.array([1.0, 2.0], np.float32)
    text = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}]}
    assert compared(INFER, binary(values), said(text)).verdict == Verdict.EQUAL


@pytest.mark.parametrize(
    "broken",
    [
        said(b"\x00\x01", Inference_Header_Content_Length="1"),
        said(b"{}", Inference_Header_Content_Length="-1"),
        said(b"{}", Inference_Header_Content_Length="x"),
        said({"outputs": [1]}),
        said({"outputs": {"y": 1}}),
        said(
            b'{"outputs":[{"name":"y","datatype":"NO","shape":[1],'
            b'"parameters":{"binary_data_size":4}}]}abcd',
            Inference_Header_Content_Length="86",
        ),
        said(
            b'{"outputs":[{"name":"y","datatype":"FP32","shape":[9],'
            b'"parameters":{"binary_data_size":4}}]}abcd',
            Inference_Header_Content_Length="88",
        ),
    ],
)
def test_what_is_no_such_answer_differs_by_its_bytes(broken: Answer) -> None:
    values = np.array([1.0], np.float32)
    assert compared(INFER, binary(values), broken).verdict == Verdict.DIFFERENT
    assert compared(INFER, broken, binary(values)).verdict == Verdict.DIFFERENT
    assert compared(INFER, broken, broken).verdict == Verdict.EQUAL


def test_compressed_answers_are_compared_by_what_is_in_them() -> None:
    body = json.dumps({"y": [1.0]}).encode()
    zipped = said(gzip.compress(body), content_encoding="gzip")
    assert compared(b"/score", zipped, said(body)).verdict == Verdict.EQUAL
    deflated = said(zlib.compress(body), content_encoding="deflate")
    assert compared(b"/score", zipped, deflated).verdict == Verdict.EQUAL
    for broken in (
        said(b"no gzip", content_encoding="gzip"),
        said(gzip.compress(body)[:-4], content_encoding="gzip"),
        said(body, content_encoding="br"),
    ):
        assert compared(b"/score", zipped, broken).verdict == Verdict.DIFFERENT


def test_a_bomb_is_not_unpacked() -> None:
    bomb = said(gzip.compress(b"0" * (MOST_BYTES + 1)), content_encoding="gzip")
    found = compared(b"/score", said([1]), bomb)
    assert found.verdict == Verdict.DIFFERENT
    assert "too large" in found.text


def test_an_excerpt_is_short_and_on_one_line() -> None:
    assert excerpt(said({"y": [1]})) == '{"y": [1]}'
    shown = excerpt(said(b"a\n\x1b[31mb\xff\x00" + b"x" * 10_000))
    assert shown.startswith("a  [31mb")
    assert shown.isprintable()
    assert len(shown) <= 203
    assert excerpt(said(gzip.compress(b"inside"), content_encoding="gzip")) == "inside"
