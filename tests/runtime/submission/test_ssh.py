"""Scripts on a real sshd: nothing but Python is there."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import InvalidNameError
from registry.tracking import RunRecord
from registry.tree import SourceFile
from runtime.cli.main import run as command
from runtime.errors import BadValueError
from runtime.submission import following
from runtime.submission.attaching import checked
from runtime.submission.errors import LostError, PlaceError
from runtime.submission.ssh.connection import Connection, Server
from tests.runtime.datastores.servers import Sshd, wait_until
from tests.runtime.submission.conftest import Submit
from tests.runtime.submission.proxy import Proxy
from tests.runtime.submission.test_local import SCRIPT, TREE, alive, pids


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[Proxy]:
    made = Proxy(sshd.port)
    yield made
    made.close()


@pytest.fixture
def attached(workspace: Workspace, sshd: Sshd, proxy: Proxy, tmp_path: Path) -> str:
    """A target, over the proxy, with an interpreter that has no Inferry."""
    key = tmp_path / "key"
    key.write_bytes(sshd.private_key)
    key.chmod(0o600)
    settings = {
        "host": "127.0.0.1",
        "port": str(proxy.port),
        "user": sshd.user,
        "host_key": sshd.fingerprint,
        "key": str(key),
        "path": str(tmp_path / "there"),
        "python": "/usr/bin/python3",
    }
    wanted = workspace.targets.checked("gpu", "ssh", settings)
    try:
        kept, found = checked(wanted, is_asked=True, known_hosts=tmp_path / "none")
    except BadValueError:
        settings["python"] = "python3"
        wanted = workspace.targets.checked("gpu", "ssh", settings)
        kept, found = checked(wanted, is_asked=True, known_hosts=tmp_path / "none")
    assert found.startswith("Python 3.")
    assert kept["host_key"] == sshd.host_key
    workspace.targets.attach("gpu", "ssh", kept)
    return "gpu"


def left(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "there").glob("*"))


def test_a_script_runs_there_and_all_is_kept(
    run_script: Submit, attached: str, workspace: Workspace, tmp_path: Path, lines: list[str]
) -> None:
    (tmp_path / "d.txt").write_text("DATA")
    hostile = ["a b", "$(touch x)", "`id`", "it's", '"', "--", "-c", "*", "\n", "!", ""]
    run = run_script(
        SCRIPT,
        {"arguments": hostile, "environment": {"WORD": "'; touch x; '"}, "target": attached},
        inputs={"my-data": {"d.txt": SourceFile("d.txt", tmp_path, 4)}},
    )
    assert (run.status, run.cause) == ("finished", None), lines
    assert lines[0] == f"arguments {hostile!r}"
    assert run.metrics["loss"].count == 3000
    assert run.properties["inferry.target"] == "gpu"
    files = {file.path: file.size_bytes for file in workspace.tracking.files.list(run.id)}
    assert files.keys() >= {"models/model.bin", "outputs/result.txt"}
    assert workspace.models.get("thing:1").version == 1
    kid, grandkid = workspace.tracking.runs.children(run.id, recursive=True)
    assert (kid.status, grandkid.parent) == ("finished", kid.id)
    wait_until(lambda: not left(tmp_path), "the folder is removed")


def test_it_goes_on_without_the_connection_and_is_followed_again(
    run_script: Submit, attached: str, proxy: Proxy, lines: list[str], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    def cut() -> None:
        wait_until(lambda: "begun" in lines, "the script began")
        proxy.cut()
        gate.write_text("")
        wait_until(lambda: (tmp_path / "passed").exists(), "the script went on")
        proxy.mend()

    thread = threading.Thread(target=cut)
    thread.start()
    run = run_script(
        "import os, sys, time\nfrom runtime.tracking import Run\nrun = Run.get_context()\n"
        "run.log('a', 1)\nrun.flush()\nprint('begun', flush=True)\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.02)\n"
        "for i in range(1000): run.log('a', i)\n"
        "run.flush()\nprint('meanwhile', flush=True)\n"
        "open('outputs/big', 'wb').write(bytes(5000000))\n"
        f"open({str(tmp_path / 'passed')!r}, 'w').close()\nprint('end')\n",
        {"target": attached},
    )
    thread.join()
    assert (run.status, run.cause) == ("finished", None)
    assert lines == ["begun", "meanwhile", "end"]
    assert run.metrics["a"].count == 1001
    assert proxy.made >= 3


def test_cancel_ends_it_there(
    run_script: Submit, attached: str, workspace: Workspace, lines: list[str], tmp_path: Path
) -> None:
    begun: list[RunRecord] = []

    def cancel() -> None:
        wait_until(lambda: len(pids(lines)) == 4, "the script began")
        workspace.tracking.runs.cancel(begun[0].id)

    thread = threading.Thread(target=cancel)
    thread.start()
    config: dict[str, object] = {"target": attached, "grace_s": 0.2}
    run = run_script(TREE, config, on_begin=begun.append)
    thread.join()
    assert (run.status, run.cause) == ("killed", "cancelled")
    assert not [pid for pid in pids(lines) if alive(pid)]
    wait_until(lambda: not left(tmp_path), "the folder is removed")


def test_nobody_who_follows_it_ends_it_after_a_while(
    run_script: Submit,
    attached: str,
    proxy: Proxy,
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "LEASE_S", 0.2)  # a busy machine may be late with one

    def cut() -> None:
        wait_until(lambda: len(pids(lines)) == 4, "the script began")
        proxy.cut()

    thread = threading.Thread(target=cut)
    thread.start()
    run = run_script(TREE, {"target": attached, "patience_s": 4, "grace_s": 0.1})
    thread.join()
    assert (run.status, "out of reach for 4 s" in str(run.cause)) == ("failed", True)
    wait_until(lambda: not any(alive(pid) for pid in pids(lines)), "the script is ended")
    wait_until(lambda: not left(tmp_path), "the folder is removed")


def test_who_shows_another_key_is_told_nothing(sshd: Sshd, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(sshd.private_key)
    other = Path(f"{tmp_path}/other")
    other.write_text("x")
    stranger = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2XqGq9mEPCzX0VZqZxYd8mYb0Y0G8p7m6l7qX0m0aB"
    with pytest.raises(PlaceError, match="does not show the key"):
        Connection(Server("127.0.0.1", sshd.port, sshd.user, stranger, str(key)))
    with pytest.raises(PlaceError, match="no key that can be read"):
        Connection(Server("127.0.0.1", sshd.port, sshd.user, sshd.host_key, str(other)))
    with pytest.raises(PlaceError, match="refused the user"):
        Connection(Server("127.0.0.1", sshd.port, "nobody", sshd.host_key, str(key)))
    with pytest.raises(LostError, match="nobody answers"):
        Connection(Server("127.0.0.1", 1, sshd.user, sshd.host_key, str(key)))


def test_a_target_that_is_away_or_lacks_python_is_said(
    run_script: Submit, attached: str, workspace: Workspace, proxy: Proxy
) -> None:
    run = run_script("", {"target": attached, "python": {"interpreter": "python9.9"}})
    assert run.cause == "there is no Python interpreter 'python9.9' on the target"
    settings = workspace.targets.get(attached).settings
    workspace.targets.attach("bare", "ssh", {**settings, "python": "/nowhere/python3"})
    run = run_script("", {"target": "bare"})
    assert "the folder cannot be made on the target" in str(run.cause)
    with pytest.raises(BadValueError, match="there is no /nowhere/python3"):
        checked(workspace.targets.get("bare"), is_asked=True)
    proxy.close()
    run = run_script("", {"target": attached})
    assert (run.status, "nobody answers" in str(run.cause)) == ("failed", True)


def test_a_server_that_nobody_knows_is_not_attached(
    workspace: Workspace, sshd: Sshd, tmp_path: Path
) -> None:
    settings = {"host": "127.0.0.1", "port": str(sshd.port), "user": sshd.user}
    wanted = workspace.targets.checked("gpu", "ssh", settings)
    with pytest.raises(BadValueError, match=f"is not known.*{re.escape(sshd.fingerprint)}"):
        checked(wanted, is_asked=True, known_hosts=tmp_path / "none")
    with pytest.raises(BadValueError, match="host_key"):
        checked(wanted, is_asked=False)


def test_the_command_line_attaches_targets_for_scripts_and_no_deployment_goes_there(
    workspace: Workspace, sshd: Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    key.write_bytes(sshd.private_key)
    key.chmod(0o600)
    settings = [
        *("host=127.0.0.1", f"port={sshd.port}", f"user={sshd.user}", f"key={key}"),
        f"host_key={sshd.fingerprint}",
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    where = ["-w", str(workspace.root)]
    assert command(["target", "attach", "gpu", "--kind", "ssh", *options, *where]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Attached gpu: Python 3.")
    assert "inferry run submit --target gpu" in said
    assert workspace.targets.get("gpu").settings["host_key"] == sshd.host_key
    assert command(["target", "attach", "gpu", "--kind", "docker", "--no-check", *where]) == 1
    assert "there is a target 'gpu' already" in capsys.readouterr().err
    assert command(["target", "attach", "b", "--kind", "ssh", "--set", "host=a;b", *where]) == 1
    assert "the setting host cannot be" in capsys.readouterr().err
    with pytest.raises(InvalidNameError, match="runs scripts but no deployments"):
        workspace.deployments.create("web", "none:1", actor="me", target="gpu")
    assert [each.name for each in workspace.targets.list()] == ["gpu", "local"]
    assert command(["target", "detach", "gpu", *where]) == 0
    assert [each.name for each in workspace.targets.list()] == ["local"]
