"""What forms do."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry.activities import Activities
from registry.activities.hooks import ActivityHooks
from registry.activities.origin import CommandOrigin, ServiceOrigin, begun_by
from registry.clock import utc_now
from registry.database import Database
from registry.errors import CancelledError, EngineError
from registry.paths import WorkspacePaths
from registry.settings import FormatPolicy
from runtime.portal.app import PortalApp
from tests.runtime.portal.browser_like import Visitor, portal
from tests.runtime.portal.content import Content, fill, running_activity


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    return fill(tmp_path_factory.mktemp("forms"))


@pytest.fixture(scope="module")
def app(content: Content) -> Iterator[PortalApp]:
    made = portal(content.workspace.root)
    yield made
    made.close()


@pytest.fixture
def visitor(app: PortalApp) -> Visitor:
    visitor = Visitor(app)
    visitor.get("/tokens")
    return visitor


def test_tags_and_description_and_aliases_of_a_model(visitor: Visitor, content: Content) -> None:
    models = content.workspace.models
    assert visitor.post("/models/digits/1/tags", {"key": "new", "value": "yes"}).status_code == 303
    assert models.get("digits:1").tags["new"] == "yes"
    answer = visitor.post("/models/digits/1/tags", {"remove": "new"})
    assert answer.headers["location"] == "/ui/w/default/models/digits/1?note=tagged"
    assert "new" not in models.get("digits:1").tags
    visitor.post("/models/digits/1/description", {"description": " Other \r\n words "})
    assert models.get("digits:1").description == "Other words"
    visitor.post("/models/digits/1/aliases", {"alias": "next"})
    assert content.workspace.aliases.get("digits", "next") == 1
    assert content.workspace.aliases.history("digits", "next")[-1].who == "local"
    visitor.post("/models/digits/1/aliases", {"remove": "next"})
    assert "next" not in content.workspace.aliases.of("digits")
    assert visitor.post("/models/digits/1/tags", {"key": ""}).status_code == 400
    assert visitor.post("/models/digits/1/aliases", {"alias": "a b"}).status_code == 400


def test_a_note_is_one_of_ours(visitor: Visitor) -> None:
    assert "The tags are changed." in visitor.get("/models?note=tagged").text
    assert "hello" not in visitor.get("/models?note=hello").text


def test_a_run_is_deleted_and_restored(visitor: Visitor, content: Content) -> None:
    run = content.runs[2]
    visitor.post(f"/runs/{run}/delete")
    assert content.workspace.tracking.runs.get(run).is_deleted
    assert f"/runs/{run}" in visitor.get(f"/experiments/{content.experiment}?view=deleted").text
    visitor.post(f"/runs/{run}/restore")
    assert not content.workspace.tracking.runs.get(run).is_deleted
    assert visitor.post(f"/runs/{run}/cancel").status_code == 409, "it has ended"


def test_a_running_run_is_asked_to_end(visitor: Visitor, content: Content) -> None:
    run = content.workspace.tracking.runs.create("digits")
    assert "Cancel" in visitor.get(f"/runs/{run.id}").text
    visitor.post(f"/runs/{run.id}/cancel")
    assert content.workspace.tracking.runs.is_cancelled(run.id)


def test_a_running_activity_is_asked_to_end(visitor: Visitor, content: Content) -> None:
    activities: Activities = content.workspace.activities
    with contextlib.suppress(CancelledError), activities.start("image", "digits:9") as activity:
        assert visitor.post(f"/activities/{activity.id}/cancel").status_code == 303
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            activity.check()
    assert activities.get(activity.id).state == "cancelled"
    with running_activity(content.workspace) as id:
        assert "Cancel" in visitor.get(f"/activities/{id}").text


def test_what_a_client_began_and_failed_is_begun_again(visitor: Visitor, content: Content) -> None:
    activities: Activities = content.workspace.activities
    arguments = {"name": "again", "models": ["digits"], "base": "none", "proof": False}
    with (
        contextlib.suppress(EngineError),
        begun_by(ServiceOrigin("images.create", arguments)),
        activities.start("image", "again:1") as activity,
    ):
        raise EngineError("no engine")
    assert "<button>Resume</button>" in visitor.get(f"/activities/{activity.id}").text
    assert visitor.post(f"/activities/{activity.id}/resume").status_code == 303
    text = visitor.get(f"/activities/{activity.id}").text
    assert "<button>Resume</button>" not in text
    assert "Resumed by" in text
    second = activities.get(activity.id).resumed_by
    assert second is not None
    deadline = time.monotonic() + 60
    while activities.get(second).is_running and time.monotonic() < deadline:
        time.sleep(0.02)
    assert activities.get(second).state == "succeeded"
    assert content.workspace.images.get("again").state == "succeeded"
    assert visitor.post(f"/activities/{activity.id}/resume").status_code == 409


def test_what_a_command_line_began_says_where_to_resume_it(
    visitor: Visitor, content: Content
) -> None:
    activities: Activities = content.workspace.activities
    with (
        contextlib.suppress(EngineError),
        begun_by(CommandOrigin(("backup", "x"), "/secret")),
        activities.start("backup", "x") as activity,
    ):
        raise EngineError("no engine")
    text = visitor.get(f"/activities/{activity.id}").text
    assert f"inferry activity resume {activity.id}" in text
    assert "<button>Resume</button>" not in text
    assert "/secret" not in text
    assert visitor.post(f"/activities/{activity.id}/resume").status_code == 409


def test_a_deployment_goes_back(visitor: Visitor, content: Content) -> None:
    deployments = content.workspace.deployments
    content.workspace.images.create("digits", models=["digits"], description="another")
    deployments.update("web", image="digits:2", actor="ada")
    assert deployments.get("web").goal == 2
    visitor.post("/deployments/web/rollback", {"revision": "1"})
    assert deployments.get("web").goal == 1
    assert deployments.ledger("web")[-1].actor == "local"


def test_runs_are_filtered_ordered_and_given_columns(visitor: Visitor, content: Content) -> None:
    here = f"/experiments/{content.experiment}"
    text = visitor.get(f"{here}?filter=params.depth%20=%20'1'").text
    assert "try 1" in text
    assert "try 0" not in text
    ordered = visitor.get(f"{here}?order=metrics.`loss`%20ASC&metric=loss&columns=1").text
    assert 'aria-sort="ascending"' in ordered
    assert ordered.index("try 0") < ordered.index("try 1")
    assert "accuracy, highest first" in ordered
    wrong = visitor.get(f"{here}?filter=nothing%20at%20all")
    assert 'aria-invalid="true"' in wrong.text


def test_runs_come_page_by_page(visitor: Visitor, content: Content) -> None:
    for number in range(120):
        content.workspace.tracking.runs.create("many", name=f"n{number}", status="finished")
    id = content.workspace.tracking.experiments.get("many").id
    seen: list[str] = []
    path, pages = f"/ui/w/default/experiments/{id}", 0
    while path:
        text = visitor.get(path).text
        seen += [part.split("<")[0] for part in text.split('<td class="text"><bdi>')[1:]]
        pages += 1
        path = text.partition('" rel="next"')[0].rpartition('href="')[2].replace("&amp;", "&")
        if 'rel="next"' not in text:
            break
    assert pages == 3
    assert [name for name in seen if name.startswith("n")] == [f"n{n}" for n in range(119, -1, -1)]
    assert 'rel="prev"' in text


def test_a_run_page_has_all_that_is_known(visitor: Visitor, content: Content) -> None:
    text = visitor.get(f"/runs/{content.runs[0]}").text
    for part in (
        'class="chart"',
        "epoch 40 of 40",
        "0123456789abcdef0123456789abcdef01234567",
        "What was installed",
        "confusion matrix",
        "images/picture.png",
        "fold",
        "/models/digits/1",
        "/images/digits/1",
        "/deployments/web",
    ):
        assert part in text, part


def test_what_belongs_to_a_thing_is_drawn(visitor: Visitor) -> None:
    for kind, ref in (("model", "digits:1"), ("image", "digits:1"), ("deployment", "web")):
        text = visitor.get(f"/lineage/{kind}/{ref}").text
        for word in ("digits:1", "web"):
            assert word in text
        assert 'class="edge"' in text


def test_files_of_a_model_come_as_they_are(visitor: Visitor, content: Content) -> None:
    answer = visitor.get("/models/digits/1/files/net.onnx")
    file, chunks = content.workspace.models.chunks("digits:1", "net.onnx")
    assert answer.content == b"".join(chunks)
    assert answer.headers["content-length"] == str(file.size_bytes)


def test_the_log_of_a_run_is_shown_from_its_end_and_kept_whole(
    visitor: Visitor, content: Content
) -> None:
    tracking = content.workspace.tracking
    run = tracking.runs.create("digits")
    path = tracking.lives.log(run.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = "".join(f"line {number}\n" for number in range(20_000))
    path.write_text(whole)
    page = visitor.get(f"/runs/{run.id}").text
    assert "line 19999" in page
    assert "line 100\n" not in page
    assert len(page) < 60_000
    assert visitor.get(f"/runs/{run.id}/log").text == whole
    nothing = tracking.runs.create("digits")
    assert visitor.get(f"/runs/{nothing.id}/log").content == b""


def test_a_log_that_is_long_shows_its_end(
    visitor: Visitor, content: Content, tmp_path: Path
) -> None:
    with content.workspace.activities.start("image", "long") as activity:
        for number in range(3000):
            activity.log(f"line {number}")
    text = visitor.get(f"/activities/{activity.id}").text
    assert "line 2999" in text
    assert "line 10\n" not in text
    assert len(text) < 60_000


def test_a_kind_of_files_is_allowed_and_refused_alone(visitor: Visitor, content: Content) -> None:
    settings = content.workspace.settings
    assert "A pickle is a program" in visitor.get("/formats").text
    sent = {"kind": "pickle", "decision": "allow"}
    answer = visitor.post("/formats/set", sent)
    assert answer.headers["location"] == "/ui/w/default/formats?note=formats"
    assert (settings.formats.allows_pickle, settings.formats.allows_unknown) == (True, True)
    visitor.post("/formats/set", {"kind": "unknown", "decision": "refuse"})
    assert (settings.formats.allows_pickle, settings.formats.allows_unknown) == (True, False)
    visitor.post("/formats/set", {"kind": "pickle", "decision": "refuse"})
    assert (settings.formats.allows_pickle, settings.formats.allows_unknown) == (False, False)
    for wrong in ({}, {"kind": "pickle"}, {"kind": "pickle", "decision": "yes"},
                  {"decision": "allow"}, {"kind": "onnx", "decision": "allow"}):  # fmt: skip
        assert visitor.post("/formats/set", wrong).status_code == 400
    assert (settings.formats.allows_pickle, settings.formats.allows_unknown) == (False, False)
    visitor.post("/formats/set", {"kind": "unknown", "decision": "allow"})


def test_two_owners_who_decide_on_different_kinds_at_once_are_both_heard(
    visitor: Visitor, content: Content
) -> None:
    settings = content.workspace.settings
    both = threading.Barrier(2, timeout=60)

    def decide(kind: str, decision: str) -> None:
        both.wait()
        answer = visitor.post("/formats/set", {"kind": kind, "decision": decision})
        assert answer.headers["location"] == "/ui/w/default/formats?note=formats"

    with ThreadPoolExecutor(2) as threads:
        for number in range(40):
            is_allowed = number % 2 == 0
            decision = "allow" if is_allowed else "refuse"
            list(threads.map(decide, ("pickle", "unknown"), (decision, decision)))
            assert settings.formats == FormatPolicy(is_allowed, is_allowed), number
    settings.set_formats(FormatPolicy())


def test_a_webhook_is_added_and_deleted_and_its_secret_shown_once(
    visitor: Visitor, content: Content
) -> None:
    sent = {"url": "https://one.example/x", "when": "failed", "kinds": "image, backup"}
    text = visitor.post("/activity-hooks/add", sent).text
    [secret] = re.findall(r"data-secret>(whsec_[^<]+)<", text)
    listed = visitor.get("/activity-hooks").text
    assert secret not in listed
    paths = WorkspacePaths(content.workspace.root)
    hooks = ActivityHooks(paths, Database(paths.database), utc_now)
    made = hooks.list()[-1]
    assert (made.url, made.kinds, made.states) == (sent["url"], ("backup", "image"), ("failed",))
    assert made.url in listed
    activities: Activities = content.workspace.activities
    with contextlib.suppress(EngineError), activities.start("image", "digits:8"):
        raise EngineError("no engine")
    [due] = [each for each in hooks.take(time.time(), lease_s=1) if each.url == made.url]
    assert due.secret.decode() == secret, "what was shown signs"
    for wrong in (
        {},
        {**sent, "url": "file:///etc/passwd"},
        {**sent, "url": ""},
        {**sent, "when": "never"},
        {**sent, "kinds": "a\x00b"},
    ):
        assert visitor.post("/activity-hooks/add", wrong).status_code == 400
    assert hooks.list()[-1].id == made.id
    for id in ("", "x", "-1", "9" * 30, "\u0663"):
        assert visitor.post("/activity-hooks/delete", {"id": id}).status_code == 400
    assert visitor.post("/activity-hooks/delete", {"id": "9999"}).status_code == 404
    answer = visitor.post("/activity-hooks/delete", {"id": str(made.id)})
    assert answer.headers["location"] == "/ui/w/default/activity-hooks?note=hook-deleted"
    assert made.id not in [each.id for each in hooks.list()]
