"""What others may have written into a workspace, and requests that no browser sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from registry import Workspace
from runtime.portal.app import MAX_BODY_BYTES, PortalApp
from runtime.portal.words import shown
from tests.runtime.portal.browser_like import Visitor, portal
from tests.runtime.portal.content import Content, png
from tests.runtime.workspace_service.asked import ask

HEX = re.compile(r"[0-9a-f]{16,}")


class Tags(HTMLParser):
    """What a browser would see of a page: its elements, and their attributes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def content(hostile: Content) -> Content:
    return hostile


@pytest.fixture(scope="module")
def app(hostile: Content) -> Iterator[PortalApp]:
    made = portal(hostile.workspace.root)
    yield made
    made.close()


def test_what_is_written_into_a_workspace_is_text_on_every_page(
    app: PortalApp, content: Content
) -> None:
    visitor, seen = Visitor(app), 0
    for path in content.pages:
        answer = visitor.get(path)
        assert answer.status_code == 200, path
        assert "<script>alert" not in answer.text, path
        assert "49" not in re.findall(r"\{\{7\*7\}\}|alert\(1\)&gt;(\d+)", answer.text), path
        seen += "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
        tags = Tags()
        tags.feed(answer.text)
        scripts = [attributes for tag, attributes in tags.found if tag == "script"]
        assert len(scripts) == 1, path
        assert str(scripts[0].get("src")).startswith("/ui/static/portal.js?"), path
        for tag, attributes in tags.found:
            assert not [name for name in attributes if name.startswith("on")], (path, tag)
            assert "style" not in attributes, (path, tag)
            for name in ("href", "src", "action", "formaction"):
                value = attributes.get(name)
                assert value is None or value.startswith(("/ui", "?", "#")), (path, tag, value)
    assert seen > 15


def test_no_page_names_a_folder_of_this_machine(app: PortalApp, content: Content) -> None:
    for path in (*content.pages, "/nothing", "/images/digits/9", "/runs/x"):
        text = Visitor(app).get(path).text
        assert str(content.workspace.root) not in text, path
        assert "Traceback (most recent" not in text, path


def test_a_value_is_shown_with_its_hidden_signs_and_sent_back_as_it_is(
    app: PortalApp, content: Content
) -> None:
    run, key = content.runs[2], "\u200ddir"
    content.workspace.tracking.runs.tag(run, set={key: "\u202ey\r\nz"})
    visitor = Visitor(app)
    page = visitor.get(f"/runs/{run}").text
    assert "⟨U+200D⟩dir" in page
    assert "⟨U+202E⟩y" in page
    assert "\u202e" not in page
    assert f'name="remove" value="{key}"' in page
    assert visitor.post(f"/runs/{run}/tags", {"remove": key}).status_code == 303
    assert key not in content.workspace.tracking.runs.get(run).tags


@pytest.mark.parametrize(
    "text", ["\u202eabc", "a\u200bb", "\u2066x\u2069", "a\x00b", "a\x1b[31m", "\ufeffa", "a\u2028b"]
)
def test_signs_that_nobody_sees_are_shown(text: str) -> None:
    assert all(char.isprintable() for char in shown(text))
    assert (
        shown("Zoë\n\t→ 漢字 👩\N{VARIATION SELECTOR-16}")
        == "Zoë\n\t→ 漢字 👩\N{VARIATION SELECTOR-16}"
    )


def test_files_do_nothing_in_a_browser(app: PortalApp, content: Content) -> None:
    run = f"/runs/{content.runs[0]}"
    for path in ("page.html", "drawing.svg", "notes.txt", "images/sample.png"):
        answer = Visitor(app).get(f"{run}/files/{path}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert Visitor(app).get(f"{run}/files/images/sample.png").content == png(24, 24)


def test_only_images_that_hold_no_script_are_shown(app: PortalApp, content: Content) -> None:
    run = f"/runs/{content.runs[0]}"
    image = Visitor(app).get(f"{run}/images/images/sample.png")
    assert image.headers["content-type"] == "image/png"
    assert "sandbox" in image.headers["content-security-policy"]
    for path in ("page.html", "drawing.svg", "notes.txt"):
        assert Visitor(app).get(f"{run}/images/{path}").status_code == 404
    for path in ("page.html", "drawing.svg"):
        page = Visitor(app).get(f"{run}/preview/{path}").text
        assert "<img" not in page
        assert "<svg xmlns" not in page


@pytest.mark.parametrize(
    "name", ['a".html', "a\\b", "ä漢.bin", "a;b=c.txt", "x\u202egnp.exe", "%0d%0aX: y"]
)
def test_no_name_of_a_file_ends_a_header(name: str) -> None:
    from runtime.portal.answers import File

    said = File(name, 0, iter(())).disposition()
    assert said.isascii()
    assert said.isprintable()
    assert said.count('"') == 2


@pytest.mark.parametrize(
    "path",
    [
        "/runs/{run}/files/../../secret",
        "/runs/{run}/files/%2e%2e%2f%2e%2e%2fsecret",
        "/runs/{run}/files/%252e%252e/x",
        "/runs/{run}/files//etc/passwd",
        "/runs/{run}/files/..%5c..%5cx",
        "/runs/{run}/files/a%00b",
        "/runs/{run}/preview/%2fetc%2fpasswd",
        "/runs/..%2f..",
        "/models/..%2f../1",
        "/models/digits/1/files/..%2f..%2fmodel",
        "/models/digits/999999999999999999999999",
        "/models/digits/%D9%A1",
        "/images/digits/-1",
        "/experiments/99999999999999999999999999",
        "/experiments/%00",
        "/deployments/%2e%2e",
        "/devices/..%2f..%2fetc",
        "/rollouts/9e9",
        "/activities/..%2f..%2f..%2fetc%2fpasswd",
        "/activities/" + "a" * 4000,
        "/lineage/nothing/x",
        "/lineage/model/..%2f..",
        "/fpga/digits/1",
        "/pipelines/nothing",
    ],
)
def test_a_path_that_leads_nowhere_is_said_to_lead_nowhere(
    app: PortalApp, content: Content, path: str
) -> None:
    answer = Visitor(app).get(path.format(run=content.runs[0]))
    assert answer.status_code in (400, 404)
    assert "<h1>" in answer.text
    assert str(content.workspace.root) not in answer.text


@pytest.mark.parametrize(
    "query",
    [
        "filter=metrics.loss%20%3C",
        "filter=" + "a" * 5000,
        "order=metrics.`x`;DROP%20TABLE%20runs",
        "order=%00",
        "token=1-99999999999999999999",
        "token=x",
        "metric=%60%27&param=%22",
        "view=nothing",
        "filter=%ff",
        "filter=\ud83d".encode("utf-8", "surrogatepass").decode("latin-1"),
        "&".join(f"metric=m{number}" for number in range(250)),
    ],
)
def test_a_question_that_makes_no_sense_is_no_failure(
    app: PortalApp, content: Content, query: str
) -> None:
    answer = Visitor(app).get(f"/experiments/{content.experiment}?{query}")
    assert answer.status_code in (200, 400)


def test_addresses_and_forms_are_bounded(app: PortalApp) -> None:
    visitor = Visitor(app)
    assert visitor.get("/models?q=" + "a" * 20_000).status_code == 414
    visitor.get("/tokens")
    assert visitor.post("/models/digits/1/tags", {"key": "a" * 30_000}).status_code == 400
    many = {f"field{number}": "x" for number in range(250)}
    assert visitor.post("/models/digits/1/tags", many).status_code == 400
    large = {"key": "a", "value": "b" * (MAX_BODY_BYTES + 1)}
    assert visitor.post("/models/digits/1/tags", large).status_code == 413


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("text/plain", b"csrf=x"),
        ("", b""),
    ],
)
def test_a_form_of_another_kind_is_refused(app: PortalApp, kind: str, body: bytes) -> None:
    visitor = Visitor(app)
    visitor.get("")
    cookie = "; ".join(f"{k}={v}" for k, v in visitor.cookies.items())
    headers = {"cookie": cookie, "content-type": kind}
    answer = ask(app, "POST", "/ui/w/default/models/digits/1/tags", content=body, headers=headers)
    assert answer.status_code == 415


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_a_method_that_makes_no_sense_is_refused(app: PortalApp, method: str) -> None:
    assert ask(app, method, "/ui/w/default/models").status_code in (403, 405)
    assert ask(app, method, "/ui/static/portal.js").status_code in (404, 405)


def test_head_has_no_body(app: PortalApp) -> None:
    answer = ask(app, "HEAD", "/ui/w/default/models")
    assert answer.status_code == 200
    assert not answer.content


@pytest.mark.parametrize(
    "cookie", ["=", "a" * 9000, "inferry-80=\x7f", 'inferry-80="', "$Path=/; x"]
)
def test_a_cookie_that_is_none_is_nobody(app: PortalApp, cookie: str) -> None:
    assert ask(app, "GET", "/ui/sign-in", headers={"cookie": cookie}).status_code == 200


def test_an_error_that_nobody_foresaw_says_nothing(
    app: PortalApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from registry.models import Models

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"secret of {Path('/etc')}")

    monkeypatch.setattr(Models, "window", fail)
    answer = Visitor(app).get("/models")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "/etc" not in answer.text
    assert "secret" in caplog.text


def test_what_is_in_use_names_its_users(app: PortalApp, monkeypatch: pytest.MonkeyPatch) -> None:
    from registry.errors import InUseError
    from registry.models import Models

    def fail(*_: object, **__: object) -> None:
        raise InUseError("model x", ["web<b>"])

    monkeypatch.setattr(Models, "tag", fail)
    visitor = Visitor(app)
    visitor.get("/tokens")
    answer = visitor.post("/models/digits/1/tags", {"key": "a"})
    assert answer.status_code == 412
    assert "web&lt;b&gt;" in answer.text


def test_a_cause_names_no_folder_of_the_services_machine(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    run = workspace.tracking.runs.create("paths", name="x")
    cause = f"cannot read {workspace.root}/blobs/x"
    workspace.tracking.runs.end(run.id, "failed", cause=cause, ended_ms=1)
    page = Visitor(portal(workspace.root)).get(f"/runs/{run.id}").text
    assert "cannot read (workspace)/blobs/x" in page
    assert str(workspace.root) not in page
