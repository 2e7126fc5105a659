"""No activity keeps a secret, wherever it is begun and wherever a user puts one.

What begins activities is found in the source (activity_places.py); each place has a scene below,
which begins one with canaries where a user may put a secret. Then everything that is written or
told is looked through: each file of the workspace (database, its WAL, logs, stored files), what the
service answers, its events, and what a webhook is sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from registry import Workspace
from registry.activities.events import changes_since
from registry.activities.origin import CommandOrigin, encoded
from registry.database import Database
from registry.paths import WorkspacePaths
from runtime.activity_hooks import deliver_due, hooks_of
from runtime.workspace_service import receiving as receiving_module
from tests.engine import program
from tests.fpga.build import networks
from tests.registry.onnx_files import adder
from tests.registry.small_containers import make_parts
from tests.runtime.activity_places import places
from tests.runtime.conftest import Cli
from tests.runtime.hooks.receivers import receiving
from tests.runtime.remote.served import Served, serving
from tests.runtime.server import environment

CANARY = "CANARY7c9d"
VISIBLE = "VISIBLE4b1e"
"""Of a tag, which is no secret: what looks through everything finds it."""
ENVIRONMENT = {
    name: f"{CANARY}-{name.lower()}"
    for name in ("INFERRY_TOKEN", "INFERRY_REGISTRY_PASSWORD", "MY_API_KEY", "UV_PUBLISH_TOKEN")
} | {
    "INFERRY_REGISTRY_USER": "ann",
    "PIP_INDEX_URL": f"http://ann:{CANARY}-index@localhost:1/simple",
    "PIP_EXTRA_INDEX_URL": f"http://{CANARY}-extra@localhost:1/simple",
    "HTTPS_PROXY": f"http://ann:{CANARY}-proxy@localhost:1",
}
URL = f"ann:{CANARY}-url@localhost:1/net"


@dataclass(frozen=True)
class Stage:
    """Where a scene is played. ``cli`` raises nothing, and prints to nobody."""

    cli: Cli
    workspace: Workspace
    folder: Path
    patch: pytest.MonkeyPatch

    def model(self) -> None:
        self.workspace.models.register(adder(self.folder / "m.onnx"), name="net")

    def image(self) -> None:
        self.model()
        self.workspace.images.create("net", models=["net"], proof=False)


def _create(stage: Stage) -> None:
    """Refused or failed ones, of a base and of packages, and one that is made."""
    stage.model()
    create = ("image", "create", "net", "--model", "net", "--tag", f"note={VISIBLE}")
    parts = make_parts(stage.folder / "parts")
    for base in (URL, f"https://{CANARY}-token@localhost:1/x", "localhost:1/net:1"):
        assert stage.cli(*create, "--base", base).code == 1
    for line in (
        "demo",
        f"--index-url http://ann:{CANARY}-line@localhost:1/simple\ndemo",
        f"demo @ http://ann:{CANARY}-direct@localhost:1/demo-1-py3-none-any.whl",
    ):
        (stage.folder / "r.txt").write_text(line)
        given = ("--script", str(parts.script), "--requirements", "r.txt", "--relock")
        assert stage.cli(*create, "--base", str(parts.base), *given).code == 1
    assert stage.cli(*create).code == 0


def _push(stage: Stage) -> None:
    stage.image()
    for target in (URL, f"{CANARY}-token@localhost:1/net", "localhost:1/net"):
        assert stage.cli("image", "push", "net", target).code == 1
    assert stage.cli("image", "export", "net", "net.tar").code == 0


def _resume(stage: Stage) -> None:
    _push(stage)
    for each in stage.workspace.activities.list(kind="push"):
        stage.cli("activity", "resume", each.id)


def _datastore(stage: Stage) -> None:
    settings = {"bucket": "data", "endpoint": "http://localhost:1", "access_key_id": "ann"}
    secrets = {"secret_access_key": f"{CANARY}-s3".encode()}
    stage.workspace.datastores.attach("lake", "s3", settings, secrets)
    for words in (("upload", "m.onnx"), ("download", "x", "out")):
        adder(stage.folder / "m.onnx")
        assert stage.cli("datastore", *words, "-d", "lake").code == 1


def _backup_and_purge(stage: Stage) -> None:
    stage.model()
    stage.workspace.models.delete("net")
    assert stage.cli("purge").code == 0
    assert stage.cli("backup", "there").code == 0


def _register(stage: Stage) -> None:
    stage.patch.setattr("runtime.cli.model.LARGE_BYTES", 1)
    path = adder(stage.folder / "m.onnx")
    assert stage.cli("model", "register", str(path), "--name", "net").code == 0


def _deploy(stage: Stage) -> None:
    """A real one, that runs and goes again; while it runs, its replicas have a file."""
    program("haproxy")
    stage.image()
    (stage.folder / "secret").write_text(f"{CANARY}-deployed")
    deploy = ("deploy", "web", "--image", "net:1", "--secret", "key=secret", "--keys")
    try:
        done = stage.cli(*deploy, "--hook-secret", "secret")
        assert done.code == 0, done.stderr
    finally:
        assert stage.cli("deployment", "delete", "web", "--wait").code == 0


def _by_url(stage: Stage) -> None:
    """With a token, uploads that are large, a base with a password, and a resume."""
    stage.image()
    stage.patch.setattr(receiving_module, "LARGE_BYTES", 1)
    with serving({"default": stage.workspace.root}) as served:
        tokens = served.site.distributions["default"].tokens
        token = tokens.create("ann", "owner", None)
        stage.patch.setenv("INFERRY_TOKEN", token)
        (stage.folder / "big.csv").write_text("1,2\n" * 10_000)
        there = ("-w", served.url)
        register = ("model", "register", "big.csv", "--name", "big")
        assert stage.cli(*register, *there).code == 0
        assert stage.cli("datastore", "upload", "big.csv", *there).code == 0
        create = ("image", "create", "net", "--model", "net", *there)
        for base in (URL, "localhost:1/net:1", f"https://{CANARY}-token@localhost:1/x"):
            assert stage.cli(*create, "--base", base).code == 1
        assert stage.cli(*create, "--base", "none").code == 0
        _fpga_by_url(stage, *there)
        for each in stage.workspace.activities.list(kind="image"):
            stage.cli("activity", "resume", each.id, *there)
        (stage.folder / "code").mkdir()
        (stage.folder / "code/s.py").write_text("print('done')\n")
        (stage.folder / "p.yaml").write_text(
            "name: p\nsteps:\n  a: {script: s.py, folder: code, pass_environment: [MY_API_KEY]}\n"
        )
        assert stage.cli("pipeline", "run", "p.yaml", *there).code == 0
        assert stage.cli("pipeline", "resume", "p:1", *there).code == 1
        (stage.folder / "code/run.yaml").write_text(
            "script: s.py\npass_environment: [MY_API_KEY]\n"
        )
        submit = ("run", "submit", "-c", "code/run.yaml", "--folder", "code", "--experiment", "e")
        assert stage.cli(*submit, *there).code == 0
        _check_answers(served, token)
        _check_files(stage.workspace.root, (token,))


def _fpga_by_url(stage: Stage, *there: str) -> None:
    """One that is compiled, and one that cannot be."""
    networks.write(stage.folder)
    assert stage.cli("model", "register", "model.onnx", "--name", "tiny", *there).code == 0
    fpga = ("--kind", "fpga", "--calibration", "calibration.npz", *there)
    for model, code in (("tiny", 0), ("net", 1)):
        assert stage.cli("image", "create", "board", "--model", model, *fpga).code == code


SCENES: Mapping[str, tuple[Callable[[Stage], None], frozenset[str]]] = {
    "create": (_create, frozenset(("image",))),
    "push": (_push, frozenset(("push", "export"))),
    "resume": (_resume, frozenset(("push", "export"))),
    "datastore": (_datastore, frozenset(("upload", "download"))),
    "keep": (_backup_and_purge, frozenset(("backup", "purge"))),
    "register": (_register, frozenset(("model",))),
    "deploy": (_deploy, frozenset(("deployment",))),
    "url": (_by_url, frozenset(("upload", "image"))),
}
"""And the kinds of the activities that one begins."""
PLACES: Mapping[str, str] = {
    "registry/image_making.py _build": "create",
    "registry/space.py _activity": "keep",
    "route images.create": "url",
    "route images.create_fpga": "url",
    "runtime/cli/backup.py backup": "keep",
    "runtime/cli/command_line.py begun_here": "create",
    "runtime/cli/datastore_files.py download": "datastore",
    "runtime/cli/datastore_files.py upload": "datastore",
    "runtime/cli/deployment_stand_in.py stand_in": "deploy",
    "runtime/cli/deployment_wait.py watching": "deploy",
    "runtime/cli/image.py create": "create",
    "runtime/cli/image.py export": "push",
    "runtime/cli/image.py push": "push",
    "runtime/cli/model.py _progress": "register",
    "runtime/cli/purge.py purge": "keep",
    "runtime/cli/transfer_activity.py transfer": "push",
    "runtime/run_service/service.py _begun": "url",
    "runtime/run_service/service.py resume_pipeline": "url",
    "runtime/run_service/service.py run_pipeline": "url",
    "runtime/workspace_service/app.py _called": "url",
    "runtime/workspace_service/receiving.py receiving": "url",
    "runtime/workspace_service/routes/activities.py resume": "url",
    "runtime/workspace_service/routes/datastore_files.py upload": "url",
    "runtime/workspace_service/routes/images.py create": "url",
    "runtime/workspace_service/routes/images.py create_fpga": "url",
    "runtime/workspace_service/routes/uploads.py put": "url",
}
"""A new one is given a scene that comes by it."""


def test_each_place_where_an_activity_begins_has_a_scene() -> None:
    assert places() == set(PLACES)
    assert set(PLACES.values()) | {"resume"} == set(SCENES)


@pytest.fixture
def stage(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "INFERRY_CA"):
        monkeypatch.delenv(name, raising=False)
    for name in environment():  # this machine's own index
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return Stage(cli, Workspace.open(tmp_path / ".inferry"), tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("scene", sorted(SCENES))
def test_what_is_begun_with_secrets_keeps_none(stage: Stage, scene: str) -> None:
    play, kinds = SCENES[scene]
    workspace = stage.workspace
    with receiving() as receiver:
        secret = f"{CANARY}-hook-secret".encode()
        states = ("running", "succeeded", "failed", "cancelled")
        hooks_of(workspace).add(receiver.url, states=states, secret=secret, random=os.urandom)
        workspace.models.register(adder(stage.folder / "t.onnx"), name="t", tags={"t": VISIBLE})
        play(stage)
        while deliver_due(workspace):
            pass
    found = workspace.activities.list()
    assert kinds <= {each.kind for each in found}
    assert len(receiver.got) >= 2 * len(found)
    told = [got.body.decode() + json.dumps(got.headers) for got in receiver.got]
    events, _ = changes_since(Database(WorkspacePaths(workspace.root).database), 0)
    said = [workspace.activities.log(each.id).decode(errors="replace") for each in found]
    for text in (*told, *said, repr(events), repr(found), *_origins(workspace)):
        assert CANARY not in text
    _check_files(workspace.root)


def _origins(workspace: Workspace) -> Iterator[str]:
    database = Database(WorkspacePaths(workspace.root).database)
    with database.read() as connection:
        for row in connection.execute("SELECT origin FROM activities WHERE origin IS NOT NULL"):
            yield row[0]


def _check_files(root: Path, canaries: tuple[str, ...] = ()) -> None:
    """Nothing of the canaries is in any file, and what is no secret is found."""
    data = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for canary in (CANARY, *canaries):
        assert [str(path) for path, each in data.items() if canary.encode() in each] == []
    assert any(
        VISIBLE.encode() in each for path, each in data.items() if "workspace.db" in path.name
    )


def _check_answers(served: Served, token: str) -> None:
    """What an owner reads of activities, and of who did what."""
    base = f"{served.url}/api/v1/workspaces/default"
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:
        activities = client.get(f"{base}/activities").raise_for_status()
        logs = [
            client.get(f"{base}/activities/{each['id']}/log").raise_for_status().text
            for each in activities.json()
        ]
        audit = client.get(f"{base}/audit").raise_for_status().text
        events = ""
        accept = {"Accept": "text/event-stream", "Last-Event-ID": "0"}
        with client.stream("GET", f"{base}/events", headers=accept) as stream:
            for line in stream.iter_lines():
                events += line
                if len(activities.json()) <= events.count("event: activity"):
                    break
    for text in (activities.text, *logs, audit, events):
        assert CANARY not in text
        assert token not in text
    assert "images.create" in audit


@pytest.mark.parametrize(
    "word",
    [
        "https://ann:sesame@host/x",
        "https://sesame@host/x",
        "ann:sesame@host/x",
        "sesame@host/x",
        "sesame@localhost:5000/x",
        "--base=sesame@host/x",
        "--base=ann:sesame@host/x",
    ],
)
def test_an_order_with_a_password_is_not_kept(word: str) -> None:
    assert encoded(CommandOrigin(("image", "create", word), "/")) is None


@pytest.mark.parametrize(
    "word",
    [
        f"host:5000/x@sha256:{'0' * 64}",
        "digits@champion",
        "https://host/a@b",
        "oci:/images/x@2",
    ],
)
def test_an_order_without_one_is(word: str) -> None:
    assert encoded(CommandOrigin(("image", "create", word), "/")) is not None
