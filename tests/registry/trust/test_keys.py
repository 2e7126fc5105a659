"""Keys: made once, kept to oneself, and read from where others make them."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.errors import TrustError
from registry.trust import WorkspaceKey, parse_public_key, sign
from registry.trust.envelope import PAYLOAD_TYPE, pae, read_envelope
from registry.trust.keys import MAX_FILE_BYTES
from registry.trust.public_key import public_key
from tests.registry.trust.signed_image import new_key

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def _openssl(*words: str | Path) -> bytes:
    done = subprocess.run(
        ["openssl", *map(str, words)], stdout=subprocess.PIPE, timeout=20, check=True
    )
    return done.stdout


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "ws/keys"
    key = WorkspaceKey.load_or_create(folder)
    assert {path.name for path in folder.iterdir()} == {"signing.pem", "signing.pub"}
    assert stat.S_IMODE((folder / "signing.pem").stat().st_mode) == 0o600
    assert key.key_id == hashlib.sha256(key.public.raw).hexdigest()
    again = WorkspaceKey.load_or_create(folder)
    assert again.public == key.public
    assert again.sign(b"x") == key.sign(b"x")
    assert WorkspaceKey.load(folder).public == key.public


def test_its_mode_does_not_hang_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        WorkspaceKey.load_or_create(tmp_path / "keys")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys/signing.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_key_does_not_show_itself(tmp_path: Path) -> None:
    key = WorkspaceKey.load_or_create(tmp_path)
    secret = (tmp_path / "signing.pem").read_text().split("\n")[1]
    assert secret not in f"{key!r} {key} {vars(key)}"


@pytest.mark.slow
def test_processes_that_make_it_at_once_have_one_key(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from registry.trust import WorkspaceKey;"
        " sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline();"
        " print(WorkspaceKey.load_or_create(Path(sys.argv[1])).key_id)"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "keys")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    answers = set()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        answers.add(child.communicate(timeout=20)[0])
    assert len(answers) == 1
    assert answers == {f"{WorkspaceKey.load(tmp_path / 'keys').key_id}\n"}
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {"signing.pem", "signing.pub"}


def test_a_public_file_that_its_maker_did_not_get_to_write_is_written(tmp_path: Path) -> None:
    key = WorkspaceKey.load_or_create(tmp_path)
    (tmp_path / "signing.pub").unlink()
    assert WorkspaceKey.load(tmp_path).public == key.public
    assert parse_public_key((tmp_path / "signing.pub").read_bytes()) == key.public


def test_there_is_nothing_to_load(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="there is no key"):
        WorkspaceKey.load(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def _open_to_all(folder: Path) -> None:
    (folder / "signing.pem").chmod(0o644)


def _open_to_its_group(folder: Path) -> None:
    (folder / "signing.pem").chmod(0o640)


def _linked(folder: Path) -> None:
    (folder / "signing.pem").rename(folder / "other.pem")
    (folder / "signing.pem").symlink_to("other.pem")


def _folder(folder: Path) -> None:
    (folder / "signing.pem").unlink()
    (folder / "signing.pem").mkdir(mode=0o700)


def _pipe(folder: Path) -> None:
    (folder / "signing.pem").unlink()
    os.mkfifo(folder / "signing.pem", 0o600)


def _holds(data: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "signing.pem").write_bytes(data)

    return change


def _cut(folder: Path) -> None:
    data = (folder / "signing.pem").read_bytes()
    (folder / "signing.pem").write_bytes(data[: len(data) // 2])


def _another(folder: Path) -> None:
    other = WorkspaceKey.load_or_create(folder / "other")
    (folder / "signing.pub").write_bytes(other.public.pem)


def _other_public_text(folder: Path) -> None:
    (folder / "signing.pub").write_bytes(b"hello")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_open_to_all, r"can be used by others \(mode 0644\).*chmod 600"),
        (_open_to_its_group, r"can be used by others \(mode 0640\)"),
        (_linked, "cannot read or make"),
        (_folder, "cannot read or make|no plain file"),
        (_pipe, "no plain file"),
        (_holds(b""), "no private key in PEM form"),
        (_holds(b"\xff\0" * 99), "no private key in PEM form"),
        (_holds(b"x" * (MAX_FILE_BYTES + 1)), "larger than any key"),
        (_cut, "no private key in PEM form"),
        (_another, "not the public half"),
        (_other_public_text, "no public key"),
    ],
)
def test_a_key_file_that_is_not_right_is_refused(
    tmp_path: Path, change: Callable[[Path], None], says: str
) -> None:
    WorkspaceKey.load_or_create(tmp_path)
    change(tmp_path)
    with pytest.raises(TrustError, match=says) as caught:
        WorkspaceKey.load_or_create(tmp_path)
    assert "\n" not in str(caught.value)


@openssl
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], "no Ed25519 key"),
        (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "no Ed25519 key"),
        (["-algorithm", "ed448"], "no Ed25519 key"),
        (["-algorithm", "ed25519", "-aes256", "-pass", "pass:secret"], "encrypted"),
    ],
)
def test_keys_of_other_kinds_are_refused(tmp_path: Path, words: list[str], says: str) -> None:
    (tmp_path / "signing.pem").touch(0o600)
    _openssl("genpkey", "-quiet", *words, "-out", tmp_path / "signing.pem")
    (tmp_path / "signing.pem").chmod(0o600)
    with pytest.raises(TrustError, match=says):
        WorkspaceKey.load_or_create(tmp_path)


@openssl
def test_a_key_that_openssl_made_is_used(tmp_path: Path) -> None:
    _openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "signing.pem")
    (tmp_path / "signing.pem").chmod(0o600)
    pem = _openssl("pkey", "-in", tmp_path / "signing.pem", "-pubout")
    key = WorkspaceKey.load_or_create(tmp_path)
    assert parse_public_key(pem) == key.public
    assert key.public.pem == pem == (tmp_path / "signing.pub").read_bytes()


@openssl
def test_openssl_verifies_what_is_signed(tmp_path: Path) -> None:
    key = WorkspaceKey.load_or_create(tmp_path)
    envelope = read_envelope(sign(b'{"a":1}', [key]))
    (tmp_path / "message").write_bytes(pae(PAYLOAD_TYPE, b'{"a":1}'))
    (tmp_path / "signature").write_bytes(envelope.signatures[0].data)
    words = ("pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(tmp_path / "signing.pub"))
    files = ("-in", str(tmp_path / "message"), "-sigfile", str(tmp_path / "signature"))
    assert b"Verified Successfully" in _openssl(*words, *files)
    (tmp_path / "message").write_bytes(b'{"a":1}')
    with pytest.raises(subprocess.CalledProcessError):
        _openssl(*words, *files)


def test_a_public_key_is_read_as_it_is_written() -> None:
    key = new_key().public
    assert parse_public_key(str(key)) == key
    assert parse_public_key(key.pem) == key
    assert parse_public_key(key.pem.decode().replace("\n", "\r\n")) == key
    assert parse_public_key(f"  {key}\n".encode()) == key


_RAW = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    "text",
    [
        *("", "ed25519:", "ed25519", f"ED25519:{_RAW}", f"ed25519:{_RAW[:-1]}", f"ed25519:{_RAW}="),
        *(f"ed25519: {_RAW}", "ed25519:" + _RAW.replace("=", ""), f"ed25519:{_RAW[:-4]}"),
        *(f"ed25519:{_RAW[:-2]}9=", "ed25519:" + "A" * 5000, "ed25519:ÄÄÄÄ", b"\xff\xfe"),
        *("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----"),
        f"-----BEGIN PUBLIC KEY-----\n{_RAW}\n-----END PUBLIC KEY-----",
        f"-----BEGIN CERTIFICATE-----\n{_RAW}\n-----END CERTIFICATE-----",
    ],
)
def test_what_is_no_public_key_is_refused(text: str | bytes) -> None:
    with pytest.raises(TrustError, match=r"no public key|no Ed25519 key"):
        parse_public_key(text)


def test_two_keys_in_one_text_are_refused() -> None:
    one, two = new_key().public, new_key().public
    with pytest.raises(TrustError, match="no public key"):
        parse_public_key(one.pem + two.pem)


def test_a_private_key_is_not_taken_for_a_public_one(tmp_path: Path) -> None:
    WorkspaceKey.load_or_create(tmp_path)
    with pytest.raises(TrustError, match="this is a private key"):
        parse_public_key((tmp_path / "signing.pem").read_bytes())


@pytest.mark.parametrize(
    "text",
    [
        "00" * 32,
        "01" + "00" * 31,
        "01" + "00" * 30 + "80",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "ff",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ],
)
def test_a_key_that_anybody_can_sign_for_is_refused(text: str) -> None:
    with pytest.raises(TrustError, match="anybody"):
        public_key(bytes.fromhex(text))
