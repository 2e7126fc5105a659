"""Filters of topics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from edge.broker.filters import is_filter, is_topic, matches

levels = st.sampled_from(["a", "b", "", "$x"])
topics = st.lists(levels, min_size=1, max_size=4).map("/".join).filter(bool)
filters = (
    st.lists(levels | st.just("+"), min_size=0, max_size=4)
    .flatmap(lambda one: st.sampled_from([one, [*one, "#"]]))
    .map("/".join)
    .filter(bool)
)


@given(filters, topics)
def test_they_match_what_they_match_elsewhere(filter: str, topic: str) -> None:
    assert is_filter(filter)
    if topic.startswith("$") and filter[0] in "+#":
        assert not matches(filter, topic)
    else:
        assert matches(filter, topic) == topic_matches_sub(filter, topic)


@pytest.mark.parametrize("text", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a/b+/c", "##", "/" * 40])
def test_what_is_no_filter(text: str) -> None:
    assert not is_filter(text)


@pytest.mark.parametrize("text", ["", "a/+", "#", "a#b", "/" * 40])
def test_what_is_no_topic(text: str) -> None:
    assert not is_topic(text)
