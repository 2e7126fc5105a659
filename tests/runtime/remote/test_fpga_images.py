"""FPGA images by URL: compiled by the service, in a process that may take only so much."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest

from benchmarks.fpga.models import pictures, resnet_20
from fpga.trial import emulate
from registry import Workspace
from registry.activities import Activity
from registry.activities.record import DEAD
from registry.errors import CancelledError, ImageFailedError, RegistryError
from runtime.errors import InferryError, NoCompilerError
from runtime.fpga_compiler import CompileLimits, order
from runtime.remote import RemoteWorkspace, parse_place
from runtime.remote.client import ServiceClient
from tests.fpga.build import networks
from tests.fpga.build.bitstreams import vivado_bit, vivado_hwh
from tests.runtime.conftest import Cli
from tests.runtime.remote.served import DEADLINE_S, Served, serving
from tests.runtime.remote.test_durability import _url
from tests.runtime.test_model import assert_refused

pytestmark = pytest.mark.slow
MIB = 1024 * 1024
LIMITS = CompileLimits(wall_s=120.0, cpu_s=120, memory_bytes=800 * MIB)
BUILD = ("--kind", "fpga", "--calibration", "calibration.npz", "--lanes", "8")
SLOW_ROWS = 3000
"""Of resnet_20, which the compiler compares float and int8 on: a minute."""


@pytest.fixture(scope="module")
def compiling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One whose operator lets no client run code on its machine."""
    folder = tmp_path_factory.mktemp("compiling")
    with serving(
        {"default": folder / "ws"}, allows_local_code=False, compile_limits=LIMITS
    ) as found:
        with found.remote() as remote:
            remote.models.register(networks.write(folder), name="tiny")
            onnx.save(resnet_20(), folder / "slow.onnx")
            remote.models.register(folder / "slow.onnx", name="slow")
        yield found


@pytest.fixture
def remote(compiling: Served) -> Iterator[RemoteWorkspace]:
    with compiling.remote() as found:
        yield found


@pytest.fixture
def files(tmp_path: Path) -> Path:
    networks.write(tmp_path)
    return tmp_path


def _slow(folder: Path, rows: int = SLOW_ROWS) -> dict[str, Any]:
    """An order of the model ``slow``."""
    some = pictures(8, 3, 32)
    np.savez(folder / "calibration.npz", x=some)
    np.savez_compressed(folder / "held_out.npz", x=np.tile(some, (rows // 8, 1, 1, 1)))
    return {
        "models": ["slow"],
        "calibration": folder / "calibration.npz",
        "held_out": folder / "held_out.npz",
    }


def _compilers(folder: Path) -> list[int]:
    """Processes that compile for this workspace."""
    found = []
    for each in Path("/proc").iterdir():
        try:
            words = (each / "cmdline").read_bytes() if each.name.isdigit() else b""
        except OSError:
            continue
        if b"runtime.fpga_compiler" in words and str(folder).encode() in words:
            found.append(int(each.name))
    return found


def _until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_command_answers_the_same_by_folder_and_by_url(
    compiling: Served, cli: Cli, files: Path
) -> None:
    assert cli("model", "register", "model.onnx", "--name", "tiny").code == 0
    (files / "d.bit").write_bytes(vivado_bit())
    (files / "d.hwh").write_bytes(vivado_hwh())
    (files / "golden.json").write_text('{"v": 1, "cases": [{"input": {"x": [[0]]}}]}')
    create = (
        *("image", "create", "alike", "--model", "tiny:1", *BUILD, "--held-out", "held_out.npz"),
        *("--max-batch", "3", "--golden", "golden.json", "--tag", "a=1", "--description", "d"),
        *("--board", "pynq-z1", "--bitstream", "d.bit", "--hwh", "d.hwh"),
        *("--provenance", "vivado"),
    )
    for output in ("json", "table"):
        here, there = (
            cli(*create, "-o", output, "-w", where)
            for where in (str(files / ".inferry"), compiling.url)
        )
        assert there.code == 0, there.stderr
        if output == "json":
            first, second = (json.loads(done.stdout) for done in (here, there))
            assert there.stderr == ""
            for each in (first, second):
                for name in ("created_at", "activity", "referrers"):  # signed by another key
                    each.pop(name)
            assert first == second
            assert first["fpga"]["provenance"] == "vivado"
        else:
            assert there.stdout == here.stdout
            assert there.stdout.endswith(": inferry fpga report alike:2\n")
    here, there = (
        cli("fpga", "report", "alike:1", "-o", "json", "-w", where)
        for where in (str(files / ".inferry"), compiling.url)
    )
    assert there == here


def test_what_was_compiled_elsewhere_runs_in_the_engines_verilog(
    compiling: Served, remote: RemoteWorkspace, cli: Cli, files: Path
) -> None:
    told: list[Activity] = []
    made = remote.images.create_fpga(
        "simulated",
        models=["tiny"],
        calibration=files / "calibration.npz",
        lanes=8,
        on_change=told.append,
    )
    assert made == compiling.local().images.get("simulated:1")
    assert told[0].phase == "Compiling"
    assert told[-1].state == "succeeded"
    log = remote.activities.log(told[-1].id).decode()
    for words in ("Quantising, with 40 inputs", "Trying the program", "bitstream: simulation"):
        assert words in log
    rows = networks.inputs(3, seed=7)
    np.save(files / "rows.npy", rows)
    done = cli(
        *("fpga", "simulate", "image:simulated", "--input", "rows.npy", "--engine", "rtl"),
        *("-o", "json", "-w", compiling.url),
    )
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["cycles_simulated"] is not None
    from fpga.artifact import load

    unpacked = remote.images.unpack("simulated", files / "out")
    assert np.allclose(found["outputs"], emulate(load(unpacked / "fpga"), rows).outputs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--calibration", "none.npz"], ["none.npz"]),
        (["--calibration", "model.onnx"], ["model.onnx", "neither"]),
        ([*BUILD, "--held-out", "bomb.npz"], ["bomb.npz", "damaged"]),
        ([*BUILD, "--golden", "model.onnx"], ["golden"]),
        ([*BUILD, "--golden", "none.json"], ["none.json"]),
        ([*BUILD, "--model", "tiny:1"], ["exactly one model"]),
        ([*BUILD, "--bitstream", "model.onnx", "--hwh", "model.onnx", "--provenance", "vivado"],
         ["model.onnx"]),
        ([*BUILD, "--calibration", "."], ["folder"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_files_is_said_in_a_line_and_leaves_no_record(
    compiling: Served, cli: Cli, files: Path, arguments: list[str], words: list[str]
) -> None:
    (files / "bomb.npz").write_bytes(b"PK\x03\x04")
    done = cli(
        *("image", "create", "wrong", "--model", "tiny", "--kind", "fpga", *arguments),
        *("-w", compiling.url),
    )
    assert_refused(done, *words)
    assert compiling.local().images.list(name="wrong") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calibration": {"path": "c.npz", "digest": "sha256:" + "0" * 64}}, "not uploaded"),
        ({"calibration": {"path": "../../c.npz"}}, "no path of a file"),
        ({"calibration": {"path": "/etc/passwd"}}, "no path of a file"),
        ({"calibration": {"path": "a/c.npz"}}, "give the file's name"),
        ({"calibration": {"path": "numpy.py"}}, "neither .npz, .npy nor JSON"),
        ({"lanes": 12}, "8, 16, 32 lanes"),
        ({"lanes": 2**70}, ""),
        ({"board": "../pynq"}, "board"),
        ({"board": "x" * 100_000}, "board"),
        ({"provenance": "vivado"}, "belong together"),
        ({"bitstream": {"path": "d.bit"}}, "belong together"),
        ({"max_batch": 0}, "1 to 1024"),
        ({"max_batch": 1025}, "1 to 1024"),
        ({"models": []}, "exactly one model"),
        ({"models": ["tiny", "tiny"]}, "exactly one model"),
        ({"models": ["nobody"]}, "nobody"),
        ({"models": ["../tiny"]}, ""),
        ({"name": "../wrong"}, ""),
        ({"hwh": {"path": "d.hwh", "size": 17 * MIB}}, "larger than 16 MiB"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_hostile_orders_are_refused_and_the_service_lives(
    compiling: Served, changes: dict[str, Any], words: str
) -> None:
    from hashlib import sha256

    api = f"{compiling.url}/api/v1/workspaces/default"
    sent = {"name": "wrong", "models": ["tiny"], "lanes": 8, **changes}
    for value in sent.values():
        if isinstance(value, dict) and "digest" not in value:
            data = bytes(value.pop("size")) if "size" in value else b"open('/tmp/x', 'w')\n"
            value["digest"] = f"sha256:{sha256(data).hexdigest()}"
            url = f"{api}/uploads/{value['digest']}?size={len(data)}"
            assert httpx.put(url, content=data).status_code == 200
    answer = httpx.post(f"{api}/fpga-images", json=sent)
    assert answer.status_code in (400, 404), answer.text
    message = answer.json()["error"]["message"]
    assert words in message
    assert len(message.splitlines()) == 1
    assert len(message) < 500
    assert str(compiling.local().root) not in answer.text
    assert compiling.local().images.list(name="wrong") == []
    assert list((compiling.local().root / "making").glob("*")) == []
    assert httpx.get(f"{compiling.url}/healthz").status_code == 200


def test_a_model_that_cannot_be_compiled_leaves_a_record_that_says_why(
    compiling: Served, remote: RemoteWorkspace, cli: Cli, files: Path
) -> None:
    bad = networks.tiny()
    bad.graph.node[1].op_type = "Tanh"
    onnx.save(bad, files / "bad.onnx")
    remote.models.register(files / "bad.onnx", name="bad")
    create = ("image", "create", "bad", "--model", "bad", *BUILD, "-w", compiling.url)
    assert_refused(cli(*create, "-o", "json"), "Tanh")
    shown = json.loads(cli("image", "show", "bad", "-o", "json", "-w", compiling.url).stdout)
    assert (shown["state"], shown["fpga"]) == ("failed", None)
    assert "Tanh" in shown["cause"]
    assert_refused(cli("fpga", "report", "bad", "-w", compiling.url), "bad:1", "was not made")


def test_inputs_that_take_too_much_memory_end_the_compiler_alone(
    compiling: Served, remote: RemoteWorkspace, files: Path
) -> None:
    """They are a few hundred KB as they are sent."""
    large = np.broadcast_to(np.float32(1), (300 * MIB // 48, 12))
    np.savez_compressed(files / "large.npz", x=large)
    assert (files / "large.npz").stat().st_size < 2 * MIB
    with pytest.raises(ImageFailedError) as failed:
        remote.images.create_fpga(
            "large",
            models=["tiny"],
            calibration=files / "large.npz",
            held_out=files / "large.npz",
        )
    cause = "compiling takes more than 800 MiB of memory, the most that is allowed here"
    assert str(failed.value).startswith(cause)
    found = remote.images.get("large")
    assert (found.state, found.cause) == ("failed", str(failed.value))
    # One file alone may be too large: that is seen before anything is recorded.
    larger = np.broadcast_to(np.float32(1), (900 * MIB // 48, 12))
    np.savez_compressed(files / "larger.npz", x=larger)
    with pytest.raises(RegistryError, match=cause):
        remote.images.create_fpga("larger", models=["tiny"], calibration=files / "larger.npz")
    assert remote.images.list(name="larger") == []
    assert httpx.get(f"{compiling.url}/healthz").status_code == 200


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (CompileLimits(wall_s=5.0), "took longer than 5 s"),
        (CompileLimits(cpu_s=8), "more than 8 s of CPU time"),
    ],
)
def test_a_model_that_takes_too_long_ends_the_compiler_alone(
    tmp_path: Path, limits: CompileLimits, words: str
) -> None:
    with serving({"default": tmp_path / "ws"}, compile_limits=limits) as served:
        with served.remote() as remote:
            onnx.save(resnet_20(), tmp_path / "slow.onnx")
            remote.models.register(tmp_path / "slow.onnx", name="slow")
            with pytest.raises(ImageFailedError, match=words):
                remote.images.create_fpga("slow", **_slow(tmp_path))
            cause = remote.images.get("slow").cause
            assert cause is not None
            assert words in cause
        assert _compilers(tmp_path) == []
        assert httpx.get(f"{served.url}/healthz").status_code == 200


def test_a_cancel_ends_the_compiler(
    compiling: Served, remote: RemoteWorkspace, files: Path
) -> None:
    root = compiling.local().root

    def on_change(activity: Activity) -> None:
        if b"Proving" in remote.activities.log(activity.id) and activity.is_running:
            assert len(_compilers(root)) == 1
            remote.activities.cancel(activity.id)

    with pytest.raises(CancelledError, match="cancelled on request"):
        remote.images.create_fpga("cancelled", **_slow(files), on_change=on_change)
    assert remote.activities.list(limit=1)[0].state == "cancelled"
    assert _compilers(root) == []
    _until(lambda: not any((root / "making").iterdir()))


def test_without_a_compiler_the_service_says_what_it_lacks(
    remote: RemoteWorkspace, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "find_spec", lambda name: None)
    with pytest.raises(NoCompilerError, match="needs numpy and onnx and onnxruntime"):
        remote.images.create_fpga(
            "none", models=["tiny"], calibration=files / "calibration.npz", lanes=8
        )


def test_what_kill_9_of_the_service_cut_is_resumed(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    Workspace.init(root, base="none")
    onnx.save(resnet_20(), tmp_path / "slow.onnx")
    id = ""

    def begin(remote: RemoteWorkspace, service: subprocess.Popen[str]) -> None:
        def on_change(activity: Activity) -> None:
            nonlocal id
            id = activity.id
            if b"Proving" in remote.activities.log(id):
                service.kill()
                service.wait()

        remote.models.register(tmp_path / "slow.onnx", name="slow")
        with pytest.raises(InferryError):
            remote.images.create_fpga("cut", **_slow(tmp_path, 80), on_change=on_change)

    def resume(remote: RemoteWorkspace, service: subprocess.Popen[str]) -> None:
        dead = remote.activities.get(id)
        assert (dead.state, dead.cause) == ("failed", DEAD)
        again = remote.activities.resume(id)
        assert remote.activities.followed(again, None).state == "succeeded"
        assert again.resumes == id
        made = remote.images.get(again.subject)
        assert (made.name, made.state) == ("cut", "succeeded")
        _until(lambda: not any((root / "making").iterdir()))  # a moment after its end is told

    command = [sys.executable, "-m", "runtime.cli.main", "registry", "serve", "-w", str(root)]
    for step in (begin, resume):
        with subprocess.Popen(
            [*command, "--port", "0", "--compile-minutes", "5"], stdout=subprocess.PIPE, text=True
        ) as service:
            try:
                url = _url(service)
                client = ServiceClient(parse_place(url), wait=lambda s: time.sleep(min(s, 0.05)))
                with RemoteWorkspace(url, client=client) as remote:
                    step(remote, service)
            finally:
                service.kill()
        _until(lambda: not _compilers(root))  # it ends with whoever started it
