"""Which datastores there are: names, settings, secrets, the default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import (
    InvalidNameError,
    NotFoundError,
    TargetExistsError,
    TrustError,
)

SFTP = {"host": "lab.example", "user": "ada"}
S3 = {"bucket": "lake", "access_key_id": "AKIA"}
CANARY = b"CANARY-81c2-not-for-anyone"


def test_a_workspace_has_one_which_is_the_default_and_stays(workspace: Workspace) -> None:
    (only,) = workspace.datastores.list()
    assert (only.name, only.kind, only.is_default) == ("workspace", "file", True)
    assert workspace.datastores.get_default() == only
    with pytest.raises(InvalidNameError, match="always there"):
        workspace.datastores.detach("workspace")
    with pytest.raises(InvalidNameError, match="always there"):
        workspace.datastores.attach("workspace", "file", {"path": "/"}, replace=True)


def test_one_is_attached_made_the_default_and_detached(workspace: Workspace) -> None:
    stores = workspace.datastores
    made = stores.attach("lab", "sftp", SFTP, {"password": b"secret"})
    assert (made.settings, made.secrets, made.is_default) == (SFTP, ("password",), False)
    assert stores.get("lab") == made
    assert stores.set_default("lab").is_default
    assert [(each.name, each.is_default) for each in stores.list()] == [
        ("lab", True),
        ("workspace", False),
    ]
    with pytest.raises(InvalidNameError, match="is the default"):
        stores.detach("lab")
    stores.set_default("workspace")
    assert stores.detach("lab").name == "lab"
    for act in (stores.get, stores.detach, stores.set_default):
        with pytest.raises(NotFoundError, match="inferry datastore list"):
            act("lab")
    assert stores.get_default().name == "workspace"


def test_a_name_is_taken_until_it_is_replaced_which_forgets_its_secrets(
    workspace: Workspace,
) -> None:
    stores = workspace.datastores
    stores.attach("d", "s3", S3, {"secret_access_key": b"1", "session_token": b"2"})
    stores.set_default("d")
    with pytest.raises(TargetExistsError, match="--replace"):
        stores.attach("d", "sftp", SFTP, {"password": b"3"})
    assert stores.secrets("d") == {"secret_access_key": b"1", "session_token": b"2"}
    again = stores.attach("d", "sftp", SFTP, {"password": b"3"}, replace=True)
    assert (again.kind, again.is_default, again.secrets) == ("sftp", True, ("password",))
    assert stores.secrets("d") == {"password": b"3"}
    assert stores.attach("new", "file", {"path": "/"}, replace=True).name == "new"


def test_a_secret_is_sealed_and_nowhere_to_be_read(workspace: Workspace) -> None:
    stores = workspace.datastores
    made = stores.attach("lab", "sftp", SFTP, {"private_key": CANARY})
    assert stores.secrets("lab") == {"private_key": CANARY}
    assert CANARY.decode() not in repr(made) + repr(stores.list())
    for path in workspace.root.rglob("*"):
        assert not path.is_file() or CANARY not in path.read_bytes(), path
    stores.detach("lab")
    assert stores.secrets("lab") == {}


def test_a_secret_of_another_key_is_an_error_that_says_what_to_do(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.datastores.attach("lab", "sftp", SFTP, {"password": b"secret"})
    (workspace.root / "keys/secrets.key").unlink()
    other = Workspace.init(tmp_path / "other", base="none")
    other.datastores.attach("x", "sftp", SFTP, {"password": b"other"})
    key = (other.root / "keys/secrets.key").read_bytes()
    (workspace.root / "keys/secrets.key").write_bytes(key)
    (workspace.root / "keys/secrets.key").chmod(0o600)
    with pytest.raises(TrustError, match="another key"):
        workspace.datastores.secrets("lab")


PASSWORD = {"password": b"x"}
KEY = {"secret_access_key": b"x"}
REFUSED: list[tuple[str, Mapping[str, str], Mapping[str, bytes]]] = [
    ("ftp", {}, {}),
    ("file", {}, {}),
    ("file", {"path": "relative"}, {}),
    ("file", {"path": "/a\0b"}, {}),
    ("file", {"path": "/"}, PASSWORD),
    ("file", {"path": "/", "colour": "red"}, {}),
    ("sftp", {"host": "h"}, PASSWORD),
    ("sftp", SFTP, {}),
    ("sftp", SFTP, {"password": b""}),
    ("sftp", SFTP, {"password": b"x" * 100_000}),
    ("sftp", SFTP, KEY),
    ("sftp", SFTP | {"host": "-oProxyCommand=x"}, PASSWORD),
    ("sftp", SFTP | {"host": "h/x"}, PASSWORD),
    ("sftp", SFTP | {"host": "ada@h"}, PASSWORD),
    ("sftp", SFTP | {"user": "a b"}, PASSWORD),
    ("sftp", SFTP | {"port": "0"}, PASSWORD),
    ("sftp", SFTP | {"port": "65536"}, PASSWORD),
    ("sftp", SFTP | {"host_key": "yes"}, PASSWORD),
    ("sftp", SFTP | {"host_key": "SHA256:short"}, PASSWORD),
    ("sftp", SFTP | {"path": "a\nb"}, PASSWORD),
    ("s3", {"bucket": "a/b"}, {}),
    ("s3", {"bucket": "lake"}, KEY),
    ("s3", S3, {}),
    ("s3", S3, {"session_token": b"x"}),
    ("s3", S3 | {"endpoint": "ftp://x"}, KEY),
    ("s3", S3 | {"endpoint": "http://user:word@x"}, KEY),
    ("s3", S3 | {"endpoint": "http://x/path?q"}, KEY),
    ("s3", S3 | {"region": "../x"}, KEY),
    ("s3", S3 | {"prefix": "../x"}, KEY),
    ("s3", S3 | {"prefix": "/x"}, KEY),
    ("s3", S3 | {"prefix": "a//b"}, KEY),
    ("s3", S3 | {"addressing": "x"}, KEY),
]


def test_settings_and_secrets_that_make_no_sense_are_refused(workspace: Workspace) -> None:
    for kind, settings, secrets in REFUSED:
        with pytest.raises(InvalidNameError) as caught:
            workspace.datastores.attach("d", kind, settings, secrets)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300
        assert "user:word" not in str(caught.value)
    assert len(workspace.datastores.list()) == 1


def test_a_name_that_is_none_is_refused(workspace: Workspace) -> None:
    for name in ("", "../x", "a/b", "a b", "x" * 200, "-x", "x\0"):
        for act in (workspace.datastores.get, workspace.datastores.detach):
            with pytest.raises(InvalidNameError):
                act(name)
        with pytest.raises(InvalidNameError):
            workspace.datastores.attach(name, "file", {"path": "/"})


def test_a_secret_given_as_a_setting_is_refused_without_being_repeated(
    workspace: Workspace,
) -> None:
    with pytest.raises(InvalidNameError, match="is a secret") as caught:
        workspace.datastores.attach("d", "sftp", SFTP | {"password": CANARY.decode()})
    assert CANARY.decode() not in str(caught.value)


def test_endpoints_may_have_a_port(workspace: Workspace) -> None:
    for endpoint in ("https://minio.example", "http://10.0.0.1:9000/", "http://[::1]:9"):
        settings = S3 | {"endpoint": endpoint, "prefix": "a/b/"}
        made = workspace.datastores.attach("d", "s3", settings, KEY, replace=True)
        assert made.settings == settings
