"""Secrets for containers of another machine: what is asked for. How they get there is tested with
an engine, in tests/runtime/deployments/test_in_remote_docker.py."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from edge.errors import HostError
from edge.hosts.container_secrets import archive, driver_options, read, volume_name
from edge.hosts.container_settings import check_elsewhere, confinement, mounts
from edge.hosts.port import SECRETS_FOLDER, Instance, InstanceId

ID = InstanceId("web.1.abc", "live")
DIGEST = "sha256:" + "0" * 64


def test_files_are_the_users_alone_and_come_whole() -> None:
    files = {"token": b"open sesame", "empty": b"", "bytes": bytes(range(256))}
    with tarfile.open(fileobj=io.BytesIO(archive(files))) as found:
        for each in found:
            data = found.extractfile(each)
            assert data is not None
            assert data.read() == files[each.name]
            assert (each.mode, each.uid, each.gid) == (0o400, 10001, 10001)
        assert found.getnames() == list(files)


def test_the_volume_is_in_memory_and_has_room() -> None:
    files = {"large": bytes(3_000_000), "small": b"x"}
    options = driver_options(files)
    assert (options["type"], options["device"]) == ("tmpfs", "tmpfs")
    said = dict(each.partition("=")[::2] for each in options["o"].split(","))
    assert int(said["size"]) > 3_000_001 + 2 * 4096
    assert (said["mode"], said["uid"]) == ("0700", "10001")
    assert {"noexec", "nosuid", "nodev"} < set(said)


def test_a_container_elsewhere_has_the_volume_and_no_folder_of_this_machine(
    tmp_path: Path,
) -> None:
    instance = Instance(ID, DIGEST, secrets_folder=tmp_path)
    (mount,) = mounts(instance, volume_name("site", ID))
    assert (mount["Type"], mount["Target"], mount["ReadOnly"]) == ("volume", SECRETS_FOLDER, True)
    assert str(tmp_path) not in str(confinement(instance, "v"))
    assert [each["Type"] for each in mounts(instance)] == ["bind"]
    check_elsewhere(instance)
    for other in (
        Instance(ID, DIGEST, bundle=tmp_path),
        Instance(ID, DIGEST, run_folder=tmp_path),
        Instance(ID, DIGEST, capture_folder=tmp_path),
    ):
        with pytest.raises(HostError, match="folders of this machine"):
            check_elsewhere(other)


def test_secrets_that_cannot_be_read_are_said_without_their_path(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file") as caught:
        read(tmp_path / "none")
    assert str(tmp_path) not in str(caught.value)
