"""A condition says which devices a layer is for, and whatever is no condition is refused."""

import re
import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.conditions import MAX_DEPTH, MAX_LENGTH, parse
from edge.errors import InvalidSpecError

TAGS = {"site": "berlin", "role": "camera", "gpu": ""}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("all", True),
        ("not all", False),
        ('site == "berlin"', True),
        ("site == 'berlin'", True),
        ('site == "BERLIN"', False),
        ('site != "berlin"', False),
        ('floor == "1"', False),
        ('floor != "1"', True),
        ("gpu", True),
        ("floor", False),
        ("not floor", True),
        ('name == "camera-7"', True),
        ('name ~ "camera-*"', True),
        ('name ~ "camera"', False),
        ('name !~ "test-*"', True),
        ('not name ~ "test-*"', True),
        ('floor ~ "*"', False),
        ('floor !~ "*"', True),
        ('role in ("camera", "gate")', True),
        ('role in ("gate",\n "door")', False),
        ('role not in ("gate")', True),
        ('floor in ("1")', False),
        ('site == "berlin" and role in ("camera","gate") and not name ~ "test-*"', True),
        ('site == "x" and all or all', True),
        ('all or all and site == "x"', True),
        ('(all or all) and site == "x"', False),
        ("not gpu and gpu", False),
        ("not (gpu and floor)", True),
        ("((all))", True),
    ],
)
def test_a_condition_says_whether_a_device_is_meant(text: str, holds: bool) -> None:
    assert parse(text)("camera-7", TAGS) is holds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "column 1: expected a tag"),
        ("   ", "expected a tag"),
        ("site = 'x'", "column 6: '=' means nothing here"),
        ("site == x", "column 9: expected a value in quotes, not 'x'"),
        ("site ==", "expected a value in quotes, not 'the end'"),
        ("site == 'x", "means nothing here"),
        ("site == 'x' 'y'", 'expected "and", "or" or the end'),
        ("site 'x'", 'expected "and", "or" or the end'),
        ("role in 'x'", 'expected "("'),
        ("role in ()", "expected a value"),
        ("role in ('x'", 'expected "," or ")"'),
        ("role not ('x')", 'expected "in"'),
        ("(all", 'expected ")"'),
        ("all)", 'expected "and", "or" or the end'),
        ("and", "expected a tag"),
        ("all and", "expected a tag"),
        ("__import__('os').system('x')", "column 17: '.' means nothing here"),
        ("name.__class__ == ", "expected a value"),
        ("1 == 1", "column 1: '1' means nothing here"),
        ("sité == 'x'", "means nothing here"),
        ("site == '\x00", "means nothing here"),
        (f"site == '{'x' * 201}'", "200 characters"),
        (f"name ~ '{'a*' * 9}'", "8 stars"),
    ],
)
def test_what_is_no_condition_is_refused_and_told_where(text: str, says: str) -> None:
    with pytest.raises(InvalidSpecError, match=re.escape(says)) as refusal:
        parse(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("deep", ["(" * 500 + "all" + ")" * 500, "not " * 400 + "all"])
def test_a_deep_condition_is_refused(deep: str) -> None:
    with pytest.raises(InvalidSpecError, match=f"deeper than {MAX_DEPTH}"):
        parse(deep)


def test_a_condition_may_be_as_deep_as_the_bound() -> None:
    depth = MAX_DEPTH - 1
    assert parse("(" * depth + "all" + ")" * depth)("a", {})


def test_a_long_condition_is_refused_and_a_wide_one_holds() -> None:
    with pytest.raises(InvalidSpecError, match="2000 characters, not 2001"):
        parse("x" * (MAX_LENGTH + 1))
    assert parse(" or ".join(["floor"] * 200) + " or gpu")("a", TAGS)


def test_no_pattern_takes_long() -> None:
    condition = parse('name ~ "*a*a*a*a*a*a*a*b"')
    begin = time.thread_time()
    assert not condition("a" * 63, {})
    assert time.thread_time() - begin < 5


@given(st.text(max_size=60) | st.text("()\"'=!~ ,andortiall*[]-", max_size=80))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        condition = parse(text)
    except InvalidSpecError:
        return
    assert condition("camera-7", TAGS) in (True, False)


@given(st.text("ab*?[]!-^&|~", max_size=12), st.text("ab-[]^", max_size=12))
def test_patterns_are_those_of_the_shell(pattern: str, value: str) -> None:
    assert parse(f'tag ~ "{pattern}"')("x", {"tag": value}) == fnmatchcase(value, pattern)
