"""``inferry image ...``, and what an image uses."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from runtime.fpga_compiler import order
from tests.ports import free_port
from tests.runtime.conftest import Cli
from tests.runtime.test_model import assert_refused

SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"


@pytest.fixture
def model(cli: Cli, tmp_path: Path) -> str:
    (tmp_path / "weights.bin").write_bytes(b"\x00" * 100)
    (tmp_path / "score.py").write_text(SCRIPT)
    cli("model", "register", "weights.bin", "--name", "m")
    return "m:1"


def test_create_list_show_and_tag(cli: Cli, model: str) -> None:
    done = cli("image", "create", "i", "--model", model, "--script", "score.py", "--tag", "a=1")
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("Created i:1, digest sha256:")
    shown = json.loads(cli("image", "show", "i", "-o", "json").stdout)
    assert shown["models"] == [model]
    assert shown["tags"] == {"a": "1"}
    assert shown["digest"].startswith("sha256:")
    lines = {"came_from": [f"model {model}"], "used_by": []}
    assert [{**i, **lines} for i in json.loads(cli("image", "list", "-o", "json").stdout)] == [
        shown
    ]
    assert model in cli("image", "list").stdout
    assert cli("image", "tag", "i", "a=2", "--remove", "b").code == 0
    assert json.loads(cli("image", "show", "i:1", "-o", "json").stdout)["tags"] == {"a": "2"}


def test_the_same_inputs_give_the_same_digest(cli: Cli, model: str) -> None:
    digests = set()
    for _ in range(2):
        made = cli("image", "create", "i", "--model", model, "--script", "score.py", "-o", "json")
        digests.add(json.loads(made.stdout)["models"][0])
    assert len(digests) == 1


def test_a_model_in_use_is_not_deleted_and_the_users_are_named(cli: Cli, model: str) -> None:
    for name in ("first", "second"):
        cli("image", "create", name, "--model", model, "--script", "score.py")
    assert_refused(cli("model", "delete", model), "first:1", "second:1")
    for name in ("first", "second"):
        assert cli("image", "delete", f"{name}:1").code == 0
    assert cli("model", "delete", model).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["i", "--model", "nobody"],
        ["i", "--model", "m:7"],
        ["i", "--model", "m", "--script", "not-there.py"],
        ["i", "--model", "m", "--script", "score.py", "--source", "not-there"],
        ["i", "--model", "m", "--script", "score.py", "--requirements", "not-there"],
        ["../i", "--model", "m", "--script", "score.py"],
    ],
)
def test_what_cannot_be_packaged_is_refused(cli: Cli, model: str, arguments: list[str]) -> None:
    assert_refused(cli("image", "create", *arguments))


def test_an_unknown_image_is_refused(cli: Cli) -> None:
    for arguments in (["show", "i"], ["delete", "i:1"], ["tag", "i", "a=1"]):
        assert_refused(cli("image", *arguments), "i")


@pytest.fixture
def image(cli: Cli, model: str) -> str:
    """A bundle only."""
    done = cli("image", "create", "i", "--model", model, "--script", "score.py", "--tag", "a=1")
    assert done.code == 0, done.stderr
    return "i:1"


def stored(image: dict[str, object], folder: Path) -> list[Path]:
    """All blobs of an image."""
    blobs = folder / ".inferry/store/blobs/sha256"
    referrers = image["referrers"]
    assert isinstance(referrers, list)
    found = set()
    for manifest in (image["digest"], *referrers):
        path = blobs / str(manifest).removeprefix("sha256:")
        content = json.loads(path.read_bytes())
        parts = [content["config"], *content["layers"]]
        found |= {path, *(blobs / part["digest"].removeprefix("sha256:") for part in parts)}
    return sorted(found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base", "base.tar", "--dockerfile", "Dockerfile"], ["--dockerfile", "--base"]),
        (["--requirements", "r.txt", "--conda", "c.yml"], ["--requirements", "--conda"]),
        (["--platform", "windows/amd64"], ["--platform"]),
        (["--kind", "vm"], ["--kind"]),
        (["--max-batch", "0"], ["--max-batch"]),
    ],
)
def test_options_that_make_no_sense_are_a_usage_error(
    cli: Cli, model: str, arguments: list[str], words: list[str]
) -> None:
    done = cli("image", "create", "i", "--model", model, *arguments)
    assert (done.code, done.stdout) == (2, ""), done
    for word in words:
        assert word in done.stderr
    assert json.loads(cli("image", "list", "-o", "json").stdout) == []


def test_an_image_without_models_is_a_usage_error(cli: Cli) -> None:
    assert cli("image", "create", "i").code == 2


def test_an_fpga_image_needs_a_compiler(
    cli: Cli, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "find_spec", lambda name: None if name == "onnxruntime" else name)
    done = cli("image", "create", "i", "--model", model, "--kind", "fpga")
    assert_refused(done, "needs onnxruntime", "pip install")
    assert json.loads(cli("image", "list", "-o", "json").stdout) == []


def test_the_log_says_how_it_was_made(cli: Cli, image: str) -> None:
    log = cli("image", "log", image).stdout
    digest = json.loads(cli("image", "show", image, "-o", "json").stdout)["digest"]
    for words in ("models: m:1", "code layer sha256:", "model layer sha256:", f"i:1 {digest}"):
        assert words in log


def test_show_is_short_for_people_and_complete_as_json(cli: Cli, image: str) -> None:
    shown = json.loads(cli("image", "show", image, "-o", "json").stdout)
    assert [layer["kind"] for layer in shown["layers"]] == ["code", "model"]
    assert len(shown["referrers"]) == 2
    assert shown["lock"] is shown["base"] is shown["proof"] is None
    table = cli("image", "show", image).stdout
    assert shown["digest"] in table
    assert f"inferry image log {image}" in table
    assert "models: m:1" not in table  # the log's lines
    assert "lock" not in table


def test_a_bundle_has_no_lock(cli: Cli, image: str) -> None:
    assert_refused(cli("image", "lock", image), image, "no Python packages")


def test_a_bundle_is_verified_without_an_engine(cli: Cli, image: str, tmp_path: Path) -> None:
    verified = json.loads(cli("image", "verify", image, "-o", "json").stdout)
    shown = json.loads(cli("image", "show", image, "-o", "json").stdout)
    assert (verified["name"], verified["version"]) == ("i", 1)
    assert verified["digest"] == shown["digest"]
    [key] = verified["keys"]
    assert f"Verified i:1, digest {shown['digest']}, signed by key {key}" in (
        cli("image", "verify", image).stdout
    )
    public = next((tmp_path / ".inferry/keys").glob("*.pub"))
    assert cli("image", "verify", image, "--key", str(public)).code == 0


def test_a_changed_byte_of_any_blob_is_detected(cli: Cli, image: str, tmp_path: Path) -> None:
    paths = stored(json.loads(cli("image", "show", image, "-o", "json").stdout), tmp_path)
    assert len(paths) == 9
    for path in paths:
        good = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        assert_refused(cli("image", "verify", image), "damaged")
        path.write_bytes(good)
    assert cli("image", "verify", image).code == 0


@pytest.mark.parametrize(
    "key", ["not-there.pub", "score.py", "ed25519:!", "ed25519:AAAA", f"ed25519:{'A' * 43}="]
)
def test_a_key_that_did_not_sign_is_refused(cli: Cli, image: str, key: str) -> None:
    assert_refused(cli("image", "verify", image, "--key", key))


@pytest.mark.parametrize("name", ["out", "out.tar"])
def test_an_export_is_an_oci_layout_and_replaces_nothing_unasked(
    cli: Cli, image: str, tmp_path: Path, name: str
) -> None:
    done = cli("image", "export", image, name, "--format", "oci")
    assert (done.code, done.stdout) == (0, f"Wrote {name}\n"), done.stderr
    assert_refused(cli("image", "export", image, name), name, "is there already")
    assert cli("image", "export", image, name, "--force").code == 0
    target = tmp_path / name
    if target.is_file():
        with tarfile.open(target) as archive:
            assert {"oci-layout", "index.json"} <= set(archive.getnames())
    else:
        assert json.loads((target / "oci-layout").read_text())["imageLayoutVersion"] == "1.0.0"
        index = json.loads((target / "index.json").read_text())
        shown = json.loads(cli("image", "show", image, "-o", "json").stdout)
        assert {each["digest"] for each in index["manifests"]} >= {shown["digest"]}


def test_a_forced_export_does_not_replace_a_folder_of_something_else(
    cli: Cli, image: str, tmp_path: Path
) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers/thesis.txt").write_text("years of work")
    assert_refused(cli("image", "export", image, "papers", "--force"), "papers")
    assert (tmp_path / "papers/thesis.txt").read_text() == "years of work"


def test_a_push_to_where_nobody_listens_says_so(cli: Cli, image: str) -> None:
    port = free_port()
    done = cli("image", "push", image, f"127.0.0.1:{port}/team/i")
    assert_refused(done, f"127.0.0.1:{port}", "nothing listens")


@pytest.mark.parametrize(
    "target", ["UPPER/x y", "127.0.0.1:99999999/x", "", "host/../x", "http://h/x"]
)
def test_a_push_to_what_is_no_reference_is_refused(cli: Cli, image: str, target: str) -> None:
    assert_refused(cli("image", "push", image, target))


def test_a_name_that_docker_would_refuse_is_refused_for_a_container_only(
    cli: Cli, model: str
) -> None:
    command = ("image", "create", "Digits", "--model", model, "--script", "score.py")
    assert_refused(cli(*command, "--base", "base.tar"), "Digits", "lower-case")
    assert json.loads(cli("image", "list", "-o", "json").stdout) == []
    assert cli(*command).code == 0


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("127.0.0.1:9/x:1", ["127.0.0.1:9", "check"]),
        ("not-there.tar", ["not-there.tar"]),
        ("oci:not-there", ["not-there"]),
        ("score.py.tar", ["score.py.tar"]),
    ],
)
def test_a_base_that_cannot_be_read_leaves_a_record_that_says_so(
    cli: Cli, model: str, tmp_path: Path, base: str, words: list[str]
) -> None:
    (tmp_path / "score.py.tar").write_text(SCRIPT)
    done = cli("image", "create", "i", "--model", model, "--script", "score.py", "--base", base)
    assert done.code == 1
    complaints = [line for line in done.stderr.splitlines() if line.startswith("inferry: ")]
    assert len(complaints) == 1, done.stderr
    assert complaints[0] == done.stderr.splitlines()[-1]
    for word in words:
        assert word in complaints[0]
    shown = json.loads(cli("image", "show", "i", "-o", "json").stdout)
    assert (shown["state"], shown["digest"]) == ("failed", None)
    assert complaints[0] == f"inferry: {shown['cause']}"
    for arguments in (["verify", "i"], ["export", "i", "out"], ["push", "i", "127.0.0.1:9/x"]):
        assert_refused(cli("image", *arguments), "i:1", "was not made")
