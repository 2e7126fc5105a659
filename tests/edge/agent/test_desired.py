from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.agent.desired import consider
from edge.errors import InvalidMessageError
from edge.messages.codec import encode
from edge.messages.desired import Desired, Limits, Module, Probe, Restart, Settings, Update, Window

DIGEST = "sha256:" + "a" * 64


def module(**changes: object) -> Module:
    return msgspec.structs.replace(Module("m", "m:1", DIGEST), **changes)


def desired(*modules: Module, version: int = 5, **settings: object) -> bytes:
    return encode(
        Desired(1, "a", version, modules, msgspec.structs.replace(Settings(), **settings))
    )


def test_only_what_is_newer_is_followed() -> None:
    payload = desired(module())
    found = consider(payload, "a", 4)
    assert found is not None
    assert found.version == 5
    assert consider(payload, "a", 5) is None
    assert consider(payload, "a", 6) is None


def test_of_another_device_is_refused() -> None:
    with pytest.raises(InvalidMessageError, match="device"):
        consider(desired(), "b", 0)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (module(name="../../etc"), "name"),
        (module(name="a/b"), "name"),
        (module(name="a..b"), "name"),
        (module(name=""), "name"),
        (module(name="A\n"), "name"),
        (module(digest="sha256:../x"), "digest"),
        (module(digest="latest"), "digest"),
        (module(port=0), "port"),
        (module(port=70_000), "port"),
        (module(env={"A=B": "x"}), "env"),
        (module(env={"A": "x\0y"}), "env"),
        (module(args=("a\0",)), "args"),
        (module(probe=Probe(path="readyz")), "probe.path"),
        (module(probe=Probe(path="/x HTTP/1.1\r\n")), "probe.path"),
        (module(probe=Probe(interval_s=0)), "probe"),
        (module(restart=Restart(backoff_s=0)), "restart"),
        (module(restart=Restart(backoff_s=9, max_backoff_s=1)), "restart"),
        (module(update=Update(start_s=0)), "update"),
        (module(update=Update(shadow_agreement=2)), "update.shadow_agreement"),
        (module(update=Update(windows=(Window(0, 2000),))), "window"),
        (module(limits=Limits(memory_bytes=-1)), "limits"),
    ],
)
def test_a_module_that_cannot_be_is_refused(bad: Module, word: str) -> None:
    with pytest.raises(InvalidMessageError, match=word.replace(".", r"\.")) as caught:
        consider(desired(bad), "a", 0)
    assert "\n" not in str(caught.value)


def test_two_modules_of_one_name_or_port_are_refused() -> None:
    with pytest.raises(InvalidMessageError, match="name m"):
        consider(desired(module(), module()), "a", 0)
    with pytest.raises(InvalidMessageError, match="port 80"):
        consider(desired(module(port=80), module(name="n", port=80)), "a", 0)


def test_too_many_modules_and_bad_settings_are_refused() -> None:
    with pytest.raises(InvalidMessageError, match="256"):
        consider(desired(*(module(name=f"m{n}") for n in range(257))), "a", 0)
    with pytest.raises(InvalidMessageError, match="settings"):
        consider(desired(pull_windows=(Window(-1, 5),)), "a", 0)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_without_another_error(data: bytes) -> None:
    with pytest.raises(InvalidMessageError):
        consider(data, "a", 0)


def test_another_version_of_the_format_is_refused() -> None:
    with pytest.raises(InvalidMessageError, match="version 2"):
        consider(encode(Desired(2, "a", 9)), "a", 0)
