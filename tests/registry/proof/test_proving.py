"""Proofs in a process of this machine, with real layers and the real server."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from registry.docker_engine import ContainerEngine
from registry.errors import CancelledError, DamagedBlobError, EngineError, ProofError
from registry.platforms import Platform, Target
from registry.proof import UnpackedLayers
from tests.registry.proof.plans import HERE, Shelf, tiny_model

RUNS = "def run(raw):\n    return raw\n"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "workspace")


@pytest.mark.slow
def test_a_model_is_scored_with_the_layers_of_its_image(shelf: Shelf) -> None:
    plan = shelf.plan(imports=("msgspec", "extra"), packages=shelf.packages(extra=""))
    proof = shelf.prove(plan)
    assert proof.how == "process"
    assert proof.detail.startswith(
        "in a process with the same layers: answers a sample made from the signature with 200"
    )
    assert proof.report is not None
    assert proof.report["imports"] == {"msgspec": None, "extra": None}
    assert any("Listening on" in line for line in shelf.lines)
    assert shelf.left() == []


@pytest.mark.slow
def test_a_bundle_without_base_is_scored_with_what_is_installed(shelf: Shelf) -> None:
    proof = shelf.prove(shelf.plan(target=None))
    assert proof.how == "process"
    assert "with the packages of this installation" in proof.detail


@pytest.mark.slow
def test_what_is_installed_here_is_not_seen(shelf: Shelf) -> None:
    bare = shelf.layer("dependencies")
    with pytest.raises(ProofError, match="No module named 'msgspec'") as raised:
        shelf.prove(shelf.plan(packages=bare))
    assert "Traceback" in raised.value.log


@pytest.mark.slow
def test_a_script_is_loaded_and_scored_with_its_sample_only(shelf: Shelf) -> None:
    script = f"def init():\n    pass\n{RUNS}"
    assert "loads; not scored: no sample" in shelf.prove(shelf.plan(script=script)).detail
    proof = shelf.prove(shelf.plan(script=script, sample=b"[1]"))
    assert "answers the given sample with 200" in proof.detail


SCRIPTS = [
    ("def init():\n    raise ValueError('no weights')\n", "init() raised ValueError: no weights"),
    ("import not_there\n", "ModuleNotFoundError: No module named 'not_there'"),
    ("import os\ndef init():\n    os.kill(os.getpid(), 9)\n", "was ended by SIGKILL"),
    ("def init():\n    open('new', 'w')\n", "init() raised PermissionError"),
    ("import os\ndef init():\n    bytearray(2 ** 33)\n", "MemoryError"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("script", "cause"), SCRIPTS)
def test_a_script_that_fails_is_no_success(shelf: Shelf, script: str, cause: str) -> None:
    with pytest.raises(ProofError) as raised:
        shelf.prove(shelf.plan(script=script + RUNS, sample=b"1", memory_bytes=2**32))
    assert cause in str(raised.value)
    assert "\n" not in str(raised.value)
    assert shelf.left() == []


@pytest.mark.slow
def test_no_path_of_the_workspace_is_told(shelf: Shelf) -> None:
    script = f"import os\ndef init():\n    open(os.path.abspath('gone.bin'))\n{RUNS}"
    with pytest.raises(ProofError) as raised:
        shelf.prove(shelf.plan(script=script))
    assert str(raised.value).endswith("No such file or directory: '/opt/inferry/bundle/gone.bin'")
    assert str(shelf.folder) not in raised.value.log + "".join(shelf.lines)


@pytest.mark.slow
def test_the_store_keeps_its_files_whatever_a_script_does(shelf: Shelf) -> None:
    model = shelf.model()
    script = (
        "import os\ndef init():\n"
        "    folder = os.environ['AZUREML_MODEL_DIR']\n"
        "    open(os.path.join(folder, 'model.onnx'), 'r+b').write(b'broken')\n" + RUNS
    )
    with pytest.raises(ProofError, match="PermissionError"):
        shelf.prove(shelf.plan(script=script, model=model))
    assert shelf.store.read(model.digest) == tiny_model()


@pytest.mark.slow
def test_a_script_gets_nothing_of_ours(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:1")
    monkeypatch.setenv("CANARY", "secret")
    script = (
        "import os, sys\n"
        "def init():\n    pass\n"
        "def run(raw):\n    return {'environ': dict(os.environ), 'path': sys.path}\n"
    )
    text = f"{script}\nprint('ENVIRON', dict(os.environ), os.path.expanduser('~'))\n"
    shelf.prove(shelf.plan(script=text, sample=b"1"))
    [line] = [line for line in shelf.lines if "ENVIRON" in line]
    assert "secret" not in line
    assert "PROXY" not in line


@pytest.mark.slow
def test_a_given_sample_that_is_refused_is_the_cause(shelf: Shelf) -> None:
    with pytest.raises(ProofError, match="the sample was answered 400: input 'x'"):
        shelf.prove(shelf.plan(sample=b'{"x": "no"}'))


@pytest.mark.slow
def test_what_hangs_is_ended_with_all_that_it_started(shelf: Shelf, tmp_path: Path) -> None:
    script = _starts_and_hangs(tmp_path / "pid")
    with pytest.raises(ProofError, match="not ready after 3 s"):
        shelf.prove(shelf.plan(script=script, timeout_s=3.0))
    assert _is_gone(tmp_path / "pid")
    assert shelf.left() == []


@pytest.mark.slow
def test_a_cancelled_proof_ends_at_once_and_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    plan = shelf.plan(script=_starts_and_hangs(pid))
    with pytest.raises(CancelledError):
        shelf.prove(plan, cancelled=pid.exists)
    assert _is_gone(pid)
    assert shelf.left() == []
    assert not [line for line in _commands() if str(shelf.folder) in line]


def test_one_cancelled_before_leaves_no_layer(shelf: Shelf) -> None:
    with pytest.raises(CancelledError):
        shelf.prove(shelf.plan(), cancelled=lambda: True)
    assert list(shelf.place.iterdir()) == []


@pytest.mark.slow
def test_what_the_log_raises_ends_the_proof(shelf: Shelf) -> None:
    class Full(list[str]):
        def append(self, line: str) -> None:
            raise CancelledError("by the log")

    shelf.lines = Full()
    with pytest.raises(CancelledError, match="by the log"):
        shelf.prove(shelf.plan())
    assert shelf.left() == []


@pytest.mark.slow
def test_what_imported_once_is_not_tried_again_with_the_same_packages(shelf: Shelf) -> None:
    packages = shelf.packages(extra="")
    script = f"def init():\n    pass\n{RUNS}"
    first = shelf.prove(shelf.plan(packages=packages, imports=("extra",), script=script))
    again = shelf.prove(shelf.plan(packages=packages, imports=("extra", "json"), script=script))
    other = shelf.packages(extra="raise ImportError('broken')")
    assert first.report is not None
    assert again.report is not None
    assert list(first.report["imports"]) == ["extra"]
    assert list(again.report["imports"]) == ["json"]
    with pytest.raises(ProofError, match="import of 'extra' failed: ImportError: broken"):
        shelf.prove(shelf.plan(packages=other, imports=("extra",), script=script))


@pytest.mark.slow
def test_a_talkative_script_keeps_a_bounded_log(shelf: Shelf) -> None:
    script = "def init():\n    [print('x' * 10_000) for _ in range(2000)]\n    1 / 0\n" + RUNS
    with pytest.raises(ProofError, match="ZeroDivisionError") as raised:
        shelf.prove(shelf.plan(script=script))
    assert len(raised.value.log) <= 256 * 1024
    assert max(map(len, shelf.lines)) <= 4096


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (Target(Platform("arm64"), HERE.python, (2, 17)), "linux/arm64 cannot run on this machine"),
        (Target(HERE.platform, (3, 2), (2, 17)), "there is no Python 3.2 on this machine"),
        (Target(HERE.platform, HERE.python, (99, 1)), "the image has glibc 99.1, this machine"),
    ],
)
def test_what_this_machine_cannot_run_is_not_proven_and_says_why(
    shelf: Shelf, target: Target, reason: str
) -> None:
    if target.platform == HERE.platform and target.platform.architecture == "arm64":
        pytest.skip("this machine is one")
    plan = shelf.plan()
    proof = shelf.prove(type(plan)(plan.reference, plan.layers, plan.models, target))
    assert proof.how == "none"
    assert proof.detail.startswith(reason)
    assert proof.report is None


@pytest.mark.slow
def test_an_engine_that_fails_is_no_obstacle(shelf: Shelf) -> None:
    class Failing:
        def is_local(self) -> bool:
            raise EngineError("it has gone")

    engine: ContainerEngine = Failing()  # type: ignore[assignment]
    assert shelf.prove(shelf.plan(), engine=engine).how == "process"
    assert "proof: not in a container: it has gone" in shelf.lines


def test_a_damaged_layer_is_found(shelf: Shelf) -> None:
    plan = shelf.plan()
    blob = shelf.store.paths.blob(plan.layers[0].layer.digest)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(DamagedBlobError):
        shelf.prove(plan)
    assert shelf.left() == []


@pytest.mark.slow
def test_layers_are_unpacked_once_and_trimmed_when_nobody_uses_them(shelf: Shelf) -> None:
    plan = shelf.plan()
    shelf.prove(plan)
    before = {path.name: path.stat().st_ino for path in shelf.place.iterdir()}
    assert len(before) == 2
    shelf.prove(plan)
    assert {path.name: path.stat().st_ino for path in shelf.place.iterdir()} == before
    layer = plan.layers[0].layer
    with shelf.unpacked.layer(shelf.store, layer, lambda: None) as folder:
        assert UnpackedLayers(shelf.place).trim(0, dry_run=True)[0] == 2
        assert UnpackedLayers(shelf.place).trim(0)[0] == 1
        assert folder.exists()
    assert UnpackedLayers(shelf.place).trim(0)[0] == 1
    assert list(shelf.place.iterdir()) == []


def test_a_tree_that_lost_bytes_is_unpacked_anew(shelf: Shelf) -> None:
    layer = shelf.packages().layer
    with shelf.unpacked.layer(shelf.store, layer, lambda: None) as folder:
        [file] = folder.rglob("sitecustomize.py")
    os.truncate(file, 0)
    with shelf.unpacked.layer(shelf.store, layer, lambda: None) as folder:
        [file] = folder.rglob("sitecustomize.py")
        assert file.stat().st_size > 0
        assert file.stat().st_mode & 0o777 == 0o444
    shelf.unpacked.trim(1)
    assert [path.name for path in shelf.place.iterdir()] == [folder.name]


def test_what_a_killed_proof_left_is_removed(shelf: Shelf) -> None:
    ready, pid = os.pipe(), 0
    pid = os.fork()
    if pid == 0:
        with shelf.unpacked.room() as room:
            (room / "file").touch()
            os.write(ready[1], b"1")
            time.sleep(60)
        os._exit(0)
    assert os.read(ready[0], 1) == b"1"
    assert shelf.unpacked.trim(6)[0] == 0  # it is in use
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for end in ready:
        os.close(end)
    assert shelf.unpacked.trim(6)[0] == 1
    assert shelf.left() == []


def test_two_that_unpack_the_same_layer_share_it(shelf: Shelf) -> None:
    layer, failed = shelf.packages().layer, []

    def use() -> None:
        try:
            with shelf.unpacked.layer(shelf.store, layer, lambda: None) as folder:
                assert len(list(folder.rglob("*.py"))) == 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(list(shelf.place.iterdir())) == 1


def _starts_and_hangs(pid: Path) -> str:
    return (
        "import os, subprocess, time\n"
        "def init():\n"
        "    left = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        f"    new = {str(pid)!r} + '.new'\n"
        "    open(new, 'w').write(str(left.pid))\n"
        f"    os.rename(new, {str(pid)!r})\n"
        "    time.sleep(300)\n" + RUNS
    )


def _is_gone(pid: Path) -> bool:
    return not Path(f"/proc/{json.loads(pid.read_text())}").exists()


def _commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return found
