from __future__ import annotations

import json

import pytest

from registry.dependencies import Lock, LockedWheel
from registry.dependencies.lock import make_lock, read_pylock
from registry.errors import RequirementsError
from registry.platforms import Platform, Target
from tests.registry.dependencies.wheel_maker import AMD64, ARM64

A, B, C = "a" * 64, "b" * 64, "c" * 64
SITE = "https://user:secret@index.example/packages"


def pylock(*wheels: tuple[str, str], name: str = "demo", version: str = "1.0") -> str:
    lines = ['lock-version = "1.0"', "[[packages]]", f'name = "{name}"', f'version = "{version}"']
    rows = [
        f'{{ url = "{SITE}/{file}", size = 5, hashes = {{ sha256 = "{sha256}" }} }}'
        for file, sha256 in wheels
    ]
    return "\n".join([*lines, f"wheels = [{', '.join(rows)}]"])


def test_the_wheel_that_fits_the_target_best_is_locked() -> None:
    text = pylock(
        ("demo-1.0-py3-none-any.whl", A),
        ("demo-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", B),
        ("demo-1.0-cp310-abi3-manylinux_2_28_aarch64.whl", C),
    )
    assert read_pylock(text, AMD64, {}).wheels[0].sha256 == B
    assert read_pylock(text, ARM64, {}).wheels[0].sha256 == C
    old = Target(Platform("arm64"), (3, 11), (2, 17))
    assert read_pylock(text, old, {}).wheels[0].sha256 == A


@pytest.mark.parametrize(
    "tag",
    [
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_37_x86_64",
        "cp311-cp311-musllinux_1_2_x86_64",
        "cp311-cp311-manylinux_2_17_i686",
        "cp311-cp311-macosx_11_0_arm64",
        "cp311-cp311-win_amd64",
        "py2-none-any",
        "pp311-pypy311_pp73-manylinux_2_17_x86_64",
    ],
)
def test_a_wheel_of_another_machine_is_refused(tag: str) -> None:
    with pytest.raises(RequirementsError, match=r"demo 1\.0 has no wheel for linux/amd64"):
        read_pylock(pylock((f"demo-1.0-{tag}.whl", A)), AMD64, {})


@pytest.mark.parametrize(
    "tag", ["cp37-abi3-manylinux1_x86_64", "py2.py3-none-any", "cp311-cp311-linux_x86_64"]
)
def test_a_wheel_for_many_is_taken(tag: str) -> None:
    assert read_pylock(pylock((f"demo-1.0-{tag}.whl", A)), AMD64, {}).wheels[0].sha256 == A


def test_only_a_wheel_with_a_demanded_hash_is_locked() -> None:
    text = pylock(
        ("demo-1.0-cp311-abi3-manylinux_2_17_x86_64.whl", A), ("demo-1.0-py3-none-any.whl", B)
    )
    assert read_pylock(text, AMD64, {"demo": frozenset([B, C])}).wheels[0].sha256 == B
    with pytest.raises(RequirementsError, match="has a hash that the requirements demand"):
        read_pylock(text, AMD64, {"demo": frozenset([C])})


def test_a_lock_keeps_no_password() -> None:
    lock = read_pylock(pylock(("demo-1.0-py3-none-any.whl", A)), AMD64, {})
    assert lock.wheels[0].url == "https://index.example/packages/demo-1.0-py3-none-any.whl"
    assert "index.example" not in lock.text()


def test_the_text_is_sorted_and_its_digest_does_not_know_where_wheels_lie() -> None:
    one = LockedWheel("a", "1", "a-1-py3-none-any.whl", A, 5, "https://x.example/a")
    other = LockedWheel("b", "2", "b-2-py3-none-any.whl", B, None, "file:///b")
    lock = make_lock(AMD64, [other, one])
    assert lock.text() == f"a==1 --hash=sha256:{A}\nb==2 --hash=sha256:{B}\n"
    moved = make_lock(AMD64, [one, LockedWheel("b", "2", other.file, B, 7, "https://y.example/b")])
    assert moved.digest == lock.digest
    assert Lock.from_json(lock.to_json()) == lock
    with pytest.raises(RequirementsError, match="twice"):
        make_lock(AMD64, [one, one])


@pytest.mark.parametrize(
    "text",
    [
        "no toml [",
        'packages = "x"',
        "packages = [1]",
        '[[packages]]\nname = "demo"',
        '[[packages]]\nname = 1\nversion = "1"',
        '[[packages]]\nname = "demo"\nversion = "1.0"',
        '[[packages]]\nname = "demo"\nversion = "1.0"\nsdist = {url = "https://x/demo-1.0.tar.gz"}',
        '[[packages]]\nname = "demo"\nversion = "1.0"\nvcs = {type = "git", url = "https://x"}',
        '[[packages]]\nname = "demo"\nversion = "1.0"\nwheels = [{ path = "/etc/passwd" }]',
        '[[packages]]\nname = "demo"\nversion = "1.0"\nwheels = [{ url = "https://x/demo-1.0-py3-none-any.whl" }]',  # noqa: E501
        pylock(("demo-1.0.tar.gz", A)),
        pylock(("demo-1.0-py3-none-any.whl", "0" * 63)),
        pylock(("demo-1.0-py3-none-any.whl", "G" * 64)),
        pylock(("other-1.0-py3-none-any.whl", A)),
        pylock(("demo-2.0-py3-none-any.whl", A)),
        pylock(("..%2f..%2fdemo-1.0-py3-none-any.whl/", A)),
        pylock(("demo-1.0-py3-none-any.whl%00", A)),
        pylock(("%0ademo-1.0-py3-none-any.whl", A)),
        pylock(("demo-1.0-py3-none-any.whl", A)).replace("https:", "ftp:"),
        pylock(("demo-1.0-py3-none-any.whl", A)).replace("https:", "gopher:"),
        pylock(("demo-1.0-py3-none-any.whl", A)).replace("size = 5", "size = -5"),
        pylock(("demo-1.0-py3-none-any.whl", A)).replace("size = 5", 'size = "5"'),
        pylock(("demo-1.0-py3-none-any.whl", A)).replace("size = 5", 'name = "../demo.whl"'),
        pylock(("demo-1.0-py3-none-any.whl", A)).replace("size = 5", "name = 5"),
        pylock(("demo-1.0-py3-none-any.whl", A)).replace("https://", "https://["),
    ],
)
def test_a_lock_that_cannot_be_right_is_refused(text: str) -> None:
    with pytest.raises(RequirementsError) as raised:
        read_pylock(text, AMD64, {})
    assert str(raised.value).isprintable()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("form", 2),
        ("form", None),
        ("platform", "linux/mips"),
        ("python", "3"),
        ("glibc", [2]),
        ("wheels", None),
        ("wheels", [["demo", "1.0", "../demo-1.0-py3-none-any.whl", A, 5, "https://x/"]]),
        ("wheels", [["demo", "1.0", "demo-1.0-py3-none-any.whl", "../" + A[3:], 5, "https://x/"]]),
        ("wheels", [["demo", "1.0", "demo-1.0-py3-none-any.whl", A, 5, "data:x"]]),
        ("wheels", [["demo", "1.0", "demo-1.0-py3-none-any.whl", A, True, "https://x/"]]),
        ("wheels", [["demo"]]),
    ],
)
def test_a_stored_lock_that_was_changed_is_refused(key: str, value: object) -> None:
    document = json.loads(Lock(AMD64, ()).to_json())
    with pytest.raises(RequirementsError):
        Lock.from_json(json.dumps({**document, key: value}))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "[" * 100_000])
def test_a_stored_lock_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RequirementsError, match="--relock"):
        Lock.from_json(text)
