"""Filters and orders: what is read, and that nothing else than a clear error comes out."""

from __future__ import annotations

import re
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidNameError
from registry.tracking.filter import Condition, Order, like_to_glob, parse, parse_order
from registry.tracking.query import ATTRIBUTES, condition_sql

words = st.sampled_from(
    [
        *("metrics.", "params.x", "tags.`a b`", "status", "start_time", "AND", "and", "OR", "LIKE"),
        *("ilike", "IN", "NOT", "IS", "NULL", "=", "!=", "<", ">=", "<>", "(", ")", ",", "'a'"),
        *('"b"', "1", "-2.5e3", "inf", "nan", "'", '"', "`", "\\", ";", "--", "é", "\0", "''"),
        *("metrics.accuracy", "run.run_name", "attributes.`status`", "1e9999", "ASC", "DESC"),
    ]
)


def read(text: str) -> list[Condition]:
    return list(parse(text, ATTRIBUTES))


def test_conditions_are_read_in_the_words_of_mlflow() -> None:
    text = (
        "metrics.acc>0.9 and params.`learning rate` = \"0.1\" AND tags.'a b' != 'it''s'"
        " and attributes.status = \"FINISHED\" and run_name ILIKE '%x%' and start_time < 1e12"
        " and run_id IN ('a', 'b') and tags.x IS NOT NULL and params.y is null and end_time <> -3"
        " and parameters.a.b/c = 'd' and attr.user_id NOT IN ('eve')"
    )
    assert read(text) == [
        Condition("metric", "acc", ">", 0.9),
        Condition("param", "learning rate", "=", "0.1"),
        Condition("tag", "a b", "!=", "it's"),
        Condition("attribute", "status", "=", "FINISHED"),
        Condition("attribute", "run_name", "ILIKE", "%x%"),
        Condition("attribute", "start_time", "<", 1e12),
        Condition("attribute", "run_id", "IN", ("a", "b")),
        Condition("tag", "x", "IS NOT NULL", None),
        Condition("param", "y", "IS NULL", None),
        Condition("attribute", "end_time", "!=", -3.0),
        Condition("param", "a.b/c", "=", "d"),
        Condition("attribute", "user_id", "NOT IN", ("eve",)),
    ]
    assert read("") == read("  ") == []
    assert read("metrics.x < inf")[0].value == float("inf")


def test_orders_are_read() -> None:
    assert parse_order("metrics.loss DESC", ATTRIBUTES) == Order("metric", "loss", True)
    assert parse_order("params.`a b`", ATTRIBUTES) == Order("param", "a b", False)
    assert parse_order("attributes.start_time asc", ATTRIBUTES) == Order(
        "attribute", "start_time", False
    )
    assert parse_order("`Run Name` DESC", ATTRIBUTES) == Order("attribute", "run_name", True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("metrics.a", "at character 10: it ends, not a comparison"),
        ("metrics.a = 'b'", "not a number"),
        ("metrics.a LIKE 'b'", "is a number and cannot be compared by LIKE"),
        ("params.a > 'b'", "is text and cannot be compared by >"),
        ("params.a = b", "not text in quotes"),
        ("params.a = 'b' OR params.c = 'd'", "there is 'OR', not AND"),
        ("params.a = 'b' params.c = 'd'", "not AND"),
        ("colour = 'red'", "cannot be searched by"),
        ("attributes.artifact_uri = 'x'", "cannot be searched by"),
        ("params. = 'a'", "not a key after params."),
        ("params.a = 'b", "at character 12"),
        ("params.a IN 'b'", "not ("),
        ("params.a IN ('b'", "it ends, not )"),
        ("params.a IN ()", "not text in quotes"),
        ("params.a IS", "not NULL"),
        ("status IS NULL", "always has a value"),
        ("metrics.a > nan", "not a number"),
        ("metrics.a > 1e99999", "not a number"),
        ("params.a LIKE '" + "%" * 17 + "'", "at most 16 times %"),
        ("x" * 20_001, "at most 20000 characters"),
        (" and ".join(["metrics.a > 1"] * 65), "more than 64 conditions"),
        ("params.a IN (" + ",".join(["''"] * 4000) + ")" + " " * 9000, "at most 20000"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(InvalidNameError, match=re.escape(complaint)) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_an_order_with_more_behind_it_is_refused() -> None:
    with pytest.raises(InvalidNameError, match="not ASC, DESC or the end"):
        parse_order("metrics.a; DROP TABLE runs", ATTRIBUTES)


@given(st.lists(words, max_size=12).map(" ".join) | st.text(max_size=60))
def test_any_text_is_conditions_or_a_clear_error(text: str) -> None:
    for reader in (read, lambda given: parse_order(given, ATTRIBUTES)):
        said = ""
        try:
            reader(text)
        except InvalidNameError as error:
            said = str(error)
        assert said.isprintable()


@given(st.text(), st.text(max_size=300).filter(lambda key: "`" not in key and bool(key.strip())))
def test_values_and_keys_are_parameters_never_part_of_the_statement(value: str, key: str) -> None:
    quoted = value.replace("'", "''")
    try:
        (condition,) = read(f"tags.`{key}` = '{quoted}'")
    except InvalidNameError:
        return
    assert (condition.key, condition.value) == (key, value)
    sql, bound = condition_sql(condition, ATTRIBUTES)
    assert bound == [key, value]
    assert sql == condition_sql(Condition("tag", "k", "=", "v"), ATTRIBUTES)[0]


@given(st.text("ab%_*?[]^-", max_size=8), st.text("ab*?[]^-", max_size=6))
def test_a_like_pattern_matches_what_like_says(pattern: str, text: str) -> None:
    expression = "".join({"%": ".*", "_": "."}.get(char, re.escape(char)) for char in pattern)
    connection = sqlite3.connect(":memory:")
    try:
        found = connection.execute("SELECT ? GLOB ?", (text, like_to_glob(pattern))).fetchone()[0]
    finally:
        connection.close()
    assert bool(found) == bool(re.fullmatch(expression, text, re.DOTALL))
