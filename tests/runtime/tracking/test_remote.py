"""Runs in the workspace of a service, which is sometimes away."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from registry.errors import ImmutableError, InvalidSourceError, NotFoundError
from registry.tracking import Tracking
from registry.tree import SourceFile
from runtime.errors import BadValueError, ServiceError
from runtime.remote.place import parse_place
from runtime.tracking import Run, remote
from runtime.tracking import run as run_module
from runtime.tracking.portions import portions
from runtime.tracking.sending import resend
from runtime.tracking.service import Service
from runtime.tracking.unsent import Unsent
from runtime.tracking.uploading import uploaded
from tests.runtime.remote.served import Served, serving


class Line:
    """The way to the service, which a test cuts: ``is_away`` lets nothing through, of ``losing``
    requests the answers are lost."""

    def __init__(self) -> None:
        self.is_away = False
        self.losing = 0
        self.requests: list[tuple[str, str]] = []


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    found = Line()
    real = Service._exchanged

    def exchanged(self: Service, method: str, path: str, *rest: object) -> bytes:
        if found.is_away:
            raise ServiceError("the service is away", was_not_sent=True)
        found.requests.append((method, path))
        data = real(self, method, path, *rest)  # type: ignore[arg-type]
        if found.losing and method != "GET":
            found.losing -= 1
            self._hang_up()
            raise ServiceError("the answer is lost", is_passing=True)
        return data

    monkeypatch.setattr(Service, "_exchanged", exchanged)
    monkeypatch.setattr(remote, "PAUSE_S", 0.0)
    monkeypatch.setattr(remote, "RETRY_S", 0.01)
    monkeypatch.setattr(remote, "END_WAIT_S", 0.05)
    monkeypatch.setattr(run_module, "END_RETRY_S", 0.01)
    monkeypatch.setattr("runtime.tracking.writer.RETRY_S", (0.01,))
    return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with serving({"default": folder / "ws", "team": folder / "team"}) as found:
        yield found


@pytest.fixture
def url(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("INFERRY_WORKSPACE", served.url)
    return served.url


@pytest.fixture
def tracking(served: Served) -> Tracking:
    """The service's own."""
    return served.local().tracking


def values_of(tracking: Tracking, run: Run, key: str) -> list[float]:
    return [point.value for point in tracking.metrics.history(run.id, key)]


def test_a_run_by_url_is_as_one_here(url: str, tracking: Tracking, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    with Run("a/b", name="n", params={"depth": 3}, tags={"t": "1"}, properties={"p": "2"}) as run:
        (tmp_path / "outputs/model.txt").write_text("weights")
        for value in (0.5, math.nan, math.inf, -math.inf):
            run.log("loss", value)
        run.log("loss", 1.0, step=7)
        run.log_row("rows", a=1)
        run.log_row("rows", a=2)
        run.log_list("list", [1, 2])
        run.note("half way\nmore")
        run.tag("later", "x")
        run.remove_tags("t")
        with run.child("fold") as child:
            child.log("x", 1.0)
        assert run.reference == "a/b:1"
        assert run.get_metrics()["rows"] == {"a": [1, 2]}
        assert run.get_params() == {"depth": "3"}
        model = run.register_model("by-url", "outputs/model.txt")
    found = tracking.runs.get(run.id)
    assert (found.status, found.name, found.params) == ("finished", "n", {"depth": "3"})
    assert (found.tags, found.properties) == ({"later": "x"}, {"p": "2"})
    values = values_of(tracking, run, "loss")
    assert math.isnan(values[1])
    assert [values[0], *values[2:]] == [0.5, math.inf, -math.inf, 1.0]
    assert tracking.metrics.history(run.id, "loss")[-1].step == 7
    assert found.environment is not None
    assert [f.path for f in tracking.files.list(run.id)] == ["outputs/model.txt"]
    assert tracking.files.read(run.id, "outputs/model.txt") == b"weights"
    lines = tracking.log(run.id).decode().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["half way", "more"]
    assert [c.id for c in tracking.runs.children(run.id)] == [child.id]
    assert str(model.reference).startswith("by-url:")
    assert [r.id for r in Run.search("a/b", "params.depth = '3'")] == [run.id]


def test_another_workspace_of_the_service_is_its_own(url: str, served: Served) -> None:
    with Run("other", workspace=f"{url}/team") as run:
        run.log("x", 1.0)
    assert served.local("team").tracking.runs.get(run.id).status == "finished"
    with pytest.raises(NotFoundError):
        served.local().tracking.runs.get(run.id)


def test_what_was_flushed_is_on_the_services_disk(url: str, tracking: Tracking) -> None:
    with Run("flushed") as run:
        for number in range(5):
            run.log("x", float(number))
            assert run.flush()
            assert len(values_of(tracking, run, "x")) == number + 1


def test_an_answer_that_is_lost_doubles_nothing(
    url: str, tracking: Tracking, line: Line, tmp_path: Path
) -> None:
    line.losing = 1
    with Run("lost", params={"a": 1}) as run:
        for number in range(6):
            line.losing = 2
            run.log("x", float(number))
            run.note(f"line {number}")
            while not run.flush():
                pass
        line.losing = 1
        file = tmp_path / "f.txt"
        file.write_text("x")
        run.upload_file("f.txt", file)
        line.losing = 1
    assert values_of(tracking, run, "x") == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(tracking.log(run.id).splitlines()) == 6
    assert tracking.runs.get(run.id).status == "finished"
    assert [f.path for f in tracking.files.list(run.id)] == ["f.txt"]
    assert (
        len(tracking.runs.search(experiments=[tracking.runs.get(run.id).experiment_id]).runs) == 1
    )


def test_work_goes_on_while_the_service_is_away(
    url: str, tracking: Tracking, line: Line, tmp_path: Path
) -> None:
    with Run("away", params={"a": 1}) as run:
        run.log("x", 0.0)
        assert run.flush()
        line.is_away = True
        run.log("x", 1.0)
        assert not run.flush()
        run.tag("while", "away")
        run.tag("while", "still away")
        run.note("nobody hears")
        run.upload_file("f.txt", (file := tmp_path / "f.txt", file.write_text("bytes"))[0])
        file.write_text("others")
        line.is_away = False
        run.log("x", 2.0)
        assert run.flush()
        assert not list((tmp_path / "state").rglob("requests"))
    assert values_of(tracking, run, "x") == [0.0, 1.0, 2.0]
    assert tracking.runs.get(run.id).tags == {"while": "still away"}
    assert b"nobody hears" in tracking.log(run.id)
    assert tracking.files.read(run.id, "f.txt") == b"bytes"
    assert list((tmp_path / "state/inferry/unsent").iterdir()) == []


def test_a_run_begins_when_the_service_is_back(
    url: str, tracking: Tracking, line: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    line.is_away = True
    with Run("late", params={"a": 1}, tags={"t": "1"}) as run:
        assert not run.is_offline
        run.log("x", 1.0)
        assert run.record().number == 0
        child = run.child("fold")
        child.log("y", 2.0)
        line.is_away = False
        assert child.flush()
        child.end()
    assert values_of(tracking, run, "x") == [1.0]
    assert tracking.runs.get(run.id).params == {"a": "1"}
    assert [c.id for c in tracking.runs.children(run.id)] == [child.id]
    assert "the run waits for it" in capsys.readouterr().err


def test_what_cannot_be_sent_is_kept_and_sent_later(
    url: str,
    tracking: Tracking,
    line: Line,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.tracking.writer.BATCH", 100)
    (tmp_path / "outputs").mkdir()
    run = Run("unsent")
    run.log("x", 0.0)
    assert run.flush()
    line.losing = 1
    run.log("x", 1.0)
    run.flush()
    line.is_away = True
    for number in range(2, 1000):
        run.log("x", float(number))
    run.tag("t", "1")
    (tmp_path / "outputs/f.txt").write_text("bytes")
    assert not run.fail("it was cut")
    said = capsys.readouterr().err
    (folder,) = (tmp_path / "state/inferry/unsent").iterdir()
    assert f"send it with: inferry run resend {folder}" in said
    line.is_away = False
    for _ in range(2):  # as if it had been cut at its end the first time
        monkeypatch.setattr("shutil.rmtree", lambda folder: None)
        assert resend(folder, os.environ, pytest.fail) == run.id
    monkeypatch.undo()
    assert values_of(tracking, run, "x") == [float(number) for number in range(1000)]
    found = tracking.runs.get(run.id)
    assert (found.status, found.cause, found.tags) == ("failed", "it was cut", {"t": "1"})
    assert tracking.files.read(run.id, "outputs/f.txt") == b"bytes"


def test_a_run_that_never_began_is_kept_whole(
    url: str, tracking: Tracking, line: Line, tmp_path: Path
) -> None:
    line.is_away = True
    run = Run("never", params={"a": 1})
    child = run.child()
    child.log("y", 1.0)
    assert not child.end()
    run.log("x", 1.0)
    assert not run.end()
    line.is_away = False
    for folder in sorted((tmp_path / "state/inferry/unsent").iterdir()):
        resend(folder, os.environ, pytest.fail)
    assert values_of(tracking, run, "x") == [1.0]
    assert values_of(tracking, child, "y") == [1.0]
    assert tracking.runs.get(run.id).status == "finished"
    assert tracking.runs.get(run.id).params == {"a": "1"}
    assert tracking.runs.get(child.id).parent == run.id
    with pytest.raises(BadValueError):
        resend(tmp_path, os.environ, pytest.fail)


def test_what_a_service_will_not_take_stays_where_it_is(url: str, tracking: Tracking) -> None:
    run = tracking.runs.create("gone")
    log = {"client": "a", "number": 1, "points": [["x", 1.0, None, 1]]}
    tag = {"set": {"t": "1"}, "remove": []}
    folder = Unsent(run.id, url).keep(
        [
            ("POST", f"/runs/{'0' * 32}/log", log),
            ("PATCH", f"/runs/{run.id}/tags", tag),
        ]
    )
    said: list[str] = []
    with pytest.raises(BadValueError, match="all but 1"):
        resend(folder, os.environ, said.append)
    assert "there is no run" in said[0]
    assert folder.is_dir()
    assert tracking.runs.get(run.id).tags == {"t": "1"}
    (folder / "requests").write_bytes(b"\xff" * 20)
    with pytest.raises(BadValueError, match="damaged"):
        resend(folder, os.environ, pytest.fail)


def test_a_run_may_insist_on_the_service(url: str, line: Line) -> None:
    line.is_away = True
    with pytest.raises(ServiceError):
        Run("strict", allow_offline=False)
    with pytest.raises(ServiceError):
        Run.get("strict:1")
    line.is_away = False
    run = Run("strict", allow_offline=False)
    run.log("x", 1.0)
    assert run.flush()
    line.is_away = True
    run.log("x", 2.0)
    with pytest.raises(ServiceError):
        run.flush()
    with pytest.raises(ServiceError):
        run.tag("t", "1")
    with pytest.raises(ServiceError):
        run.child()
    with pytest.raises(ServiceError):
        run.end()


def test_a_mistake_raises_whoever_keeps_the_run(url: str) -> None:
    with Run("mistakes", params={"a": 1}) as run, pytest.raises(ImmutableError):
        run.log_param("a", 2)


def test_a_run_that_is_there_is_looked_at_and_not_ended(url: str, tracking: Tracking) -> None:
    with Run("looked") as run:
        other = Run.get(run.id)
        other.log("x", 1.0)
        other.end()
        assert tracking.runs.get(run.id).status == "running"
        tracking.runs.cancel(run.id)
        assert run._keeper.beat()
    with pytest.raises(NotFoundError):
        Run.get("nothing:1")


def test_a_submitted_script_finds_its_run_by_url(
    url: str, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted = tracking.runs.create("submitted")
    monkeypatch.setenv("INFERRY_RUN", submitted.id)
    with Run("submitted") as run:
        run.log("x", 1.0)
    assert run.id == submitted.id
    assert tracking.runs.get(run.id).status == "running"
    assert Run.get_context().id == submitted.id


def test_many_values_wait_in_a_file(
    url: str, tracking: Tracking, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.tracking.spool.CHUNK", 100)
    monkeypatch.setattr("runtime.tracking.writer.BATCH", 100)
    with Run("spooled") as run:
        run.flush()
        line.is_away = True
        run._writer._capacity = 50
        for number in range(1234):
            run.log("x", float(number))
            if number % 100 == 0:
                run.log_list("l", [number])
        assert run._writer.lost == 0
        assert len(run._writer._queue) <= 50 + 100 + 100  # a batch and a part of the file
        line.is_away = False
        assert run.flush()
        run.log("x", 1234.0)
    assert values_of(tracking, run, "x") == [float(number) for number in range(1235)]
    assert len(tracking.metrics.values(run.id, "l")) == 13


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_process_that_is_forked_off_logs_too(url: str, tracking: Tracking) -> None:
    with Run("forked") as run:
        run.log("x", 0.0)
        assert run.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                run.log("y", 1.0)
                code = 0 if run.flush() else 2
            finally:
                os._exit(code)
        run.log("x", 1.0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert values_of(tracking, run, "x") == [0.0, 1.0]
    assert values_of(tracking, run, "y") == [1.0]


def test_a_file_goes_on_where_it_was_cut(
    served: Served, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "big").write_bytes(os.urandom(3 << 20))
    service = Service(parse_place(url))
    cut, sent = [1 << 20, 2 << 20], []
    real = Service.send

    def send(
        self: Service, path: str, given: Mapping[str, Any], body: Iterator[bytes], size: int
    ) -> Any:
        sent.append(given["offset"])
        if not cut:
            return real(self, path, given, body, size)
        some = cut.pop()
        part = (each for each in (next(body)[:some],))
        if self._connection is not None and self._connection.sock is not None:
            self._connection.sock.settimeout(0.5)
        with suppress(ServiceError):  # it says more than it sends
            real(self, path, given, part, size)
        raise ServiceError("cut", is_passing=True)

    monkeypatch.setattr(Service, "send", send)
    (named,) = uploaded(service, {"big": SourceFile("big", tmp_path, 3 << 20)})
    assert named["path"] == "big"
    assert sent[0] == 0
    assert sent[-1] > 0
    (tmp_path / "big").write_bytes(b"x")
    with pytest.raises(InvalidSourceError):
        uploaded(service, {"big": SourceFile("big", tmp_path, 3 << 20)})
    service.close()


def test_a_token_goes_to_no_place_that_others_read(tmp_path: Path) -> None:
    away = {"INFERRY_TOKEN": "ify_x", "HOME": str(tmp_path)}
    with pytest.raises(BadValueError):
        Service.of_user("http://example.com", away)
    Service.of_user("http://example.com", {**away, "INFERRY_INSECURE_HTTP": "1"})
    Service.of_user("https://example.com", away)
    with pytest.raises(BadValueError):
        Service.of_user("https://example.com", {**away, "INFERRY_TOKEN": "a\nb"})


def test_only_the_authority_that_is_named_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    cert, key, ca = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    monkeypatch.setenv("HOME", str(tmp_path))
    with serving({"default": tmp_path / "ws"}, cert=cert, key=key) as served:
        tokens = served.site.distributions["default"].tokens
        monkeypatch.setenv("INFERRY_TOKEN", tokens.create("ada", "contributor", None))
        with pytest.raises(ServiceError, match="INFERRY_CA"):
            Run("tls", workspace=served.url, allow_offline=False)
        monkeypatch.setenv("INFERRY_CA", str(ca))
        with Run("tls", workspace=served.url, allow_offline=False) as run:
            run.log("x", 1.0)
        assert served.local().tracking.runs.get(run.id).status == "finished"
        monkeypatch.setenv("INFERRY_TOKEN", tokens.create("bob", "reader", None))
        with pytest.raises(ServiceError, match="bob is a reader"):
            Run("tls", workspace=served.url, allow_offline=False)
        assert Run("tls", workspace=served.url, outputs=None).is_offline
        monkeypatch.setenv("INFERRY_TOKEN", "ify_" + "x" * 43)
        with pytest.raises(ServiceError, match="inferry login"):
            Run("tls", workspace=served.url, allow_offline=False)
        monkeypatch.setenv("INFERRY_TOKEN", tokens.create("eve", "owner", None))
        with pytest.raises(ServiceError, match="workspace"):
            Run("tls", workspace=f"{served.url}/nowhere", allow_offline=False)


def test_a_request_never_is_larger_than_a_service_takes() -> None:
    points = [("\u20ac" * 250, 0.5, n, 2**62) for n in range(50_000)]
    values = [("k", "list", 1, "x" * (4 << 20))] * 5
    parts = list(portions(points, values))
    assert [p for some, _ in parts for p in some] == points
    assert [v for _, some in parts for v in some] == values
    assert max(len(msgspec.msgpack.encode(part)) for part in parts) < 15 << 20
    assert list(portions([], [])) == []


def test_nobody_listens(tmp_path: Path) -> None:
    service = Service(parse_place("http://127.0.0.1:9"))
    with pytest.raises(ServiceError) as caught:
        service.ask("GET", "/runs/x", {})
    assert caught.value.was_not_sent
