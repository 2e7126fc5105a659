"""Secrets and keys: sealed at rest, never in a ledger or record."""

from __future__ import annotations

import concurrent.futures
import stat

import pytest

from registry import Workspace
from registry.deployments import RevisionSettings
from registry.deployments.sealing import Seal
from registry.errors import InUseError, InvalidNameError, NotFoundError, TrustError


def test_a_secret_comes_back_and_lies_nowhere_in_plain(made: Workspace) -> None:
    value = b"correct horse battery staple"
    made.deployments.create(
        "web",
        "adder:1",
        secrets={"token": value},
        settings=RevisionSettings(secrets=("token",)),
        actor="a",
    )
    assert made.deployments.secrets("web") == {"token": value}
    keys = [key.encode() for key in made.deployments.keys("web").values()]
    for path in made.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert value not in data, path
            assert not any(key in data for key in keys), path
    assert "horse" not in repr(made.deployments.get("web"))
    assert "horse" not in repr(made.deployments.ledger("web"))


def test_a_key_is_renewed_while_the_other_stays(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    before = made.deployments.keys("web")
    new = made.deployments.renew_key("web", "primary", actor="a")
    after = made.deployments.keys("web")
    assert after == {"primary": new, "secondary": before["secondary"]}
    assert new != before["primary"]
    with pytest.raises(InvalidNameError):
        made.deployments.renew_key("web", "third", actor="a")  # type: ignore[arg-type]


def test_a_secret_in_use_is_not_removed(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", secrets={"t": b"1", "u": b"2"}, actor="a")
    made.deployments.update("web", settings=RevisionSettings(secrets=("t",)), actor="a")
    with pytest.raises(InUseError, match="revision 2"):
        made.deployments.remove_secret("web", "t", actor="a")
    made.deployments.remove_secret("web", "u", actor="a")
    with pytest.raises(NotFoundError):
        made.deployments.remove_secret("web", "u", actor="a")
    made.deployments.set_secret("web", "t", b"3", actor="a")
    assert made.deployments.secrets("web") == {"t": b"3"}


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".", "a\n"])
def test_names_that_are_no_file_are_refused(made: Workspace, name: str) -> None:
    with pytest.raises(InvalidNameError):
        made.deployments.create("web", "adder:1", secrets={name: b"1"}, actor="a")


def test_a_secret_has_a_bound(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    with pytest.raises(InvalidNameError, match="bytes"):
        made.deployments.set_secret("web", "t", b"x" * 65_537, actor="a")


def test_another_key_or_one_that_others_read_is_said(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", secrets={"t": b"1"}, actor="a")
    path = made.root / "keys" / "secrets.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(TrustError, match="chmod 600"):
        made.deployments.secrets("web")
    path.chmod(0o600)
    old = path.read_bytes()
    path.unlink()
    with pytest.raises(TrustError, match="cannot be read"):
        made.deployments.secrets("web")
    Seal(path.parent).close(b"makes another one")
    with pytest.raises(TrustError, match="another key"):
        made.deployments.secrets("web")
    path.write_bytes(path.read_bytes() + old)
    assert made.deployments.secrets("web") == {"t": b"1"}
    path.write_bytes(b"nonsense")
    with pytest.raises(TrustError, match="no key"):
        made.deployments.secrets("web")


def test_of_many_first_uses_one_key_wins(made: Workspace) -> None:
    folder = made.root / "keys2"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(lambda n: Seal(folder).close(b"%d" % n), range(16)))
    assert [Seal(folder).open(each) for each in sealed] == [b"%d" % n for n in range(16)]
    assert [path.name for path in folder.iterdir()] == ["secrets.key"]
