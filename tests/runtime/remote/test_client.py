"""The client: what it tries again, and what it says when the service is away or refuses."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest
import trustme

import registry.errors
from registry.errors import InvalidNameError, NotFoundError, WorkspaceBusyError
from registry.records import Model
from runtime.errors import BadValueError, ServiceError
from runtime.remote import RemoteWorkspace, parse_place
from runtime.remote.client import WAITS_S, ServiceClient
from runtime.remote.logins import Logins, token_for
from runtime.workspace_service.faults import document_of
from tests.ports import free_port
from tests.runtime.remote.served import Served, serving

MODEL = Model("m", 1, "", "2026-01-01T00:00:00Z", "sha256:" + "0" * 64, 0)
Answering = Callable[[httpx.Request], httpx.Response]


class Fake:
    """A service that answers from a list; what it was asked is in ``asked``."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.asked: list[httpx.Request] = []
        self.waited: list[float] = []
        self._answers = list(answers)

    def workspace(
        self, url: str = "https://host/team", token: str | None = None
    ) -> RemoteWorkspace:
        client = ServiceClient(
            parse_place(url),
            token=token,
            transport=httpx.MockTransport(self._answer),
            wait=self.waited.append,
        )
        return RemoteWorkspace(url, client=client)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        found = self._answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def _model() -> httpx.Response:
    return httpx.Response(200, content=msgspec.msgpack.encode(MODEL))


def _error(status: int, error: Exception) -> httpx.Response:
    return httpx.Response(status, json=document_of(error))


def test_what_only_reads_is_tried_again() -> None:
    fake = Fake(
        httpx.ReadError("cut"),
        _error(503, WorkspaceBusyError("busy")),
        httpx.ReadTimeout("slow"),
        _model(),
    )
    assert fake.workspace().models.get("m") == MODEL
    assert len(fake.asked) == 4
    assert fake.waited == list(WAITS_S[:3])


def test_what_changes_something_is_tried_again_only_if_it_was_not_sent() -> None:
    fake = Fake(httpx.ConnectError("[Errno 111] Connection refused"), _model())
    assert fake.workspace().models.tag("m", set={"a": "1"}) == MODEL
    for answer in (httpx.ReadError("cut"), _error(503, WorkspaceBusyError("busy"))):
        fake = Fake(answer)
        with pytest.raises((ServiceError, WorkspaceBusyError)):
            fake.workspace().models.tag("m", set={"a": "1"})
        assert len(fake.asked) == 1


def test_it_gives_up_in_the_end_and_says_what_to_do() -> None:
    fake = Fake(*[httpx.ConnectError("[Errno 111] Connection refused")] * 10)
    with pytest.raises(ServiceError, match=r"nothing listens at https://host; .*registry serve"):
        fake.workspace().models.get("m")
    assert len(fake.asked) == len(WAITS_S) + 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectError("[Errno -2] Name or service not known"), "no host"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self signed"), "INFERRY_CA"),
        (httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER]"), "does not speak TLS"),
        (httpx.ConnectTimeout("x"), "does not answer"),
        (httpx.RemoteProtocolError("Server disconnected"), "cut the connection"),
    ],
)
def test_what_the_network_does_is_one_clear_line(error: Exception, words: str) -> None:
    with pytest.raises(ServiceError, match=words) as raised:
        Fake(*[error] * 10).workspace().models.get("m")
    assert "\n" not in str(raised.value)


def test_what_is_no_service_is_said() -> None:
    for answer in (
        httpx.Response(200, text="<html>hello</html>"),
        httpx.Response(404, text="<html>nothing</html>"),
        httpx.Response(302, headers={"Location": "https://evil/"}),
        httpx.Response(500, json={"error": "no object"}),
    ):
        fake = Fake(answer)
        with pytest.raises(ServiceError, match="https://host answers"):
            fake.workspace(token="ify_x").models.get("m")
        assert len(fake.asked) == 1  # no redirect is followed


def test_every_error_comes_back_as_the_class_that_it_was() -> None:
    kinds = [
        kind
        for kind in vars(registry.errors).values()
        if isinstance(kind, type) and issubclass(kind, registry.errors.RegistryError)
    ]
    answers = []
    for kind in kinds:
        error = kind.__new__(kind)
        Exception.__init__(error, "the words")
        for name, value in {"what": "model m:1", "users": ("i:1",), "digest": "d"}.items():
            setattr(error, name, value)
        answers.append(_error(400, error))
    remote = Fake(*answers).workspace()
    for kind in kinds:
        with pytest.raises(registry.errors.RegistryError, match="the words") as raised:
            remote.models.get("m")
        assert type(raised.value) is kind


def test_one_who_is_not_let_in_is_told_to_log_in() -> None:
    refused = httpx.Response(401, json={"error": {"code": "unauthorized", "message": "no"}})
    with pytest.raises(ServiceError, match="inferry login https://host/team"):
        Fake(refused).workspace().models.get("m")


def test_the_path_names_the_workspace_and_quotes_what_it_is_asked_for() -> None:
    for name, path in (("b?c#d%", "b%3Fc%23d%25"), ("..", "%2e%2e"), (".", "%2e")):
        fake = Fake(_error(404, NotFoundError("no")))
        with pytest.raises(NotFoundError):
            fake.workspace().models.get(name)
        found = fake.asked[0].url.raw_path.decode()
        assert found == f"/api/v1/workspaces/team/models/{path}"
    for name in ("", "a/../b", "/", ":/"):
        with pytest.raises(InvalidNameError):
            Fake().workspace().models.get(name)


def test_a_token_is_not_sent_in_plain_text_to_another_machine() -> None:
    with pytest.raises(BadValueError, match="plain text"):
        ServiceClient(parse_place("http://host:5000"), token="ify_x")
    for url, plain in (("http://127.0.0.1:1", False), ("http://host:5000", True)):
        ServiceClient(parse_place(url), token="ify_x", may_be_plain=plain).close()


@pytest.mark.parametrize(
    "url",
    ["http://", "https://user:secret@host", "https://host/a/b", "https://host?x=1", "https://h/../x",
     "https://host:99999", "https://[::1", "https://hóst/", "ftp://host", "https://host#x"],
)  # fmt: skip
def test_what_is_no_url_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(BadValueError) as refused:
        parse_place(url)
    assert "secret" not in str(refused.value)


def test_a_url_names_the_service_and_perhaps_the_workspace() -> None:
    assert str(parse_place("HTTPS://Host:5000/")) == "https://host:5000"
    assert parse_place("https://host/team/").workspace == "team"
    assert parse_place("http://[::1]:80").is_here
    assert parse_place("http://10.0.0.1").is_plain


def test_logins_are_kept_for_this_user_only(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    service, team = parse_place("https://host"), parse_place("https://host/team")
    logins = Logins.of_user(environment)
    logins.put(service, "one")
    assert token_for(team, environment) == "one"  # of the service, where there is none of its own
    logins.put(team, "two")
    assert (token_for(service, environment), token_for(team, environment)) == ("one", "two")
    assert token_for(team, {**environment, "INFERRY_TOKEN": "three"}) == "three"
    assert token_for(parse_place("https://other"), environment) is None
    path = tmp_path / ".config" / "inferry" / "tokens.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["tokens.json"]
    assert logins.remove(team)
    assert not logins.remove(team)
    path.write_text("{")
    with pytest.raises(BadValueError, match="log in again"):
        token_for(team, environment)


def test_a_service_that_is_away_is_one_line(tmp_path: Path) -> None:
    place = parse_place(f"http://127.0.0.1:{free_port()}")
    client = ServiceClient(place, wait=lambda _: None)
    with RemoteWorkspace(str(place), client=client) as remote:
        with pytest.raises(ServiceError, match="nothing listens"):
            remote.models.list()
        with pytest.raises(BadValueError, match="folder"):
            _ = remote.root


def test_a_service_that_hangs_up_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.01)
        place = parse_place(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def hang_up(_: float) -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except TimeoutError:
                    return

        client = ServiceClient(place, wait=hang_up)
        client._http.timeout = httpx.Timeout(0.2)
        with client, pytest.raises(ServiceError, match=r"cut|stopped"):
            client.info()


def test_only_the_authority_that_is_named_is_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    cert, key, ca = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    home = {"HOME": str(tmp_path)}
    with serving({"default": tmp_path / "ws"}, cert=cert, key=key) as served:
        with ServiceClient.of_user(served.url, {**home, "INFERRY_CA": str(ca)}) as client:
            assert client.checked_info().role == "owner"
        with (
            ServiceClient.of_user(served.url, home) as client,
            pytest.raises(ServiceError, match=r"not trusted.*INFERRY_CA"),
        ):
            client.info()
        plain = served.url.replace("https:", "http:")
        with (
            ServiceClient(parse_place(plain), wait=lambda _: None) as client,
            pytest.raises(ServiceError),
        ):
            client.info()
    with pytest.raises(BadValueError, match="INFERRY_CA"):
        ServiceClient.of_user("https://host", {**home, "INFERRY_CA": str(tmp_path / "none")})


def test_roles_reach_the_client_as_they_are(served: Served) -> None:
    with served.remote() as remote:
        info = remote.client.info()
        assert (info.who, info.role, info.default) == ("local", "owner", "default")
        assert remote.settings.base == "none"
        remote.settings.set_base("python:3.12-slim")
        assert served.local().settings.base == "python:3.12-slim"
        with pytest.raises(registry.errors.BaseImageError):
            remote.settings.set_base("/etc/passwd")
        remote.settings.set_base("none")
        assert remote.purge(dry_run=True) == served.local().purge(dry_run=True)
        newest = remote.audit.list(limit=1)[0]
        assert (newest.route, newest.status) == ("upkeep.purge", 200)
        assert served.local().audit.list(limit=1) == [newest]
