"""What can be declared, and that nothing else gets near HAProxy's configuration."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.balance import (
    Balance,
    Health,
    Keys,
    Limits,
    Replica,
    Service,
    Version,
    configuration,
    key_digest_of,
)
from runtime.balance.errors import InvalidBalanceError
from runtime.balance.layout import arranged

HOSTILE = [
    "",
    " ",
    "a b",
    "a\nbackend evil",
    "a\r\nglobal",
    "a\x00",
    "a\t",
    'a"',
    "a'",
    "a\\",
    "a#",
    "a;show info",
    "a%[env(PATH)]",
    "a$HOME",
    "${HOME}",
    "a/b",
    "a/../b",
    "..",
    "a.b",
    "a.again",
    "_metrics",
    "-a",
    "a-",
    "é",
    "а",  # noqa: RUF001 Cyrillic
    "x" * 64,
    "A",
    "a\u2028b",
    "a\n",
    "１",  # noqa: RUF001
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_that_is_no_label_is_refused(text: str) -> None:
    with pytest.raises(InvalidBalanceError) as refusal:
        Service(text, 8000)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "1.2.3.4 ", "1.2.3.4\n", "::1%eth0", 1])
def test_an_address_that_is_none_is_refused(text: Any) -> None:
    with pytest.raises(InvalidBalanceError, match="no IP address"):
        Replica(text, 80)
    with pytest.raises(InvalidBalanceError, match="no IP address"):
        Service("a", 80, address=text)
    with pytest.raises(InvalidBalanceError, match="no IP address"):
        Balance(metrics_address=text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Replica("127.0.0.1", 0),
        lambda: Replica("127.0.0.1", 65536),
        lambda: Replica("127.0.0.1", True),
        lambda: Replica("127.0.0.1", "80"),  # type: ignore[arg-type]
        lambda: Replica("127.0.0.1", 80, weight=0),
        lambda: Replica("127.0.0.1", 80, weight=257),
        lambda: Replica("127.0.0.1", 80, is_draining=1),  # type: ignore[arg-type]
        lambda: Version("v 1", 1),
        lambda: Version("v\n", 1),
        lambda: Version("v1", -1),
        lambda: Version("v1", 1, max_requests=-1),
        lambda: Version("v1", 0, copies=10_001),
        lambda: Version("v1", 1, copies=1),
        lambda: Service("a", 80, versions=(Version("v1", 0, copies=1),)),
        lambda: Version("v1", 1, (Replica("127.0.0.1", 80), Replica("127.0.0.1", 80))),
        lambda: Service("a", 80, sticky_header="X Y"),
        lambda: Service("a", 80, sticky_header="X)\n"),
        lambda: Service("a", 80, versions=(Version("v1", 1), Version("v1", 1))),
        lambda: Service("a", 80, versions=(Version("v1", 0),)),
        lambda: Health(path="readyz"),
        lambda: Health(path="/ready z"),
        lambda: Health(path="/?a"),
        lambda: Health(interval_s=float("nan")),
        lambda: Health(fall=0),
        lambda: Limits(queue_s=float("inf")),
        lambda: Limits(hold_s=60, answer_s=60),
        lambda: Limits(connections=0),
        lambda: Balance((Service("a", 80), Service("a", 81))),
        lambda: Balance((Service("a", 80), Service("b", 80))),
        lambda: Balance((Service("a", 80),), metrics_port=80),
        lambda: Keys("k" * 64, "0" * 64),
        lambda: Keys("0" * 64, "0" * 64),
        lambda: Keys("0" * 64 + "\n", "1" * 64),
        lambda: key_digest_of("short"),
        lambda: key_digest_of("k" * 40 + " "),
        lambda: key_digest_of("é" * 40),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_line(make: Any) -> None:
    with pytest.raises(InvalidBalanceError) as refusal:
        make()
    assert len(str(refusal.value).splitlines()) == 1


def test_a_refused_key_is_not_shown() -> None:
    with pytest.raises(InvalidBalanceError) as refusal:
        Keys("a secret of some kind", "0" * 64)
    assert "secret" not in str(refusal.value)


texts = st.text(max_size=20) | st.sampled_from(HOSTILE)


@settings(deadline=None, max_examples=50)
@given(name=texts, version=texts, header=texts, path=texts, address=texts)
def test_any_text_is_refused_or_changes_no_line_but_its_own(
    name: str, version: str, header: str, path: str, address: str
) -> None:
    fields: dict[str, Any] = {}
    fields["name"] = kept(lambda: Service(name, 80).name, "a")
    fields["sticky_header"] = kept(
        lambda: Service("a", 80, sticky_header=header).sticky_header, "X-Session"
    )
    fields["address"] = kept(lambda: Replica(address, 80).address, "127.0.0.1")
    fields["versions"] = (Version(kept(lambda: Version(version, 1).name, "v1"), 1),)
    fields["health"] = Health(kept(lambda: Health(path).path, "/readyz"))
    text = configuration.configuration(arranged(Balance((Service(port=80, **fields),))))
    plain = Service("a", 80, sticky_header="X-Session", versions=(Version("v1", 1),))
    usual = configuration.configuration(arranged(Balance((plain,))))
    assert words(text) == words(usual)
    assert text.isascii()


def kept(make: Any, otherwise: str) -> Any:
    try:
        return make()
    except InvalidBalanceError:
        return otherwise


def words(text: str) -> list[tuple[str, int]]:
    """Each line's keyword and number of words."""
    assert re.fullmatch(r"[\x20-\x7e\n]*", text)
    return [(line.split(" ")[0], len(line.split(" "))) for line in text.splitlines()]
