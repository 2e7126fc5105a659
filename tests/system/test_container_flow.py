"""From a model to a container that answers, with the real programs: ``inferry``, docker, skopeo,
umoci, Debian's docker-registry. The images are made once, for all tests of this module."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry.trust import WorkspaceKey
from tests.engine import DockerRegistry, Engine, program, require_engine
from tests.registry.base.samples import ARM64, debian, tar
from tests.runtime.registry_service.served import Served, serving
from tests.runtime.server import BIN, ROOT, Done, Server, environment, request, train_digits

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.xdist_group("flow")]

MODEL, SCRIPT = "flow-model", "flow-script"
PADDING = 8_000_000
"""Bytes of a model beside which the documents of an image are below 1 %."""
CANARY = "canary-7f3a9c-of-this-test"
USER = "10001"
HARDENED = ("--read-only", "--cap-drop", "ALL", "--network", "bridge", "-p", "127.0.0.1::5001")
TOUCH_ALL = """
import os
found = tried = 0
for root, folders, _ in os.walk("/"):
    if root == "/":
        folders[:] = [each for each in folders if each not in ("dev", "proc", "sys")]
    tried += 1
    try:
        open(root + "/.touched", "w").close()
        print(root)
    except OSError:
        pass
print("tried", tried)
"""


@dataclass(frozen=True, slots=True)
class Flow:
    """A workspace with the images MODEL and SCRIPT, and its registry."""

    folder: Path
    base: Path
    engine: Engine
    served: Served

    def inferry(self, *arguments: str, **extra: str) -> Done:
        """Runs a command in it."""
        return run_inferry(self.folder, self.base, *arguments, **extra)

    def json(self, *arguments: str) -> Any:
        """What a command that succeeds prints with ``-o json``."""
        return json.loads(succeed(self.inferry(*arguments, "-o", "json")).stdout)

    def digest(self, name: str) -> str:
        return str(self.json("image", "show", name)["digest"])

    def ref(self, name: str) -> str:
        """What docker calls it; removed at the end."""
        return self.engine.owned(f"{self.served.host}/{name}:1")

    def blob(self, digest: str) -> Path:
        """Where the workspace keeps it."""
        return self.folder / ".inferry/store/blobs/sha256" / digest.removeprefix("sha256:")


def run_inferry(folder: Path, base: Path, *arguments: str, **extra: str) -> Done:
    """As tests.runtime.server has it, with a base and the time to make an image on a busy
    machine."""
    done = subprocess.run(
        [BIN / "inferry", *arguments],
        cwd=folder,
        env=environment(**{"INFERRY_BASE": str(base), **extra}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def succeed(done: Done) -> Done:
    assert done.code == 0, done.stderr
    return done


def run(*command: str | Path) -> str:
    """What a program prints. Raises AssertionError with its complaint."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="replace")


def assert_failed(done: Done, *words: str) -> None:
    """Exit code 1 and these words in the one line that complains."""
    assert done.code == 1, done
    assert "Traceback" not in done.stderr
    complaints = [line for line in done.stderr.splitlines() if line.startswith("inferry: ")]
    assert len(complaints) == 1, done.stderr
    for word in words:
        assert word in complaints[0]


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory, debian_base: Path) -> Iterator[Flow]:
    """Made once: the two kinds of image side by side."""
    require_engine()
    folder, engine = tmp_path_factory.mktemp("flow"), Engine()
    train_digits(folder)
    padded = folder / "padded"
    padded.mkdir()
    shutil.copy(folder / "model.onnx", padded)
    (padded / "padding.bin").write_bytes(os.urandom(PADDING))
    write_project(folder / "project")
    for command in (
        ["init"],
        ["model", "register", "model.onnx", "--name", "digits"],
        ["model", "register", "padded", "--name", "padded"],
    ):
        succeed(run_inferry(folder, debian_base, *command))

    def create(*arguments: str) -> Done:
        secret = {"CANARY_PASSWORD": f"{CANARY}-environment"}
        return run_inferry(folder, debian_base, "image", "create", *arguments, **secret)

    script = ("--script", "project/score.py", "--source", "project")
    try:
        with ThreadPoolExecutor(2) as pool:
            for done in [
                pool.submit(create, MODEL, "--model", "digits"),
                pool.submit(create, SCRIPT, "--model", "padded", *script),
            ]:
                succeed(done.result())
        with serving(folder / ".inferry") as served:
            yield Flow(folder, debian_base, engine, served)
    finally:
        forget_proofs(engine)
        engine.tidy()


def write_project(folder: Path) -> None:
    """The digits example's script, among what must not leave this machine."""
    (folder / ".git").mkdir(parents=True)
    shutil.copy(ROOT / "examples/digits/score.py", folder)
    for secret in (".env", "id_rsa", ".git/config", ".git/credentials"):
        (folder / secret).write_text(f"PASSWORD={CANARY}-{secret}\n")


def forget_proofs(engine: Engine) -> None:
    """The engine keeps what was proven last of each name."""
    for image in engine.run("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        if image.startswith("inferry-proof/flow-"):
            engine.owned(image)


@pytest.fixture(scope="module")
def rows(flow: Flow) -> bytes:
    """A request of both kinds of image."""
    held_out = json.loads((flow.folder / "held_out.json").read_text())
    return json.dumps({"data": held_out["pixels"][:3]}).encode()


@pytest.fixture(scope="module")
def answers(flow: Flow, rows: bytes) -> Mapping[str, Any]:
    """What ``inferry serve`` of the same images says."""
    found = {}
    for name in (MODEL, SCRIPT):
        server = Server(["inferry", "serve", name, "--port", "0"], cwd=flow.folder)
        try:
            port = server.wait_until_listening()
            server.wait_until_ready(port)
            found[name] = post(port, rows)
        finally:
            server.stop()
    return found


def post(port: int, rows: bytes) -> Any:
    status, body = request(f"http://127.0.0.1:{port}/score", rows)
    assert status == 200, body
    return json.loads(body)


def started(engine: Engine, image: str, *arguments: str) -> tuple[str, int]:
    """A container that is ready, hardened, and its port on loopback."""
    container = engine.container(*HARDENED, image, *arguments)
    port = engine.port(container, 5001)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if request(f"http://127.0.0.1:{port}/readyz")[0] == 200:
                return container, port
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"not ready; it said:\n{engine.run('logs', container)}")


@pytest.mark.parametrize("name", [MODEL, SCRIPT])
def test_it_was_proven_in_a_container(flow: Flow, name: str) -> None:
    shown = flow.json("image", "show", name)
    assert shown["state"] == "succeeded"
    assert shown["proof"].startswith("container: ")
    assert shown["platform"].startswith("linux/")
    assert "proof: container: " in succeed(flow.inferry("image", "log", name)).stdout


@pytest.mark.parametrize("name", [MODEL, SCRIPT])
def test_a_pulled_container_answers_as_inferry_serve_does(
    flow: Flow, engine: Engine, rows: bytes, answers: Mapping[str, Any], name: str
) -> None:
    ref = flow.ref(name)
    engine.run("pull", ref)
    container, port = started(engine, ref)
    assert post(port, rows) == answers[name]
    assert engine.run("exec", container, "id", "-u") == USER
    began = time.monotonic()
    engine.run("stop", "--time", "20", container)
    assert time.monotonic() - began < 15
    assert engine.run("inspect", "--format", "{{.State.ExitCode}}", container) == "0"


def test_nothing_in_a_container_can_be_written_not_even_by_root(flow: Flow, engine: Engine) -> None:
    ref = flow.ref(MODEL)
    engine.run("pull", ref)
    container, _ = started(engine, ref)
    for user in (USER, "0"):
        said = engine.run("exec", "--user", user, container, "python3", "-c", TOUCH_ALL).split()
        assert said[:-1] == ["tried"], f"{user} could write in {said}"
        assert int(said[-1]) > 500


def test_the_users_files_of_an_image_are_not_writable_by_its_user(
    flow: Flow, engine: Engine
) -> None:
    """As without --read-only."""
    ref = flow.ref(MODEL)
    engine.run("pull", ref)
    code = TOUCH_ALL.replace('os.walk("/")', 'os.walk("/opt")')
    said = engine.run("run", "--rm", "--entrypoint", "python3", ref, "-c", code).split()
    assert said[0] == "tried", said


def test_arguments_behind_the_images_name_reach_the_server(
    flow: Flow, engine: Engine, rows: bytes, answers: Mapping[str, Any]
) -> None:
    ref = flow.ref(SCRIPT)
    engine.run("pull", ref)
    container, port = started(engine, ref, "--workers", "2")
    assert post(port, rows) == answers[SCRIPT]
    log = subprocess.run(["docker", "logs", container], capture_output=True, check=True)
    assert re.search(rb"1 server process x 2 workers", log.stdout + log.stderr)


@pytest.mark.parametrize(
    ("code", "sample", "cause"),
    [
        ("import not_there_pkg\n", None, "not_there_pkg"),
        ("def init():\n    raise RuntimeError('no weights')\n", None, "no weights"),
        ("", '{"x": 1}', "500"),
    ],
    ids=["a package is missing", "init raises", "the sample fails"],
)
def test_an_image_that_does_not_score_fails_with_its_cause(
    flow: Flow, tmp_path: Path, code: str, sample: str | None, cause: str
) -> None:
    script, body = tmp_path / "score.py", tmp_path / "sample.json"
    script.write_text((ROOT / "examples/digits/score.py").read_text() + "\n\n" + code)
    body.write_text(sample or "")
    more = () if sample is None else ("--sample", str(body))
    command = ("image", "create", "flow-failing", "--model", "digits", "--script", str(script))
    assert_failed(flow.inferry(*command, *more), cause)
    shown = flow.json("image", "show", "flow-failing")
    assert (shown["state"], shown["digest"]) == ("failed", None)
    assert cause in shown["cause"]
    assert shown["log"].endswith(f"failed: {shown['cause']}")


def test_skopeo_copies_an_image_out_and_back_and_umoci_unpacks_it(
    flow: Flow, tmp_path: Path
) -> None:
    skopeo, umoci = program("skopeo"), program("umoci")
    copy = [skopeo, "copy", "--preserve-digests"]
    layout, copied = tmp_path / "layout", f"docker://{flow.served.host}/flow-copied:1"
    ours = f"docker://{flow.served.host}/{MODEL}:1"
    run(*copy, "--src-tls-verify=false", ours, f"oci:{layout}:1")
    run(*copy, "--dest-tls-verify=false", f"oci:{layout}:1", copied)
    digests = {
        run(skopeo, "inspect", "--tls-verify=false", "--format", "{{.Digest}}", each).strip()
        for each in (ours, copied)
    }
    assert digests == {flow.digest(MODEL)}
    rootless = () if os.geteuid() == 0 else ("--rootless",)
    run(umoci, "unpack", *rootless, "--image", f"{layout}:1", tmp_path / "out")
    bundle = tmp_path / "out/rootfs/opt/inferry/bundle"
    assert json.loads((bundle / "bundle.json").read_text())
    assert (flow.folder / "model.onnx").read_bytes() in [
        path.read_bytes() for path in bundle.rglob("*.onnx")
    ]


def test_dockers_registry_takes_it_and_a_changed_model_sends_little(
    flow: Flow, engine: Engine, docker_registry: DockerRegistry
) -> None:
    target = f"{docker_registry.host}/team/digits"
    pushed = flow.json("image", "push", f"{SCRIPT}:1", target)
    assert pushed["digest"] == flow.json("image", "show", f"{SCRIPT}:1")["digest"]
    again = flow.json("image", "push", f"{SCRIPT}:1", target)
    assert again["blobs_sent"] == 0
    assert again["size_bytes"] < 10_000  # manifests
    by_digest = engine.owned(f"{target}@{pushed['digest']}")
    engine.run("pull", by_digest)

    (flow.folder / "padded/padding.bin").write_bytes(os.urandom(PADDING))
    succeed(flow.inferry("model", "register", "padded", "--name", "padded"))
    script = ("--script", "project/score.py", "--source", "project")
    changed = flow.json("image", "create", SCRIPT, "--model", "padded", *script, "--no-proof")
    assert changed["version"] == 2
    layer = next(layer for layer in changed["layers"] if layer["kind"] == "model")
    again = flow.json("image", "push", f"{SCRIPT}:2", target)
    assert layer["size_bytes"] <= again["size_bytes"] <= layer["size_bytes"] * 1.01
    before = engine.run("images", "--quiet", "--no-trunc", by_digest)
    engine.run("pull", engine.owned(f"{target}:2"))
    assert engine.run("images", "--quiet", "--no-trunc", f"{target}:2") != before


def test_docker_loads_an_exported_image_and_it_answers(
    flow: Flow, engine: Engine, tmp_path: Path, rows: bytes, answers: Mapping[str, Any]
) -> None:
    target = tmp_path / "image.tar"
    succeed(flow.inferry("image", "export", MODEL, str(target), "--format", "docker"))
    loaded = engine.run("load", "--input", str(target))
    assert f"{MODEL}:1" in loaded
    _, port = started(engine, engine.owned(f"{MODEL}:1"))
    assert post(port, rows) == answers[MODEL]


def test_an_exported_layout_is_an_image_with_its_referrers(flow: Flow, tmp_path: Path) -> None:
    target = tmp_path / "layout"
    succeed(flow.inferry("image", "export", MODEL, str(target), "--format", "oci"))
    raw = run(program("skopeo"), "inspect", "--raw", f"oci:{target}:{MODEL}:1")
    assert json.loads(raw)["layers"]
    shown = flow.json("image", "show", MODEL)
    for digest in (shown["digest"], *shown["referrers"]):
        assert (target / "blobs/sha256" / digest.removeprefix("sha256:")).is_file()


def test_a_changed_byte_of_any_blob_is_detected(flow: Flow) -> None:
    assert "Verified flow-model:1" in succeed(flow.inferry("image", "verify", MODEL)).stdout
    for digest in blobs_of(flow, MODEL):
        path = flow.blob(digest)
        good = path.read_bytes()
        middle = len(good) // 2
        path.chmod(0o644)
        try:
            path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
            assert_failed(flow.inferry("image", "verify", MODEL))
        finally:
            path.write_bytes(good)
            path.chmod(0o444)
    succeed(flow.inferry("image", "verify", MODEL))


def blobs_of(flow: Flow, name: str) -> list[str]:
    """The manifest, config, layers, and the same of the SBOM and the signature."""
    shown = flow.json("image", "show", name)
    manifests = [shown["digest"], *shown["referrers"]]
    assert len(manifests) == 3
    found = set(manifests)
    for manifest in manifests:
        content = json.loads(flow.blob(manifest).read_bytes())
        found |= {content["config"]["digest"], *(each["digest"] for each in content["layers"])}
    assert len(found) >= 11
    return sorted(found)


def test_an_image_signed_by_another_key_is_refused(flow: Flow, tmp_path: Path) -> None:
    WorkspaceKey.load_or_create(tmp_path / "keys")
    other = next((tmp_path / "keys").glob("*.pub"))
    own = next((flow.folder / ".inferry/keys").glob("*.pub"))
    assert_failed(flow.inferry("image", "verify", MODEL, "--key", str(other)))
    succeed(flow.inferry("image", "verify", MODEL, "--key", str(own)))


def test_a_dockerfile_makes_the_base(flow: Flow, engine: Engine, engine_base: str) -> None:
    (flow.folder / "Dockerfile").write_text(f"FROM {engine_base}\nRUN touch /marker\n")
    made = flow.json(
        *("image", "create", "flow-marked", "--model", "digits"),
        *("--dockerfile", "Dockerfile", "--no-proof"),
    )
    assert made["proof"] == "none: left out on request"
    ref = flow.ref("flow-marked")
    engine.run("pull", ref)
    assert engine.run("run", "--rm", "--entrypoint", "ls", ref, "/marker") == "/marker"


def test_a_step_of_a_dockerfile_that_fails_is_named(flow: Flow, engine_base: str) -> None:
    (flow.folder / "Dockerfile").write_text(f"FROM {engine_base}\nRUN echo on-the-way && exit 7\n")
    done = flow.inferry(
        "image", "create", "flow-step", "--model", "digits", "--dockerfile", "Dockerfile"
    )
    assert_failed(done, "RUN echo on-the-way && exit 7")
    shown = flow.json("image", "show", "flow-step")
    assert shown["state"] == "failed"
    assert "RUN echo on-the-way && exit 7" in shown["cause"]
    assert "\non-the-way\n" in shown["log"]


def test_no_secret_of_the_machine_is_in_an_image(flow: Flow, tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    succeed(flow.inferry("image", "export", f"{SCRIPT}:1", str(target), "--format", "docker"))
    with tarfile.open(target) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            data = file.read()
            if data.startswith(b"\x1f\x8b"):
                data = gzip.decompress(data)
            assert CANARY.encode() not in data, member.name
            assert str(flow.folder).encode() not in data, member.name
            if member.size < 100_000:  # code and models; packages may name any file
                found = {name for name in (b".env\0", b"id_rsa", b".git/") if name in data}
                assert not found, member.name
    log = succeed(flow.inferry("image", "log", f"{SCRIPT}:1")).stdout
    assert CANARY not in log


def test_an_image_of_another_machine_says_that_it_was_not_tried(flow: Flow) -> None:
    (flow.folder / "arm.tar").write_bytes(tar(*debian(ARM64)))
    (flow.folder / "none.txt").write_text("")
    (flow.folder / "echo.py").write_text("def init(): ...\n\n\ndef run(data):\n    return data\n")
    made = flow.json(
        "image",
        "create",
        "flow-arm",
        *("--model", "digits", "--script", "echo.py", "--requirements", "none.txt"),
        *("--base", "arm.tar", "--platform", "linux/arm64"),
    )
    assert made["platform"] == "linux/arm64"
    assert made["proof"] == "none: linux/arm64 cannot run on this machine"
    succeed(flow.inferry("image", "verify", "flow-arm"))


def test_the_engine_keeps_nothing_of_a_name_that_is_gone(flow: Flow, engine: Engine) -> None:
    kept = ["images", "--quiet", "inferry-proof/flow-gone"]
    succeed(flow.inferry("image", "create", "flow-gone", "--model", "digits"))
    assert engine.run(*kept) != ""
    succeed(flow.inferry("image", "delete", "flow-gone"))
    assert engine.run(*kept) == ""
