"""Only what answers, and is who it should be, is attached."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import Workspace
from runtime.datastores import (
    Datastore,
    DatastoreError,
    HostKeyError,
    MissingFileError,
    RefusedError,
    UnreachableError,
)
from tests.ports import free_port
from tests.runtime.datastores.conftest import Place, s3_place, sftp_place
from tests.runtime.datastores.evil import evil_sftp
from tests.runtime.datastores.servers import Moto, Sshd, running_sshd, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("datastores")]
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
OTHER_FINGERPRINT = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
Attach = Callable[..., Datastore]


@pytest.fixture
def attach(tmp_path: Path) -> Attach:
    workspace = Workspace.init(tmp_path / "ws", base="none")

    def attach(place: Place, known_hosts: Path | None = None, **settings: str) -> Datastore:
        merged = {key: value for key, value in (place.settings | settings).items() if value}
        made = Datastore.attach(
            workspace, "store", place.kind, merged, place.secrets, known_hosts=known_hosts
        )
        made.close()
        again = Datastore.get(workspace, "store")
        again._waits_s = (0.05, 0.1, 0.2)
        return again

    return attach


def test_what_answers_is_attached_and_found_again(
    place: Place, attach: Attach, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"1")
    with attach(place) as datastore:
        assert repr(datastore) == f"Datastore('store', '{place.kind}')"
        datastore.upload(tmp_path / "f", "a")
        assert [item.path for item in datastore.ls()] == ["a/f"]
        assert str(datastore.path("a/f")) == "datastore:store/a/f"
        shown = repr(datastore._files) + repr(datastore._record)
        assert not any(secret.decode() in shown for secret in place.secrets.values())


def test_a_folder_or_bucket_that_is_not_there_is_not_attached(
    place: Place, attach: Attach, tmp_path: Path
) -> None:
    missing = {"bucket": "no-such-bucket"} if place.kind == "s3" else {"path": "/no/such"}
    with pytest.raises(MissingFileError):
        attach(place, **missing)
    if place.kind != "s3":
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(DatastoreError, match="no folder"):
            attach(place, path=str(tmp_path / "file"))


def test_where_nobody_answers_nothing_is_attached(
    attach: Attach, tmp_path: Path, sshd: Sshd, moto: Moto
) -> None:
    port = str(free_port())
    with pytest.raises(UnreachableError, match="nobody answers"):
        attach(sftp_place(tmp_path, sshd), port=port)
    with pytest.raises(UnreachableError, match="nobody answers"):
        attach(sftp_place(tmp_path / "store", sshd), port=port, host_key="")
    with pytest.raises(UnreachableError, match="nobody answers"):
        attach(s3_place(moto), endpoint=f"http://127.0.0.1:{port}")
    with pytest.raises(UnreachableError):
        attach(sftp_place(tmp_path / "store/store", sshd), host="no-such-host.invalid")


def test_a_host_that_is_not_known_is_refused_with_its_fingerprint(
    attach: Attach, tmp_path: Path, sshd: Sshd
) -> None:
    place = sftp_place(tmp_path, sshd)
    for known in (None, tmp_path / "no-such-file"):
        with pytest.raises(HostKeyError, match="is not known") as caught:
            attach(place, known, host_key="")
        assert caught.value.fingerprint == sshd.fingerprint
        assert f"--set host_key={sshd.fingerprint}" in str(caught.value)
    kept = attach(place, host_key=sshd.fingerprint)
    assert kept._record.settings["host_key"] == sshd.host_key
    assert list(kept.ls()) == []
    kept.close()


def test_known_hosts_are_asked_and_a_key_that_changed_is_refused(
    attach: Attach, tmp_path: Path, sshd: Sshd
) -> None:
    place = sftp_place(tmp_path, sshd)
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    kept = attach(place, known, host_key="")
    assert kept._record.settings["host_key"] == sshd.host_key
    for text in (
        f"[127.0.0.1]:{sshd.port} {OTHER_KEY}\n",
        f"@revoked [127.0.0.1]:{sshd.port} {sshd.host_key}\n"
        f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n",
    ):
        known.write_text(text)
        with pytest.raises(HostKeyError, match="somebody may be in between"):
            attach(place, known, host_key="", user="other")


def test_another_key_than_the_pinned_one_gets_no_password_and_no_key(
    attach: Attach, tmp_path: Path
) -> None:
    with evil_sftp([]) as evil:
        settings = {"host": "127.0.0.1", "port": str(evil.port), "user": "ada"}
        place = Place("sftp", settings, {"password": b"right\n"})
        for wrong in (OTHER_KEY, OTHER_FINGERPRINT, "ssh-rsa " + "A" * 40, ""):
            with pytest.raises(HostKeyError):
                attach(place, host_key=wrong)
        assert evil.passwords == []
        attach(place, host_key=evil.host_key)
        assert set(evil.passwords) == {"right"}
        wrong_one = Place("sftp", settings, {"password": b"CANARY-wrong"})
        with pytest.raises(RefusedError, match="refused the user") as caught:
            attach(wrong_one, host_key=evil.host_key)
        assert "CANARY" not in str(caught.value)


def test_a_key_that_is_refused_or_none_is_said_so(
    attach: Attach, tmp_path: Path, sshd: Sshd
) -> None:
    settings = sftp_place(tmp_path, sshd).settings
    keys = tmp_path / "keys"
    keys.mkdir()
    for name, passphrase in (("other", ""), ("locked", "abcdef")):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", keys / name], check=True
        )
    for secret, match in (
        ((keys / "other").read_bytes(), "refused the user"),
        ((keys / "locked").read_bytes(), "passphrase"),
        (b"CANARY no key", "no key that can be read"),
        (b"\xff\xfe", "is no text"),
    ):
        with pytest.raises(RefusedError, match=match) as caught:
            attach(Place("sftp", settings, {"private_key": secret}))
        assert "CANARY" not in str(caught.value)


def test_after_the_server_was_away_the_next_call_connects_again(
    tmp_path: Path, attach: Attach
) -> None:
    folder = tmp_path / "sshd"
    folder.mkdir()
    with running_sshd(folder) as sshd, attach(sftp_place(tmp_path, sshd)) as datastore:
        (tmp_path / "store/f").write_bytes(b"1")
        assert len(list(datastore.ls())) == 1
        for child in children(sshd.pid):
            os.kill(child, signal.SIGKILL)
        wait_until(lambda: not children(sshd.pid), "the session has ended")
        datastore.download(tmp_path / "d")
        assert (tmp_path / "d/f").read_bytes() == b"1"


def test_a_folder_that_somebody_removed_on_the_server_is_made_again(
    tmp_path: Path, attach: Attach, sshd: Sshd
) -> None:
    (tmp_path / "f").write_bytes(b"1")
    with attach(sftp_place(tmp_path, sshd)) as datastore:
        datastore.upload(tmp_path / "f", "a/b")
        shutil.rmtree(tmp_path / "store/a")
        with contextlib.suppress(MissingFileError):  # once it may be taken for being there
            datastore.upload(tmp_path / "f", "a/b")
        datastore.upload(tmp_path / "f", "a/b")
    assert (tmp_path / "store/a/b/f").read_bytes() == b"1"


def test_an_upload_whose_connection_is_cut_is_completed_and_leaves_no_parts(
    tmp_path: Path, attach: Attach
) -> None:
    folder = tmp_path / "sshd"
    folder.mkdir()
    (tmp_path / "s").mkdir()
    for number in range(2):
        (tmp_path / f"s/{number}").write_bytes(os.urandom(9 * 1024 * 1024))
    cuts = 0

    def cut(done_bytes: int, total_bytes: int) -> None:
        nonlocal cuts
        if cuts < 2 and done_bytes > (cuts + 1) * 4 * 1024 * 1024:
            cuts += 1
            for child in children(sshd.pid):
                os.kill(child, signal.SIGKILL)

    with running_sshd(folder) as sshd, attach(sftp_place(tmp_path, sshd)) as datastore:
        report = datastore.upload(tmp_path / "s", on_progress=cut)
        assert (len(report.sent), cuts) == (2, 2)
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"0", "1"}
    for number in range(2):
        sent = (tmp_path / f"store/{number}").read_bytes()
        assert sent == (tmp_path / f"s/{number}").read_bytes()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]
