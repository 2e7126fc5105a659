from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from edge.agent.check import Check
from edge.hub import command_queue, devices, publishing
from edge.hub.database import Database
from edge.hub.rollout_engine import RolloutEngine
from edge.messages.codec import encode
from edge.messages.commands import Command, Reply
from edge.messages.reported import HostReport, ModuleReport, OutboxReport, Reported
from edge.messages.status import Status
from registry import Workspace
from registry.fpga_artifact import FpgaContents
from runtime.cli.edge_layer import size_bytes
from runtime.edge_images import ImageKeeper
from runtime.errors import BadValueError
from tests.registry.fpga_folders import fpga_folder
from tests.runtime.conftest import Cli

NOW_MS = 1_800_000_000_000


@pytest.fixture
def hub(cli: Cli, tmp_path: Path) -> Database:
    """Two devices, and the images digits:1 and digits:2 (bundles)."""
    database = Database(tmp_path / ".inferry" / "edge" / "hub.db")
    assert cli("edge", "devices").code == 0
    for name, site in (("press-1", "berlin"), ("press-2", "paris")):
        devices.enrol(database, name, now_ms=NOW_MS, tags={"site": site})
    (tmp_path / "weights.bin").write_bytes(b"x")
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    assert cli("model", "register", "weights.bin", "--name", "weights").code == 0
    create = ("image", "create", "digits", "--model", "weights", "--script", "score.py")
    for _ in range(2):
        assert cli(*create, "--no-proof").code == 0
    return database


@contextmanager
def answering(database: Database, device: str, *replies: Reply) -> Iterator[list[Command]]:
    """A hub and a device that answer the first command."""
    asked: list[Command] = []
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set() and not asked:
            with database.reader() as connection:
                for id in command_queue.open_commands(connection, int(time.time() * 1000)):
                    found = command_queue.command(connection, id, int(time.time() * 1000))
                    if found is not None and found[0] == device:
                        asked.append(found[1])
            time.sleep(0.01)
        for reply in replies if asked else ():
            with database.writer() as connection:
                made = msgspec.structs.replace(reply, id=asked[0].id)
                command_queue.keep_reply(connection, device, made, NOW_MS)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        stop.set()
        thread.join(60)


def report(database: Database, device: str, *modules: ModuleReport, number: int = 1) -> None:
    with database.reader() as connection:
        desired = publishing.desired_for(connection, device)
    version = desired.version if desired is not None else 0
    host = HostReport(1 << 30, 1 << 31, 1 << 20, 1 << 21, 0.5, 10.0, "boot")
    made = Reported(1, device, 5, number, version, version, modules, host, OutboxReport(0, 0))
    status = Status(1, device, 5, online=True, machine="Linux aarch64", hosts=("process",))
    with database.writer() as connection:
        devices.keep_status(connection, status, encode(status), NOW_MS)
        devices.keep_reported(connection, made, encode(made), NOW_MS)


def test_devices_are_listed_by_tag_and_shown(cli: Cli, hub: Database) -> None:
    report(hub, "press-1", ModuleReport("m", "digits:1", "d", "d", "idle", "healthy"))
    done = cli("edge", "devices")
    assert "press-1" in done.stdout
    assert "digits:1 healthy" in done.stdout
    found = json.loads(cli("edge", "devices", "list", "--tag", "site=paris", "-o", "json").stdout)
    assert [one["name"] for one in found] == ["press-2"]
    assert len(json.loads(cli("edge", "devices", "--tag", "site", "-o", "json").stdout)) == 2
    assert [
        one["name"] for one in json.loads(cli("edge", "devices", "--offline", "-o", "json").stdout)
    ] == ["press-2"]
    shown = json.loads(cli("edge", "devices", "press-1", "-o", "json").stdout)
    assert (shown["online"], shown["machine"]) == (True, "Linux aarch64")
    assert shown["modules"][0]["health"] == "healthy"
    assert "m: digits:1, healthy, idle" in cli("edge", "devices", "press-1").stdout


def test_a_device_that_is_not_there_is_refused_in_a_line(cli: Cli) -> None:
    for words in (["devices", "x"], ["ping", "x"], ["telemetry", "x"]):
        done = cli("edge", *words)
        assert done.code == 1
        assert done.stderr.count("\n") == 1
        assert "no device x" in done.stderr


def test_tags_are_set_and_removed(cli: Cli, hub: Database) -> None:
    assert cli("edge", "devices", "tag", "press-1", "line=3", "--remove", "site").code == 0
    with hub.reader() as connection:
        assert dict(devices.get(connection, "press-1").tags) == {"line": "3"}
    assert cli("edge", "devices", "tag", "press-1").code == 2


def test_a_deployment_reaches_the_devices_of_its_target(cli: Cli, hub: Database) -> None:
    done = cli(
        "edge", "deploy", "sorters", "--module", "digits=digits:1", "--target",
        'site == "berlin"', "--port", "8001", "--env", "A=1", "--memory", "256m", "--cpus", "0.5",
        "--host", "process", "--watch-s", "5", "--window", "22:00-04:00", "--order", "2",
        "--priority", "7", "--restart", "on-failure", "--strategy", "replace",
    )  # fmt: skip
    assert (done.code, done.stdout) == (0, "Deployed sorters: 1 devices change\n")
    with hub.reader() as connection:
        desired = publishing.desired_for(connection, "press-1")
        assert publishing.desired_for(connection, "press-2") is None
    assert desired is not None
    module = desired.modules[0]
    with Workspace.open(Path(".inferry")) as workspace:
        assert module.digest == workspace.images.get("digits:1").digest
    assert (module.port, module.env, module.host, module.order) == (8001, {"A": "1"}, "process", 2)
    assert (module.limits.memory_bytes, module.limits.cpus) == (256 << 20, 0.5)
    assert (module.update.watch_s, module.update.strategy) == (5.0, "replace")
    assert module.update.windows[0].start == 22 * 60
    assert module.restart.policy == "on-failure"


def test_what_the_options_do_not_name_is_kept(cli: Cli, hub: Database) -> None:
    cli("edge", "deploy", "a", "--module", "m=digits:1", "--port", "8001", "--env", "A=1")
    cli("edge", "deploy", "a", "--module", "m=digits:2", "--env", "B=2", "--priority", "3")
    shown = json.loads(cli("edge", "deployments", "a", "-o", "json").stdout)
    module = shown["modules"][0]
    assert (module["image"], module["port"], module["env"]) == (
        "digits:2", 8001, {"A": "1", "B": "2"},
    )  # fmt: skip
    assert (shown["priority"], shown["devices"]) == (3, 2)


def test_a_module_is_taken_away(cli: Cli, hub: Database) -> None:
    cli("edge", "deploy", "all", "--module", "m=digits:1")
    done = cli("edge", "deploy", "no-m", "--without", "m", "--device", "press-2")
    assert "1 devices change" in done.stdout
    with hub.reader() as connection:
        desired = publishing.desired_for(connection, "press-2")
    assert desired is not None
    assert desired.modules == ()


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_deployment_comes_from_a_file(cli: Cli, hub: Database, suffix: str) -> None:
    text = """
target: site == "paris"
modules:
  - name: m
    image: digits
    port: 8002
    update: {windows: ["22:00-04:00"], watch_s: 3}
settings: {report_s: 60}
"""
    if suffix == ".json":
        import yaml

        text = json.dumps(yaml.safe_load(text))
    Path("deployment" + suffix).write_text(text)
    assert cli("edge", "deploy", "a", "deployment" + suffix).code == 0
    with hub.reader() as connection:
        desired = publishing.desired_for(connection, "press-2")
    assert desired is not None
    assert (desired.modules[0].image, desired.modules[0].port) == ("digits:2", 8002)
    assert desired.modules[0].update.windows[0].end == 240
    assert desired.settings.report_s == 60


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("modules: [{name: m, image: digits:1, prot: 1}]", "modules.prot"),
        ("modules: [{name: m, image: digits:1, update: {watch: 1}}]", "modules.update.watch"),
        ("modules: [{name: m, image: digits:9}]", "digits:9"),
        ("modules: [{name: m, image: digits:1, port: high}]", "port"),
        ("modules: [{name: m, image: digits:1, update: {windows: [noon]}}]", "noon"),
        ("modules: {}", "modules"),
        ("[1]", "mapping"),
        ("{", "cannot be read"),
        ("name: other\nmodules: []", "other"),
        ("modules: [{name: ../x, image: digits:1}]", "../x"),
        ("modules: []\ntarget: site =", "column 6"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_its_key(
    cli: Cli, hub: Database, text: str, word: str
) -> None:
    Path("bad.yaml").write_text(text)
    done = cli("edge", "deploy", "a", "bad.yaml")
    assert (done.code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert word in done.stderr


def test_a_deployment_of_nothing_is_a_matter_of_usage(cli: Cli, hub: Database) -> None:
    assert cli("edge", "deploy", "a").code == 2
    assert cli("edge", "deploy", "a", "--module", "m").code == 1
    assert cli("edge", "deploy", "a", "--module", "m=digits:1", "--memory", "much").code == 1


def test_an_image_that_devices_run_cannot_be_deleted(cli: Cli, hub: Database) -> None:
    cli("edge", "deploy", "sorters", "--module", "m=digits:1")
    done = cli("image", "delete", "digits:1")
    assert done.code == 1
    assert "edge.sorters" in done.stderr
    cli("edge", "deploy", "sorters", "--module", "m=digits:2")
    assert cli("image", "delete", "digits:1").code == 0
    cli("edge", "deployments", "delete", "sorters")
    assert cli("image", "delete", "digits:2").code == 0


def test_a_deployment_that_is_refused_holds_no_image(cli: Cli, hub: Database) -> None:
    assert cli("edge", "deploy", "a", "--module", "m=digits:1", "--target", "!").code == 1
    assert cli("image", "delete", "digits:1").code == 0


def test_a_rollout_goes_from_batch_to_batch_and_holds_its_images(cli: Cli, hub: Database) -> None:
    cli("edge", "deploy", "all", "--module", "m=digits:1")
    done = cli(
        "edge", "rollout", "start", "all", "m", "digits:2", "--batch", "1", "--batch", "100%"
    )
    assert done.stdout == "Started rollout 1: 2 devices get digits:2\n"
    assert cli("image", "delete", "digits:1").code == 1
    assert cli("image", "delete", "digits:2").code == 1
    engine = RolloutEngine(hub)
    for number in range(1, 6):
        engine.run(int(time.time() * 1000))
        for name in ("press-1", "press-2"):
            with hub.reader() as connection:
                desired = publishing.desired_for(connection, name)
            assert desired is not None
            module = desired.modules[0]
            report(
                hub, name,
                ModuleReport("m", module.image, module.digest, module.digest, "idle", "healthy"),
                number=number,
            )  # fmt: skip
    shown = cli("edge", "rollout", "show", "1", "--watch")
    assert "completed" in shown.stdout
    assert shown.code == 0
    found = json.loads(cli("edge", "rollout", "1", "-o", "json").stdout)
    assert (found["state"], found["succeeded"]) == ("completed", 2)
    assert {member["outcome"] for member in found["members"]} == {"succeeded"}
    assert cli("image", "delete", "digits:1").code == 1  # it could be rolled back
    assert json.loads(cli("edge", "rollout", "list", "--running", "-o", "json").stdout) == []
    assert "completed" in cli("edge", "rollout").stdout


def test_a_rollout_is_paused_resumed_aborted_and_rolled_back(cli: Cli, hub: Database) -> None:
    cli("edge", "deploy", "all", "--module", "m=digits:1")
    cli("edge", "rollout", "start", "all", "m", "digits:2")
    for word, state in (
        ("pause", "paused"), ("resume", "running"), ("abort", "aborted"), ("rollback", "rolling"),
    ):  # fmt: skip
        done = cli("edge", "rollout", word, "1", "--reason", "a test")
        assert (done.code, state in done.stdout) == (0, True), done
    assert cli("edge", "rollout", "resume", "1").code == 1
    log = json.loads(cli("edge", "deployments", "log", "all", "-o", "json").stdout)
    assert "started" in {entry["what"] for entry in log}
    assert cli("edge", "rollout", "show", "99").code == 1
    assert cli("edge", "rollout", "start", "all", "m", "digits:2", "--batch", "0").code == 1


@pytest.fixture
def boards(cli: Cli, hub: Database, tmp_path: Path) -> Database:
    """press-2 has a board, and there are digits-fpga:1 and digits-fpga:2."""
    assert cli("edge", "devices", "tag", "press-2", "board=pynq-z2").code == 0
    folder = fpga_folder(tmp_path / "fpga")
    with Workspace.open(Path(".inferry")) as workspace:
        for _ in range(2):
            workspace.images.create_fpga(
                "digits-fpga", models=["weights"], make=lambda *_: FpgaContents(folder)
            )
    return hub


BOARD = 'board == "pynq-z2"'
DEPLOY = ("edge", "deploy", "sorters", "--module", "digits=digits:1", "--for", BOARD)


def told(database: Database, device: str) -> str:
    with database.reader() as connection:
        desired = publishing.desired_for(connection, device)
    assert desired is not None
    return desired.modules[0].image


def test_one_deployment_and_one_rollout_have_docker_and_fpga_devices(
    cli: Cli, boards: Database
) -> None:
    done = cli(*DEPLOY, "digits-fpga:1", "--port", "8001")
    assert (done.code, done.stderr) == (0, "")
    assert [told(boards, "press-1"), told(boards, "press-2")] == ["digits:1", "digits-fpga:1"]
    shown = json.loads(cli("edge", "deployments", "sorters", "-o", "json").stdout)
    assert shown["variants"] == {"digits": {BOARD: "digits-fpga:1"}}
    rollout = ("edge", "rollout", "start", "sorters", "digits", "digits:2", "--for", BOARD)
    done = cli(*rollout, "digits-fpga:2", "--batch", "100%")
    assert "2 devices get digits:2, digits-fpga:2" in done.stdout
    RolloutEngine(boards).tick(NOW_MS)
    assert [told(boards, "press-1"), told(boards, "press-2")] == ["digits:2", "digits-fpga:2"]
    shown = json.loads(cli("edge", "rollout", "1", "-o", "json").stdout)
    assert shown["variants"] == {BOARD: "digits-fpga:2"}
    for image in ("digits:1", "digits:2", "digits-fpga:1", "digits-fpga:2"):
        done = cli("image", "delete", image)
        assert (done.code, "edge.sorters" in done.stderr) == (1, True), image


def test_a_file_has_variants_too(cli: Cli, boards: Database) -> None:
    Path("sorters.yml").write_text(
        "modules:\n- name: digits\n  image: digits\n  variants:\n"
        f"  - {{target: '{BOARD}', image: digits-fpga}}\n"
    )
    done = cli("edge", "deploy", "sorters", "sorters.yml")
    assert (done.code, done.stderr) == (0, "")
    assert [told(boards, "press-1"), told(boards, "press-2")] == ["digits:2", "digits-fpga:2"]
    Path("sorters.yml").write_text(
        "modules:\n- {name: digits, image: digits, variants: [{targets: all, image: digits}]}\n"
    )
    assert "variants.targets" in cli("edge", "deploy", "sorters", "sorters.yml").stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--strategy", "beside"], "two versions cannot have one board"),
        (["--shadow-s", "60"], "for a shadow run"),
        (["--host", "docker"], "it runs as a process"),
    ],
)
def test_what_a_board_cannot_do_is_refused_before_a_device_fails_at_it(
    cli: Cli, boards: Database, options: list[str], said: str
) -> None:
    for deploy in (
        (*DEPLOY, "digits-fpga:1"),
        ("edge", "deploy", "sorters", "--module", "digits=digits-fpga:1"),
    ):
        done = cli(*deploy, *options)
        assert done.code == 1
        assert done.stderr.count("\n") == 1
        assert "digits-fpga:1 is for an FPGA" in done.stderr
        assert said in done.stderr
    assert cli("edge", "deploy", "sorters", "--module", "digits=digits:1", *options).code == 0
    done = cli("edge", "rollout", "start", "sorters", "digits", "digits-fpga:2")
    assert (done.code, said in done.stderr) == (1, True)
    with Workspace.open(Path(".inferry")) as workspace:
        assert workspace.images.get("digits-fpga:2").users == ()


def test_a_variant_is_of_one_module(cli: Cli, boards: Database) -> None:
    assert cli(*DEPLOY, "digits-fpga:1", "--module", "other=digits:2").code == 2
    assert cli("edge", "deploy", "sorters", "--for", BOARD, "digits-fpga:1").code == 2
    assert cli(*DEPLOY, "nothing:1").code == 1
    done = cli(*DEPLOY[:-1], "board =", "digits-fpga:1")
    assert (done.code, "condition" in done.stderr) == (1, True)


def test_the_hub_lets_go_of_images_when_rollouts_are_over(cli: Cli, hub: Database) -> None:
    cli("edge", "deploy", "all", "--module", "m=digits:1")
    with Workspace.open(Path(".inferry")) as workspace:
        workspace.images.hold("digits:2", "edge.gone")
        workspace.images.hold("digits:2", "web")
        ImageKeeper(workspace, hub).run(NOW_MS)
        assert workspace.images.get("digits:1").users == ("edge.all",)
        assert workspace.images.get("digits:2").users == ("web",)


def test_a_command_brings_its_answer(cli: Cli, hub: Database) -> None:
    with answering(hub, "press-1", Reply(1, "", True, "pong")) as asked:
        assert "answered in" in cli("edge", "ping", "press-1").stdout
    assert asked[0].name == "ping"
    parts = [
        Reply(1, "", True, "one\n", part=0, parts=None),
        Reply(1, "", True, "two\x1b", part=1, parts=2),
    ]
    with answering(hub, "press-1", *parts) as asked:
        done = cli("edge", "logs", "press-1", "m", "--lines", "7")
    assert done.stdout == "one\ntwo\\x1b\n"
    assert asked[0].arguments == {"module": "m", "lines": 7}
    with answering(hub, "press-1", Reply(1, "", True, "restarted m")):
        assert cli("edge", "restart", "press-1", "m").stdout == "Restarted m on press-1\n"
    with answering(hub, "press-1", Reply(1, "", True, "sent")):
        assert cli("edge", "flush", "press-1").stdout == "sent\n"


def test_a_command_that_fails_or_is_not_answered_fails_in_a_line(
    cli: Cli, hub: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.cli.edge_commands.GRACE_S", 0.1)
    with answering(hub, "press-1", Reply(1, "", False, error="no module x is here")):
        done = cli("edge", "restart", "press-1", "x")
    assert (done.code, done.stderr) == (1, "inferry: press-1: no module x is here\n")
    started = time.monotonic()
    done = cli("edge", "ping", "press-2", "--timeout-s", "0.1")
    assert done.code == 1
    assert "did not answer" in done.stderr
    assert time.monotonic() - started < 10


def test_checks_are_shown_and_fail_the_command(cli: Cli, hub: Database) -> None:
    results = [Check("disk", "ok", "room"), Check("clock", "fail", "past", "set it")]
    answer = Reply(1, "", True, msgspec.json.encode(results).decode())
    with answering(hub, "press-1", answer):
        done = cli("edge", "check", "press-1")
    assert done.code == 1
    assert "set it" in done.stdout
    with answering(hub, "press-1", answer):
        assert json.loads(cli("edge", "check", "press-1", "-o", "json").stdout)[0]["name"] == "disk"
    with answering(hub, "press-1", Reply(1, "", True, "nonsense")):
        assert cli("edge", "check", "press-1").code == 1


def test_a_support_bundle_is_written_once(cli: Cli, hub: Database) -> None:
    answer = Reply(1, "", True, base64.b64encode(b"bundle").decode())
    with answering(hub, "press-1", answer):
        assert cli("edge", "support-bundle", "press-1").code == 0
    assert Path("press-1-support.tar.gz").read_bytes() == b"bundle"
    assert cli("edge", "support-bundle", "press-1").code == 1
    with answering(hub, "press-1", Reply(1, "", True, "not base64!")):
        assert cli("edge", "support-bundle", "press-1", "other.tar.gz").code == 1
    assert not Path("other.tar.gz").exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("256m", 256 << 20), ("1.5GiB", 3 << 29), ("4 K", None), ("", None)],
)
def test_sizes_are_read(text: str, size: int | None) -> None:
    if size is None:
        with pytest.raises(BadValueError):
            size_bytes(text)
    else:
        assert size_bytes(text) == size
