"""Runs and pipelines that the service carries out for clients."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from registry import Workspace, tree
from registry.errors import RegistryError
from registry.tracking import RunRecord
from runtime.cli.main import run as run_command
from runtime.errors import BadValueError, InferryError
from runtime.pipelines import Event, pipeline_view
from runtime.pipelines.elsewhere import follow_elsewhere, run_elsewhere
from runtime.pipelines.reading import read_spec
from runtime.pipelines.uploaded import packed
from runtime.remote import RemoteWorkspace
from runtime.remote.transfers import Transfers
from runtime.submission import rerun, submit
from runtime.submission.config import make_config
from runtime.workspace_service.routes import pipelines, submissions
from runtime.workspace_service.sent_file import SentFile
from tests.runtime.remote.served import DEADLINE_S, Served, serving

TRAIN = """
import os, sys
from azureml.core import Run

run = Run.get_context()
run.log("loss", 0.25)
os.makedirs("outputs", exist_ok=True)
with open("outputs/said.txt", "w") as file:
    file.write(os.environ.get("WORD", "none") + os.environ.get("OF_THE_SERVICE", ""))
print("trained with", *sys.argv[1:])
"""
WAITS = """
import time
print("waiting", flush=True)
time.sleep(600)
"""


@pytest.fixture
def remote(served: Served) -> Iterator[RemoteWorkspace]:
    with served.remote() as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a script that trains, and of one that waits for ever."""
    made = tmp_path / "code"
    made.mkdir()
    (made / "train.py").write_text(TRAIN)
    (made / "waits.py").write_text(WAITS)
    return made


def _as_workspace(remote: RemoteWorkspace) -> Workspace:
    return cast(Workspace, remote)


def _count(remote: RemoteWorkspace) -> int:
    """Of all runs; the service is that of the other tests, too."""
    return len(remote.tracking.runs.search(filter="", limit=1000).runs)


def _submit(remote: RemoteWorkspace, folder: Path, lines: list[str]) -> RunRecord:
    config = make_config(
        {"script": "train.py", "arguments": ["--lr", "3"], "pass_environment": ["WORD"]}, "test"
    )
    return submit(
        _as_workspace(remote),
        config,
        folder,
        experiment="digits",
        tags={"team": "a"},
        on_line=lines.append,
    )


def test_a_script_runs_there_with_what_the_client_passes(
    remote: RemoteWorkspace, served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORD", "very-secret")
    monkeypatch.setenv("OF_THE_SERVICE", "which runs in this process")
    lines: list[str] = []
    run = _submit(remote, folder, lines)
    assert (run.status, run.tags["team"]) == ("finished", "a")
    assert lines == ["trained with --lr 3"]
    tracking = served.local().tracking
    assert [point.value for point in tracking.metrics.history(run.id, "loss")] == [0.25]
    assert tracking.files.read(run.id, "outputs/said.txt") == b"very-secret"
    assert "very-secret" not in tracking.snapshots.of_run(run.id).config
    assert "very-secret" not in repr(served.site.audit("default").list())


def test_a_run_is_submitted_once_more(
    remote: RemoteWorkspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORD", "first")
    before = _submit(remote, folder, [])
    monkeypatch.delenv("WORD")
    with pytest.raises(BadValueError, match="WORD is not set here"):
        rerun(_as_workspace(remote), before.reference)
    monkeypatch.setenv("WORD", "second")
    again = rerun(_as_workspace(remote), before.reference)
    assert (again.status, again.number) == ("finished", before.number + 1)


def _sent(remote: RemoteWorkspace, folder: Path) -> tuple[SentFile, ...]:
    return tuple(Transfers(remote.client).send(tree.walk(folder)))


def _begin(remote: RemoteWorkspace, folder: Path, id: str, /, **changed: Any) -> RunRecord:
    given: dict[str, Any] = {
        "id": id,
        "experiment": "digits",
        "config": make_config({"script": "waits.py"}, "test").document(),
        "files": _sent(remote, folder),
    }
    return remote.client.ask(submissions.submit, **(given | changed))


def _ended(remote: RemoteWorkspace, id: str) -> RunRecord:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := remote.tracking.runs.get(id)).has_ended:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_who_asks_again_gets_the_same_run_which_is_cancelled_there(
    remote: RemoteWorkspace, folder: Path
) -> None:
    before = _count(remote)
    id = secrets.token_hex(16)
    run = _begin(remote, folder, id)
    assert _begin(remote, folder, id).id == run.id == id
    remote.tracking.runs.cancel(id)
    assert _ended(remote, id).status == "killed"
    assert _begin(remote, folder, id).status == "killed"
    assert _count(remote) == before + 1


def test_the_end_of_the_service_is_the_cause_of_the_end_of_what_runs(
    tmp_path: Path, folder: Path
) -> None:
    root = tmp_path / "ws"
    with serving({"default": root}) as served, served.remote() as remote:
        run = _begin(remote, folder, secrets.token_hex(16))
    found = Workspace.open(root).tracking.runs.get(run.id)
    assert found.has_ended
    assert "the service ended" in (found.cause or "")


def test_where_clients_may_run_no_code_they_run_none(tmp_path: Path, folder: Path) -> None:
    with (
        serving({"default": tmp_path / "ws"}, allows_local_code=False) as served,
        served.remote() as remote,
    ):
        with pytest.raises(InferryError, match="its operator lets no client run code"):
            _begin(remote, folder, secrets.token_hex(16))
        remote.models.register(folder / "train.py", name="m")
        (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
        remote.images.create("i", models=["m"], script=tmp_path / "score.py", proof=False)
        with pytest.raises(InferryError, match="its operator lets no client run code"):
            remote.deployments.create("web", "i", actor="me")
        assert _count(remote) == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "../../etc"},
        {"config": "{"},
        {"config": '{"script": "nobody.py"}'},
        {"config": '{"script": "../waits.py"}'},
        {"config": '{"script": "waits.py", "target": "nowhere"}'},
        {"experiment": ""},
        {"files": ()},
        {"files": (SentFile("waits.py", "sha256:" + "0" * 64, False),)},
        {"files": (SentFile("../waits.py", "sha256:" + "0" * 64, False),)},
        {"passed": {"WORD": "a\0b"}},
    ],
    ids=lambda changed: f"{next(iter(changed))}={next(iter(changed.values()))!s:.30}",
)
def test_what_cannot_be_run_is_refused_and_nothing_is_left(
    remote: RemoteWorkspace, folder: Path, changed: dict[str, Any]
) -> None:
    before = _count(remote)
    with pytest.raises((RegistryError, InferryError)) as refused:
        _begin(remote, folder, secrets.token_hex(16), **changed)
    assert "internal" not in str(refused.value)
    assert "Traceback" not in str(refused.value)
    assert _count(remote) == before


PIPELINE = """
name: two
steps:
  first:
    script: train.py
    folder: code
  second:
    kind: register
    model: said
    files: first/said.txt
"""


def _pipeline(remote: RemoteWorkspace, folder: Path, id: str, **changed: Any) -> RunRecord:
    file = folder.parent / "pipeline.yaml"
    file.write_text(PIPELINE)
    sent, files = packed(read_spec(file, {}))
    uploaded = Transfers(remote.client).send(list(files.values()))
    given: dict[str, Any] = {
        "id": id,
        "pipeline": msgspec.json.encode(sent).decode(),
        "files": tuple(
            replace(file, path=path) for path, file in zip(files, uploaded, strict=True)
        ),
    }
    return remote.client.ask(pipelines.run, **(given | changed))


def test_a_pipeline_runs_there_with_the_files_of_the_client(
    remote: RemoteWorkspace, served: Served, folder: Path
) -> None:
    id = secrets.token_hex(16)
    run = _pipeline(remote, folder, id)
    assert run.id == id
    for file in folder.iterdir():
        file.unlink()  # the service has them
    ended = _ended(remote, id)
    assert (ended.status, ended.cause) == ("finished", None)
    view = pipeline_view(_as_workspace(remote), id)
    assert [(step.name, step.state) for step in view.steps] == [
        ("first", "finished"),
        ("second", "finished"),
    ]
    assert remote.models.get("said:1").name == "said"
    with pytest.raises(InferryError, match="has finished; there is nothing to resume"):
        remote.client.ask(pipelines.resume, ref=id)
    assert not list((served.local().root / "pipelines").glob("*/steps"))


def test_the_command_line_sends_follows_and_resumes_a_pipeline(
    remote: RemoteWorkspace,
    served: Served,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = folder.parent / "pipeline.yaml"
    file.write_text(PIPELINE.replace("name: two", "name: three"))
    (folder / "train.py").write_text("raise SystemExit('no luck')\n")
    assert run_command(["pipeline", "run", str(file), "-w", served.url]) == 1
    said = capsys.readouterr()
    assert "first: started as three:2" in said.err
    assert "first: failed" in said.err
    assert said.err.index("first | no luck") < said.err.index("first: failed")
    assert "no luck" in said.err
    assert "inferry pipeline resume three:1" in said.err
    (folder / "train.py").write_text(TRAIN)
    assert run_command(["pipeline", "run", str(file), "-w", served.url, "-o", "json"]) == 0
    view = json.loads(capsys.readouterr().out)
    assert {step["state"] for step in view["steps"]} <= {"finished", "reused"}
    assert run_command(["pipeline", "resume", "three:1", "-w", served.url]) == 1
    assert "no luck" in capsys.readouterr().err
    assert run_command(["pipeline", "run", str(file), "-w", served.url, "--detach"]) == 0
    reference = capsys.readouterr().out.split()[0]
    assert _ended(remote, remote.tracking.runs.get(reference).id).status == "finished"


def test_ctrl_c_ends_a_pipeline_there(
    remote: RemoteWorkspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder.parent / "pipeline.yaml"
    file.write_text("name: long\nsteps:\n  wait: {script: waits.py, folder: code}\n")
    run = run_elsewhere(remote, read_spec(file, {}), environment={})
    real, events = remote.client.wait, list[Event]()

    def interrupted(seconds: float) -> None:
        monkeypatch.setattr(remote.client, "wait", real)
        raise KeyboardInterrupt

    def hear(event: Event) -> None:
        events.append(event)
        if event.what == "started":
            monkeypatch.setattr(remote.client, "wait", interrupted)

    view = follow_elsewhere(remote, run, hear)
    assert view.status == "killed"
    said = [event.what for event in events if event.what != "line"]
    assert said == ["started", "cancelling", "cancelled"]
    assert Event("line", "wait", text="waiting") in events


def test_lines_of_a_step_are_seen_as_it_prints_them(remote: RemoteWorkspace, folder: Path) -> None:
    sign = folder.parent / "sign"
    (folder / "talks.py").write_text(
        "import os, sys, time\nprint('one', flush=True)\n"
        "while not os.path.exists(sys.argv[1]):\n    time.sleep(0.05)\nprint('two')\n"
    )
    file = folder.parent / "pipeline.yaml"
    file.write_text(
        f"name: talks\nsteps:\n  talk: {{script: talks.py, folder: code, arguments: [{sign}]}}\n"
    )
    events = list[Event]()

    def hear(event: Event) -> None:
        events.append(event)
        if event.text == "one":
            sign.touch()  # which it waits for

    run = run_elsewhere(remote, read_spec(file, {}), environment={})
    assert follow_elsewhere(remote, run, hear).status == "finished"
    assert [(event.what, event.text) for event in events if event.step == "talk"] == [
        ("started", ""),
        ("line", "one"),
        ("line", "two"),
        ("finished", ""),
    ]


def test_a_contributor_names_no_program_of_the_machine_in_a_step(
    tmp_path: Path,
) -> None:
    document = json.dumps(
        {
            "name": "x",
            "is_filled": True,
            "steps": [
                {
                    "kind": "deploy",
                    "name": "web",
                    "image": "i:1",
                    "service": {"hooks": {"before_command": ["/bin/sh"]}},
                }
            ],
        }
    )
    with serving({"default": tmp_path / "mine"}) as own:
        token = own.site.distributions["default"].tokens.create("ci", "contributor", None)
        with (
            own.remote(token=token) as mine,
            pytest.raises(InferryError, match="only an owner may change it"),
        ):
            mine.client.ask(pipelines.run, id=secrets.token_hex(16), pipeline=document)


@pytest.mark.parametrize(
    "document",
    [
        "[",
        "{}",
        '{"name": "x", "steps": [], "is_filled": false}',
        '{"name": "x", "steps": [{"kind": "script", "name": "a", "folder": "/etc",'
        ' "config": {"script": "passwd"}}], "is_filled": true}',
        '{"name": "x", "steps": [{"kind": "register", "name": "a", "model": "m",'
        ' "files": "./../../etc/passwd"}], "is_filled": true}',
    ],
)
def test_a_pipeline_that_leads_out_or_means_nothing_is_refused(
    remote: RemoteWorkspace, folder: Path, document: str
) -> None:
    before = _count(remote)
    with pytest.raises((RegistryError, InferryError)) as refused:
        _pipeline(remote, folder, secrets.token_hex(16), pipeline=document)
    assert "internal" not in str(refused.value)
    assert _count(remote) == before
