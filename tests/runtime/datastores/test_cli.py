"""``inferry datastore``: what it prints, what it refuses, and that it never prints a secret."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from runtime.datastores import Datastore, FullError
from tests.runtime.conftest import Cli
from tests.runtime.datastores.conftest import s3_place, sftp_place
from tests.runtime.datastores.servers import Moto, Sshd, wait_until
from tests.runtime.server import environment

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("datastores")]
CANARY = "CANARY-7c9d"
MIB = 1024 * 1024


def test_files_go_to_the_default_datastore_and_come_back(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "data/sub").mkdir(parents=True)
    (tmp_path / "data/a").write_bytes(b"12345")
    (tmp_path / "data/sub/b").write_bytes(b"1")
    done = cli("datastore", "upload", "data", "up")
    assert (done.code, done.stdout) == (0, "Uploaded 2 files (6 B)\n")
    done = cli("datastore", "upload", "data", "up")
    assert done.stdout == "Uploaded 0 files (0 B); 2 files there already\n"
    assert json.loads(cli("datastore", "upload", "data", "up", "-o", "json").stdout) == {
        "sent": [],
        "kept": ["up/a", "up/sub/b"],
        "size_bytes": 0,
    }
    listed = json.loads(cli("datastore", "ls", "-o", "json").stdout)
    assert [(item["path"], item["size_bytes"]) for item in listed] == [("up/a", 5), ("up/sub/b", 1)]
    assert listed[0]["modified_at"].endswith("Z")
    assert cli("datastore", "download", "up/sub", "here").stdout == "Downloaded 1 file (1 B)\n"
    assert (tmp_path / "here/up/sub/b").read_bytes() == b"1"
    assert cli("datastore", "download", ".", "here").code == 0
    assert (tmp_path / "here/up/a").read_bytes() == b"12345"
    (tmp_path / "data/a").write_bytes(b"54321")
    done = cli("datastore", "upload", "data", "up")
    assert (done.code, "'up/a'" in done.stderr, "--overwrite" in done.stderr) == (1, True, True)
    assert cli("datastore", "upload", "data", "up", "--overwrite").code == 0
    assert cli("datastore", "delete", "up").code == 1
    assert cli("datastore", "delete", "up", "-r").stdout == "Deleted 2 files\n"
    assert cli("datastore", "ls").stdout.split() == ["PATH", "SIZE_BYTES", "MODIFIED_AT"]


def test_one_is_attached_listed_shown_made_the_default_and_detached(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "f").write_bytes(b"1")
    path = f"path={tmp_path / 'store'}"
    done = cli("datastore", "attach", "disk", "--kind", "file", "--set", path)
    assert (done.code, done.stdout) == (0, "Attached disk\n")
    assert cli("datastore", "attach", "disk", "--kind", "file", "--set", path).code == 1
    assert (
        cli("datastore", "attach", "disk", "--kind", "file", "--set", path, "--replace").code == 0
    )
    assert cli("datastore", "upload", "f", "-d", "disk").code == 0
    assert (tmp_path / "store/f").read_bytes() == b"1"
    assert cli("datastore", "default", "disk").stdout == "The default is disk\n"
    shown = json.loads(cli("datastore", "show", "-o", "json").stdout)
    assert (shown["name"], shown["kind"], shown["users"]) == ("disk", "file", [])
    assert "disk" in cli("datastore", "list").stdout
    assert cli("datastore", "detach", "disk").code == 1
    assert cli("datastore", "default", "workspace").code == 0
    assert cli("datastore", "detach", "disk").stdout == "Detached disk\n"
    assert (tmp_path / "store/f").read_bytes() == b"1"


def test_a_secret_is_read_from_a_file_or_standard_input_and_never_printed(
    cli: Cli,
    tmp_path: Path,
    sshd: Sshd,
    moto: Moto,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    said = ""
    place = s3_place(moto)
    options = [f"--set={key}={value}" for key, value in place.settings.items()]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{CANARY}\n".encode())))
    secret = ["--secret", "secret_access_key=-"]
    done = cli("datastore", "attach", "lake", "--kind", "s3", *options, *secret)
    assert done.code == 0, done.stderr
    said += done.stdout + done.stderr
    ssh = sftp_place(tmp_path, sshd)
    (tmp_path / "key").write_bytes(sshd.private_key)
    options = [f"--set={key}={value}" for key, value in ssh.settings.items()]
    secret = ["--secret", f"private_key={tmp_path / 'key'}"]
    done = cli("datastore", "attach", "lab", "--kind", "sftp", *options, *secret)
    assert done.code == 0, done.stderr
    said += done.stdout + done.stderr
    assert sshd.host_key in done.stdout
    for name in ("lake", "lab"):
        (tmp_path / "f").write_bytes(b"1")
        for command in (
            ("show", name),
            ("show", name, "-o", "json"),
            ("list",),
            ("upload", "f", "-d", name),
            ("ls", "-d", name),
            ("download", "f", f"d-{name}", "-d", name),
        ):
            done = cli("datastore", *command)
            assert done.code == 0, done.stderr
            said += done.stdout + done.stderr  # on a slow machine it says how far it is
    said += caplog.text
    key_body = sshd.private_key.decode().splitlines()[1]
    assert "private_key" in said
    assert "secret_access_key" in said
    assert CANARY not in said
    assert key_body not in said


REFUSED = [
    (2, ["attach", "x"]),
    (2, ["attach", "x", "--kind", "ftp"]),
    (1, ["attach", "../x", "--kind", "file", "--set", "path=/"]),
    (1, ["attach", "x", "--kind", "file", "--set", CANARY]),
    (1, ["attach", "x", "--kind", "s3", "--set", "bucket=abc", "--set", f"session_token={CANARY}"]),
    (1, ["attach", "x", "--kind", "s3", "--set", f"endpoint=http://me:{CANARY}@h"]),
    (1, ["attach", "x", "--kind", "file", "--set", "path=/", "--set", "path=/tmp"]),
    (1, ["attach", "x", "--kind", "s3", "--secret", "secret_access_key=/no/such/file"]),
    (1, ["attach", "x", "--kind", "s3", "--secret", "a=-", "--secret", "b=-"]),
    (1, ["attach", "x", "--kind", "s3", "--secret", "secret_access_key="]),
    (1, ["attach", "x", "--kind", "file", "--set", "path=/no/such/folder"]),
    (1, ["show", "nothing"]),
    (1, ["default", "nothing"]),
    (1, ["detach", "nothing"]),
    (1, ["upload", "no-such-file"]),
    (1, ["upload", "f", "../x"]),
    (1, ["upload", "f", "-d", "nothing"]),
    (1, ["download", "../x", "here"]),
    (1, ["download", ".", "f"]),
    (1, ["download", "no-such-file", "here"]),
    (1, ["ls", "/etc"]),
    (1, ["delete", "no-such-file"]),
]


def test_what_makes_no_sense_is_refused_in_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    for code, arguments in REFUSED:
        done = cli("datastore", *arguments)
        assert done.code == code, arguments
        assert CANARY not in done.stdout + done.stderr
        assert code == 2 or len(done.stderr.splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "here").exists()


def test_ctrl_c_ends_an_upload_and_leaves_no_half_file(
    cli: Cli, tmp_path: Path, sshd: Sshd
) -> None:
    place = sftp_place(tmp_path, sshd)
    Datastore.attach(
        Workspace.open(tmp_path / ".inferry"), "lab", place.kind, place.settings, place.secrets
    ).close()
    (tmp_path / "big").write_bytes(os.urandom(MIB))
    os.truncate(tmp_path / "big", 4000 * MIB)  # more than can be sent before it is ended
    command = [sys.executable, "-m", "runtime.cli.main", "datastore", "upload", "big", "-d", "lab"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # A shell has its jobs in the background ignore Ctrl-C, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    store = tmp_path / "store"
    with process:
        try:
            wait_until(lambda: any(store.iterdir()) or process.poll() is not None, "it has begun")
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 1
    assert said.strip().endswith("interrupted")
    assert "Traceback" not in said
    assert list(store.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "inferry-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs")
def test_a_disk_that_is_full_is_said_before_or_while_downloading_and_keeps_whole_files(
    cli: Cli, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").write_bytes(os.urandom(MIB))
    (tmp_path / "data/b").write_bytes(os.urandom(12 * MIB))
    assert cli("datastore", "upload", "data").code == 0
    done = cli("datastore", "download", ".", str(small_disk / "d"))
    assert (done.code, "do not fit" in done.stderr) == (1, True)
    assert list(small_disk.rglob("*")) == []
    monkeypatch.setattr("runtime.datastores.folder.FolderFiles.free_bytes", lambda self: 1 << 60)
    store = Datastore.get_default(Workspace.open(tmp_path / ".inferry"))
    with pytest.raises(FullError, match="no space is left for 'b'"):
        store.download(small_disk / "d")
    assert [path.name for path in (small_disk / "d").iterdir()] in ([], ["a"])
