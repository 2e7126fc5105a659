"""Bodies made to cost: refused, or read, in memory of no more than some times their size."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scoring.errors import BodyError, InputError
from scoring.json_codec import document as json_document
from scoring.json_codec.document import has_too_many_values
from scoring.signature import Signature, TensorSpec
from scoring.tensors import decode_request

SIZE = 24 * 2**20
TIMES = 6
CASES = {
    "empty lists": 'b"[" + b"[]," * (SIZE // 3) + b"[]]"',
    "integers": 'b"[" + b"1," * (SIZE // 2) + b"1]"',
    "lists of one": 'b"[" + b"[1]," * (SIZE // 4) + b"[1]]"',
    "ragged lists": 'b"[" + b"[1],[1,2]," * (SIZE // 10) + b"[1]]"',
    "open brackets": 'b"[" * SIZE',
    "deep lists": 'b"[" + (b"[" * 900 + b"]" * 900 + b",") * (SIZE // 1801) + b"1]"',
    "one text": """b'"' + b"x" * SIZE + b'"'""",
    "texts": """b"[" + b'"a",' * (SIZE // 4) + b"1]" """,
    "words": """b"[" + b'"NaN",' * (SIZE // 6) + b'"NaN"]'""",
    "nulls": 'b"[" + b"null," * (SIZE // 5) + b"1]"',
    "objects": 'b"[" + b"{}," * (SIZE // 3) + b"1]"',
    "keys": """b"{" + b'"abcdef":1,' * (SIZE // 11) + b'"a":1}'""",
    "blanks": 'b" " * SIZE + b"1"',
    "digits": 'b"[0." + b"1" * SIZE + b"]"',
    "quotes": """b"[" + b'"' * SIZE + b"]" """,
    "backslashes": """b'["' + b"\\\\" * SIZE + b'"]'""",
    "commas": 'b"[" + b"," * SIZE + b"]"',
    "colons": """b'{"a"' + b":" * SIZE + b"1}" """,
    "unclosed": 'b"[" + b"1," * (SIZE // 2)',
}
CHILD = """
import sys
from scoring.errors import InputError
from scoring.signature import Signature, TensorSpec
from scoring.tensors import decode_request

def peak_bytes():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

SIZE = int(sys.argv[2])
signature = Signature((TensorSpec("x", "float64", tuple(sys.argv[3].split())),), ())
parts = [b'{"data":', eval(sys.argv[1]), b"}"]
body = b"".join(parts)
before = peak_bytes()
try:
    decode_request(body, signature)
except InputError:
    pass
print((peak_bytes() - before) / len(body))
"""


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["N", "N 64", "N M"])
@pytest.mark.parametrize("case", CASES)
def test_memory_is_bounded_by_the_size_of_the_body(case: str, shape: str) -> None:
    command = [sys.executable, "-c", CHILD, CASES[case], str(SIZE), shape]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert float(run.stdout) < TIMES


def _signature(dtype: str, *shape: str | int) -> Signature:
    return Signature((TensorSpec("x", dtype, shape),), ())


def test_many_values_are_counted_outside_texts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_document, "MAX_VALUES", 10)
    assert not has_too_many_values(b'{"data": "%s"}' % (b"," * 100))
    assert not has_too_many_values(b'{"data": "%s"}' % (b'\\\\\\",[' + b"," * 100))
    assert has_too_many_values(b'{"data": [%s]}' % (b'"a",' * 100))
    assert has_too_many_values(b'{"data": ["\\\\"%s]}' % (b"," * 100))


@pytest.mark.slow
def test_many_uneven_values_are_refused_and_many_even_ones_are_not() -> None:
    count = 2**20
    even = b'{"data": [%s2]}' % (b"1," * count)
    assert decode_request(even, _signature("int8", "N"))["x"].shape == (count + 1,)
    with pytest.raises(InputError, match=r"expects int8 \[N,7\], got shape \[1048577\]"):
        decode_request(even, _signature("int8", "N", 7))
    with pytest.raises(InputError, match=r"out of -128\.\.127"):
        decode_request(even.replace(b"2]", b"200]"), _signature("int8", "N"))
    with pytest.raises(InputError, match="over 1,048,576 values"):
        decode_request(even.replace(b"2]", b"[2]]"), _signature("int8", "N"))
    with pytest.raises(InputError, match='strings: "NaN"'):
        decode_request(even.replace(b"2]", b"NaN]"), _signature("float32", "N"))


def test_a_long_number_or_stretch_of_blanks_is_read() -> None:
    signature = _signature("float64", "N")
    for blank in (b"", b" " * 400_000):
        digits = b"1" * 400_000
        read = decode_request(b'{"data": [0.%s%s,%s2]}' % (digits, blank, blank), signature)
        assert read["x"].tolist() == [1 / 9, 2]
    with pytest.raises(BodyError, match="not valid JSON"):
        decode_request(b'{"data": [%s}' % (b" " * 400_000), signature)
