"""Ignore files: what git leaves out is left out, and what the fixed rule names always is."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from registry import tree
from registry.errors import InvalidSourceError
from registry.ignore_file import MAX_BYTES, MAX_PATTERNS
from registry.ignore_pattern import parse_patterns
from registry.never_packed import is_never_packed, is_private_key
from registry.source import read_code

SCRIPT = "def init(): ...\ndef run(data): return data\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with score.py, a.csv, keep.txt, data/b.csv and data/deep/c.txt."""
    folder = tmp_path / "src"
    _write(folder, dict.fromkeys(("a.csv", "keep.txt", "data/b.csv", "data/deep/c.txt"), "x"))
    (folder / "score.py").write_text(SCRIPT)
    return folder


def _write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())


def _packed(source: Path) -> set[str]:
    return {file.path for file in read_code(source / "score.py", source).files}


def _notes(source: Path) -> tuple[str, ...]:
    return read_code(source / "score.py", source).notes


def test_without_an_ignore_file_all_is_packed(source: Path) -> None:
    assert _packed(source) == {"score.py", "a.csv", "keep.txt", "data/b.csv", "data/deep/c.txt"}
    assert _notes(source) == ()


@pytest.mark.parametrize("name", [".inferryignore", ".amlignore", ".gitignore"])
def test_each_ignore_file_leaves_out_and_says_so(source: Path, name: str) -> None:
    (source / name).write_text("# large\n*.csv\n/data/deep/\n")
    assert _packed(source) == {"score.py", "keep.txt", name}
    assert _notes(source) == (f"left out 3 by {name} (a.csv, data/b.csv, data/deep)",)


def test_azures_file_stands_for_gits_and_ours_for_both(source: Path) -> None:
    (source / ".gitignore").write_text("*.csv\n")
    (source / "data/.gitignore").write_text("deep\n")
    (source / ".amlignore").write_text("keep.txt\n")
    assert {"a.csv", "data/b.csv", "data/deep/c.txt"} <= _packed(source)
    assert "keep.txt" not in _packed(source)
    (source / ".inferryignore").write_text("a.csv\n")
    assert "keep.txt" in _packed(source)
    assert "a.csv" not in _packed(source)


def test_an_empty_ignore_file_of_ours_switches_gits_off(source: Path) -> None:
    (source / ".gitignore").write_text("*.csv\n")
    (source / ".inferryignore").write_text("")
    assert "a.csv" in _packed(source)


def test_gits_files_in_folders_count_for_these(source: Path) -> None:
    (source / ".gitignore").write_text("*.csv\n")
    (source / "data/.gitignore").write_text("!b.csv\n/deep\n")
    assert _packed(source) == {
        "score.py",
        "keep.txt",
        ".gitignore",
        "data/.gitignore",
        "data/b.csv",
    }


def test_what_lies_in_a_folder_that_is_left_out_cannot_come_back(source: Path) -> None:
    (source / ".amlignore").write_text("data/\n!data/b.csv\n")
    assert "data/b.csv" not in _packed(source)


@pytest.mark.parametrize("name", [".inferryignore", ".amlignore", ".gitignore"])
def test_no_ignore_file_brings_back_a_secret(source: Path, name: str) -> None:
    _write(source, {".env": "s", "data/.env.prod": "s", "k.PEM": "s", ".git/config": "s"})
    (source / name).write_text("!.env\n!*.pem\n!*.PEM\n!.git\n!.git/**\n!**\n")
    assert not {".env", "data/.env.prod", "k.PEM", ".git/config"} & _packed(source)
    assert _notes(source) == ("left out 4 by rule (.env, .env.prod, .git, k.PEM)",)


def test_an_example_of_an_environment_is_packed(source: Path) -> None:
    _write(source, {".env.example": "KEY=", ".env.local": "KEY=1"})
    assert ".env.example" in _packed(source)
    assert ".env.local" not in _packed(source)


def test_a_virtual_environment_of_any_name_is_left_out(source: Path) -> None:
    _write(source, {"py/pyvenv.cfg": "", "py/lib/x.py": "", "venv/x.py": ""})
    assert not {"py/pyvenv.cfg", "py/lib/x.py"} & _packed(source)
    assert "venv/x.py" in _packed(source)


def test_a_workspace_of_any_name_is_left_out(source: Path) -> None:
    _write(source, {"ws/workspace.db": "", "ws/store/oci-layout": "", "ws/keys/other": "secret"})
    assert not any(path.startswith("ws/") for path in _packed(source))


@pytest.mark.parametrize(
    "path",
    [
        *(".env", "a/.ENV", ".env.production", ".git", "a/.git", ".gitconfig", ".git-credentials"),
        *(".aws", ".azure", "home/.config/gcloud", ".config/gcloud", ".kube", ".docker", ".ssh"),
        *("id_rsa", "a/id_ed25519", "id_ecdsa_sk", "x.pem", "x.key", "x.p12", "x.pfx", "x.jks"),
        *(".netrc", "_netrc", ".pypirc", ".npmrc", "node_modules", ".venv", ".ipynb_checkpoints"),
        *(".mypy_cache", ".pytest_cache", ".tox", ".inferry", "__pycache__", "a.pyc", ".DS_Store"),
    ],
)
def test_the_rule_names(path: str) -> None:
    assert is_never_packed(path)


@pytest.mark.parametrize(
    "path",
    [
        *("env", "environment.py", "a.env", "id_map.py", "id_rsa.pub", "keys.py", "pem.py", "git"),
        *(".gitignore", ".amlignore", ".config/app", "gcloud", ".env.example", "my_node_modules"),
    ],
)
def test_the_rule_does_not_name(path: str) -> None:
    assert not is_never_packed(path)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (".amlignore", "score.py\n", "'score.py' is left out by the source's .amlignore"),
        (".gitignore", "*\n", "'score.py' is left out by the source's .gitignore"),
    ],
)
def test_a_script_that_is_ignored_is_refused(source: Path, name: str, text: str, says: str) -> None:
    (source / name).write_text(text)
    with pytest.raises(InvalidSourceError, match=says):
        read_code(source / "score.py", source)


def test_a_script_in_an_ignored_folder_is_refused(source: Path) -> None:
    _write(source, {"lib/deep/score.py": SCRIPT, ".amlignore": "lib\n", ".venv/score.py": SCRIPT})
    with pytest.raises(InvalidSourceError, match=r"lies in 'lib', which is left out by .*amlignor"):
        read_code(source / "lib/deep/score.py", source)
    with pytest.raises(
        InvalidSourceError, match=r"lies in '\.venv', which is left out by the rule"
    ):
        read_code(source / ".venv/score.py", source)


def test_a_folder_that_is_left_out_is_not_entered(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files it has: they would not count, but take time."""
    _write(source, {"node_modules/x/y.js": "", "data/z": "", "run/log": "", ".amlignore": "run\n"})
    entered = []
    scandir = os.scandir

    def seen(folder: Path) -> os.ScandirIterator[str]:  # type: ignore[name-defined]
        entered.append(Path(folder).relative_to(source).as_posix())
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", seen)
    assert "data/z" in _packed(source)
    assert set(entered) == {".", "data", "data/deep"}


def test_ignored_files_do_not_count_as_files(source: Path) -> None:
    _write(source, {f"data/{number}.csv": "" for number in range(20)})
    wanted = tree.walk(source, max_files=6, is_wanted=lambda path, _: not path.endswith(".csv"))
    assert {file.path for file in wanted} == {"score.py", "keep.txt", "data/deep/c.txt"}
    with pytest.raises(InvalidSourceError, match="more than 6"):
        tree.walk(source, max_files=6)


def test_a_link_that_is_ignored_does_no_harm(source: Path) -> None:
    (source / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidSourceError, match="symbolic link"):
        read_code(source / "score.py", source)
    (source / ".amlignore").write_text("link\n")
    assert "link" not in _packed(source)


def _as_link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _as_folder(path: Path) -> None:
    path.mkdir()


def _as_pipe(path: Path) -> None:
    os.mkfifo(path)


def _too_large(path: Path) -> None:
    path.write_bytes(b"#" * (MAX_BYTES + 1))


def _too_many(path: Path) -> None:
    path.write_bytes(b"x\n" * (MAX_PATTERNS + 1))


@pytest.mark.parametrize("make", [_as_link, _as_folder, _as_pipe, _too_large, _too_many])
@pytest.mark.parametrize("name", [".amlignore", ".gitignore", "data/.gitignore"])
def test_an_odd_ignore_file_is_refused(source: Path, name: str, make: object) -> None:
    assert callable(make)
    make(source / name)
    with pytest.raises(InvalidSourceError, match="ignore file"):
        read_code(source / "score.py", source)


def test_names_that_are_no_text_can_be_ignored(source: Path) -> None:
    (source / os.fsdecode(b"bad\xff.csv")).write_bytes(b"")
    with pytest.raises(InvalidSourceError, match="no valid text"):
        read_code(source / "score.py", source)
    (source / ".amlignore").write_bytes(b"bad?.csv\n")
    assert "score.py" in _packed(source)


@pytest.mark.parametrize(
    "head",
    [
        *(
            b"-----BEGIN PRIVATE KEY-----\n",
            b"-----BEGIN RSA PRIVATE KEY-----",
            b"\n -----BEGIN EC",
        ),
        *(b"-----BEGIN OPENSSH PRIVATE KEY-----", b"-----BEGIN ENCRYPTED PRIVATE KEY-----"),
        *(b"-----BEGIN PGP PRIVATE KEY BLOCK-----", b"\xef\xbb\xbf-----BEGIN PRIVATE KEY-----"),
        *(b"Bag Attributes\n  a: b\n-----BEGIN PRIVATE KEY-----", b"PuTTY-User-Key-File-3: ssh"),
    ],
)
def test_a_private_key_of_any_name_is_refused(source: Path, head: bytes) -> None:
    if head.endswith(b"EC"):
        head += b" PRIVATE KEY-----"
    (source / "data/notes.txt").write_bytes(head)
    with pytest.raises(InvalidSourceError, match=r"'data/notes\.txt' is a private key"):
        read_code(source / "score.py", source)
    (source / ".amlignore").write_text("notes.txt\n")
    assert "data/notes.txt" not in _packed(source)


@pytest.mark.parametrize(
    "head",
    [
        *(b"-----BEGIN CERTIFICATE-----", b"-----BEGIN PUBLIC KEY-----", b"", b"\0" * 4096),
        *(b'KEY = """-----BEGIN PRIVATE KEY-----', b"see -----BEGIN PRIVATE KEY-----"),
    ],
)
def test_what_is_no_private_key(head: bytes) -> None:
    assert not is_private_key(head)


def test_hostile_patterns_take_no_time() -> None:
    """Each of them takes a naive matcher, or a regular expression, longer than anyone waits."""
    name = b"a" * 200
    patterns = [b"*a" * 60 + b"b", b"**/a/" * 40 + b"b", b"*" * 1000 + b"b", b"[a-z]*" * 60 + b"!"]
    start = time.thread_time()
    for [pattern] in map(parse_patterns, patterns):
        assert not pattern.matches(b"/".join([b"a"] * 400) + b"/" + name, is_folder=False)
    assert time.thread_time() - start < 5


@pytest.fixture(scope="module")
def repository() -> Iterator[Path]:
    """A git repository without anything in it."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    with tempfile.TemporaryDirectory() as folder:
        _git(Path(folder), "init", "--quiet")
        yield Path(folder)


def _git(repository: Path, *words: str, stdin: bytes = b"") -> bytes:
    environment = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/none"}
    done = subprocess.run(
        ["git", "-C", str(repository), *words],
        input=stdin,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **environment},
        timeout=20,
        check=False,
    )
    assert done.returncode in (0, 1)
    return done.stdout


_NAME = st.sampled_from(["a", "b", "ab", "abc", "a.b", "b.py", "lib", "ä", "a b", "-", "#x", "!a"])
_PATH = st.lists(_NAME, min_size=1, max_size=4).map("/".join)
_PIECE = st.sampled_from(
    [
        *("a", "b", "ab", "c", ".py", "lib", "ä", "/", "/", "*", "**", "**/", "/**", "?", "-", "#"),
        *("!", "[ab]", "[!a]", "[^b]", "[a-c]", "[", "]", "[]a]", "[[:alpha:]]", "[[:x:]]", "\\"),
        *(" ", "\\ ", "\\a", "\\*", "[a/b]", "[\\]]", "[a-]", "[[:alpha:]-z]", "[c-a]", "\t", "\r"),
    ]
)
_LINE = st.one_of(_PATH, st.lists(_PIECE, min_size=1, max_size=6).map("".join))
_FILE = st.lists(
    st.tuples(st.sampled_from(["", "", "!", "/"]), _LINE, st.sampled_from(["", "", "/"])).map(
        "".join
    ),
    max_size=6,
).map("\n".join)


@pytest.mark.slow
@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.sets(_PATH, min_size=1, max_size=8), _FILE, st.dictionaries(_PATH, _FILE, max_size=2))
@example({"lib/build/x.o", "x"}, "build/\n!lib", {})
@example({"ab/c/b.py", "a/b"}, "a**\n!a/b**/c", {"ab": "!b.py\n"})
@example({"a/b.py"}, "*.py\n", {"a": "!b.py\r\n"})
def test_it_leaves_out_what_git_leaves_out(
    repository: Path, paths: set[str], top: str, nested: dict[str, str]
) -> None:
    for old in repository.iterdir():
        if old.name != ".git":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    _plant(repository, {path: "x" for path in sorted(paths)})
    _plant(repository, {".gitignore": top, **{f"{at}/.gitignore": it for at, it in nested.items()}})
    (repository / "score.py").write_text(SCRIPT)
    there = {path.relative_to(repository).as_posix() for path in _files(repository)}
    stdin = "\0".join(sorted(there)).encode()
    answer = _git(repository, "check-ignore", "--no-index", "--stdin", "-z", stdin=stdin)
    ignored = set(answer.decode().split("\0")) - {""}
    if "score.py" in ignored:
        with pytest.raises(InvalidSourceError, match="left out by"):
            read_code(repository / "score.py", repository)
    else:
        assert _packed(repository) == there - ignored


def _plant(folder: Path, files: Mapping[str, str]) -> None:
    """Those of the files whose place is not taken."""
    for path, text in files.items():
        try:
            _write(folder, {path: text})
        except OSError:
            continue


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and ".git" not in path.relative_to(folder).parts:
            yield path
