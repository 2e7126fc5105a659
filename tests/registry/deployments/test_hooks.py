from __future__ import annotations

import pytest

from registry import Workspace
from registry.deployments import Hooks, ServiceSettings
from registry.deployments.settings import check_service, read_service
from registry.errors import InvalidNameError

ALL = Hooks(
    before_webhook="https://ops.example/before?team=a",
    before_command=("/bin/true", "--for", "web"),
    after_webhook="http://[::1]:8080/after",
    after_command=("/bin/true",),
    timeout_s=20.0,
)


def test_hooks_are_kept_as_they_were_declared(made: Workspace) -> None:
    service = ServiceSettings(hooks=ALL, external_scale="https://scaler.example/web")
    made.deployments.create("web", "adder:1", service=service, actor="a")
    assert made.deployments.get("web").service == service
    found = made.deployments.update("web", service=ServiceSettings(), actor="a")
    assert found.service.hooks == Hooks()
    assert not found.service.hooks.has_before
    assert not found.service.hooks.has_after
    assert ALL.has_before
    assert ALL.has_after
    assert "hooks" in made.deployments.ledger("web")[-1].detail


def test_a_record_from_before_there_were_hooks_has_none() -> None:
    assert read_service('{"least_replicas":2,"most_replicas":3}').hooks == Hooks()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ops.example",
        "/before",
        "file:///etc/passwd",
        "ftp://ops.example/",
        "gopher://ops.example/",
        "unix:///run/docker.sock",
        "http://",
        "http:///before",
        "http://ops.example:0/",
        "http://ops.example:99999/",
        "http://ops.example:no/",
        "http://ops.example/a b",
        "http://ops.example/a\r\nX-Evil: 1",
        "http://ops.example/\x00",
        "http://öps.example/",
        "http://ada:secret@ops.example/",
        "http://ops.example/#part",
        "http://[::1",
        "http://ops.example/" + "a" * 2048,
    ],
)
def test_what_is_no_url_of_a_receiver_is_refused(url: str) -> None:
    for service in (
        ServiceSettings(hooks=Hooks(before_webhook=url)),
        ServiceSettings(hooks=Hooks(after_webhook=url)),
        ServiceSettings(external_scale=url),
    ):
        with pytest.raises(InvalidNameError) as refused:
            check_service(service)
        assert str(refused.value).isprintable()
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "hooks",
    [
        Hooks(before_command=("true",)),
        Hooks(after_command=("./true",)),
        Hooks(after_command=("/bin/true", "a\0b")),
        Hooks(after_command=("/bin/true", "\udcff")),
        Hooks(after_command=("/bin/true", "a" * 4097)),
        Hooks(after_command=("/bin/true", *("a",) * 64)),
        Hooks(timeout_s=0),
        Hooks(timeout_s=-1),
        Hooks(timeout_s=301),
        Hooks(timeout_s=float("nan")),
        Hooks(timeout_s=float("inf")),
    ],
)
def test_hooks_that_make_no_sense_are_refused(hooks: Hooks) -> None:
    with pytest.raises(InvalidNameError):
        check_service(ServiceSettings(hooks=hooks))
