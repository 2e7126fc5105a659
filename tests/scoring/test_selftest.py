"""The self-test of an image, run as the image runs it: a process of its own, a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from scoring.selftest import samples

PLAIN = "def init():\n    pass\ndef run(raw):\n    return {'got': raw}\n"


@dataclass(frozen=True)
class Done:
    code: int
    report: dict[str, Any]
    log: str

    @property
    def cause(self) -> str:
        assert self.code == 1
        assert self.report["ok"] is False
        cause = self.report["cause"]
        assert isinstance(cause, str)
        assert "\n" not in cause
        return cause

    @property
    def score(self) -> dict[str, Any]:
        assert (self.code, self.report["ok"], self.report["cause"]) == (0, True, None), self
        score = self.report["score"]
        assert isinstance(score, dict)
        return score


def selftest(what: Path, *options: str, stdin: bytes = b"", **environ: str) -> Done:
    """In an environment without HOME or anything else of ours."""
    known = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "scoring.selftest", str(what), *options],
        input=stdin,
        capture_output=True,
        timeout=60,
        env={**known, **environ},
        check=False,
    )
    log = done.stderr.decode(errors="replace")
    assert done.stdout.endswith(b"}\n"), log
    return Done(done.returncode, json.loads(done.stdout.splitlines()[-1]), log)


def script(folder: Path, text: str) -> Path:
    """A bundle with this score.py."""
    (folder / "code").mkdir()
    (folder / "code/score.py").write_text(text)
    (folder / "models/m/1").mkdir(parents=True)
    description = {
        "schema_version": 1,
        "name": "i",
        "version": 1,
        "engine": "script",
        "entry_script": "score.py",
        "models": [{"name": "m", "version": 1, "path": "models/m/1", "entry": None}],
    }
    (folder / "bundle.json").write_text(json.dumps(description))
    return folder


def model(
    path: Path,
    dtype: int,
    shape: list[int | str],
    op: str = "Identity",
    constants: dict[str, tuple[int, list[int], list[Any]]] | None = None,
    **attributes: Any,
) -> Path:
    """An .onnx file of one node with the input ``x``, before its constants."""
    tensors = [helper.make_tensor(name, *value) for name, value in (constants or {}).items()]
    node = helper.make_node(op, ["x", *(constants or {})], ["y"], **attributes)
    taken = helper.make_tensor_value_info("x", dtype, shape)
    given = helper.make_tensor_value_info("y", dtype, None)
    graph = helper.make_graph([node], "g", [taken], [given], tensors)
    opset = helper.make_opsetid("", 17)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        (TensorProto.FLOAT, ["N", 64]),
        (TensorProto.STRING, ["N", 2]),
        (TensorProto.INT64, [3, 4]),
        (TensorProto.BOOL, [2]),
        (TensorProto.UINT8, []),
        (TensorProto.DOUBLE, [0, 3]),
        (TensorProto.BFLOAT16, ["N", "M"]),
    ],
)
def test_a_model_is_scored_with_a_sample_of_its_signature(
    dtype: int, shape: list[int | str], tmp_path: Path
) -> None:
    done = selftest(model(tmp_path / "m.onnx", dtype, shape))
    assert done.score["sample"] == "made"
    assert done.score["status"] == 200
    assert done.score["bytes"] > 0
    assert done.report["ready_s"] > 0


@pytest.mark.slow
def test_a_picture_of_one_pixel_is_not_the_last_try(tmp_path: Path) -> None:
    weights = (TensorProto.FLOAT, [1, 3, 9, 9], [0.5] * 243)
    path = model(tmp_path / "m.onnx", TensorProto.FLOAT, ["N", 3, "H", "W"], "Conv", {"w": weights})
    assert selftest(path).score["status"] == 200


@pytest.mark.slow
def test_a_made_sample_that_does_not_fit_fails_a_model(tmp_path: Path) -> None:
    shape = (TensorProto.INT64, [2], [7, 11])
    path = model(tmp_path / "m.onnx", TensorProto.FLOAT, ["N"], "Reshape", {"s": shape})
    done = selftest(path)
    assert done.cause.startswith("the sample made from the model's signature was answered 400: ")
    assert done.cause.endswith("; give a sample that fits")
    given = selftest(path, "--sample-json", json.dumps({"data": [0] * 77}))
    assert given.score["sample"] == "given"


@pytest.mark.slow
def test_a_given_sample_is_read_from_a_file_and_from_stdin(tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx", TensorProto.FLOAT, ["N"])
    sample = tmp_path / "sample.json"
    sample.write_text('{"data": [1, 2]}')
    assert selftest(path, "--sample", str(sample)).score["status"] == 200
    refused = selftest(path, "--sample", "-", stdin=b'{"data": ["no number"]}')
    assert refused.cause.startswith("the sample was answered 400: input 'x'")
    assert refused.report["score"]["status"] == 400


def test_a_sample_that_is_no_json_is_said_before_anything_starts(tmp_path: Path) -> None:
    done = selftest(tmp_path, "--sample", "-", stdin=b"{")
    assert done.cause.startswith("the sample is no JSON: ")
    assert done.report["ready_s"] is None
    assert selftest(tmp_path, "--sample", "-", stdin=b"[" * 100_000).cause.startswith("the sample")
    assert selftest(tmp_path, "--sample", "nowhere").cause.startswith("the sample cannot be read")


@pytest.mark.slow
def test_a_damaged_model_is_the_cause(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x07no")
    assert selftest(tmp_path / "m.onnx").cause.startswith("the model does not load: ")
    assert "there is no file or folder" in selftest(tmp_path / "gone").cause


@pytest.mark.slow
def test_a_script_without_a_sample_is_not_scored_but_loaded(tmp_path: Path) -> None:
    done = selftest(script(tmp_path, PLAIN))
    assert done.score == {"skipped": "no sample"}
    assert done.report["ready_s"] > 0


@pytest.mark.slow
def test_a_script_is_scored_with_a_given_sample(tmp_path: Path) -> None:
    assert selftest(script(tmp_path, PLAIN), "--sample-json", "[1]").score["status"] == 200


@pytest.mark.slow
def test_a_script_that_describes_its_input_is_scored_with_it(tmp_path: Path) -> None:
    text = (
        "from inference_schema.schema_decorators import input_schema\n"
        "from inference_schema.parameter_types.standard_py_parameter_type import *\n"
        "def init():\n    pass\n"
        "@input_schema('data', StandardPythonParameterType([1, 2]))\n"
        "def run(data):\n    return sum(data)\n"
    )
    done = selftest(script(tmp_path, text))
    assert done.score["sample"] == "the script's"
    assert done.score["status"] == 200


FAILING = [
    ("def init():\n    open('weights.bin')\n", "init() raised FileNotFoundError: "),
    ("def init():\n    raise ValueError('a\\nb')\n", "init() raised ValueError: a"),
    (
        "def init():\n    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n",
        "the script failed (init): the worker was ended by SIGKILL while it loaded",
    ),
    ("def init():\n    import os; os._exit(0)\n", "the script failed (init): the worker exited"),
    ("import package_that_is_missing\ndef init(): pass\n", "ModuleNotFoundError: No module named"),
    ("def init(:\n", "SyntaxError"),
    ("def init():\n    import sys; sys.exit(4)\n", "init"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("text", "cause"), FAILING)
def test_what_goes_wrong_in_a_script_is_the_cause(text: str, cause: str, tmp_path: Path) -> None:
    done = selftest(script(tmp_path, f"{text}\ndef run(raw):\n    return raw\n"))
    assert cause in done.cause
    assert done.report["score"] is None


@pytest.mark.slow
def test_init_that_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    text = (
        "import os, subprocess, time\n"
        "def init():\n"
        "    left = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
        f"    open({str(tmp_path / 'pid')!r}, 'w').write(str(left.pid))\n"
        "    time.sleep(300)\n"
        "def run(raw):\n    pass\n"
    )
    done = selftest(script(tmp_path, text), "--timeout-s", "6")  # its init() has begun by then
    assert done.cause.startswith("the server was not ready after 6 s")
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


@pytest.mark.slow
def test_run_that_does_not_end_is_said(tmp_path: Path) -> None:
    text = "import time\ndef init():\n    pass\ndef run(raw):\n    time.sleep(300)\n"
    done = selftest(script(tmp_path, text), "--sample-json", "{}", "--timeout-s", "6")
    assert done.cause == "the sample was not answered in time"


@pytest.mark.slow
def test_run_that_fails_or_dies_is_said(tmp_path: Path) -> None:
    text = (
        "import json, os\ndef init():\n    pass\n"
        "def run(raw):\n    return 1 / 0 if json.loads(raw) else os._exit(3)\n"
    )
    folder = script(tmp_path, text)
    assert "the sample was answered 500" in selftest(folder, "--sample-json", "1").cause
    assert "500: The scoring process ended" in selftest(folder, "--sample-json", "0").cause


@pytest.mark.slow
def test_an_answer_that_the_script_refuses_fails_a_given_sample(tmp_path: Path) -> None:
    text = (
        "from azureml.contrib.services.aml_response import AMLResponse\n"
        "def init():\n    pass\n"
        "def run(raw):\n    return AMLResponse('not this', 422)\n"
    )
    done = selftest(script(tmp_path, text), "--sample-json", "1")
    assert "the sample was answered 422" in done.cause


@pytest.mark.slow
def test_a_talkative_script_fills_no_log(tmp_path: Path) -> None:
    text = (
        "def init():\n"
        "    for _ in range(60):\n        print('x' * 100_000)\n"
        "    print('y' * 10_000_000)\n"
        "    print('Listening on http://127.0.0.1:1')\n    print('error: not this')\n"
        "    raise RuntimeError('the end')\n"
        "def run(raw):\n    pass\n"
    )
    done = selftest(script(tmp_path, text))
    assert done.cause == "init() raised RuntimeError: the end"
    assert len(done.log) < 1_300_000
    assert "bytes left out" in done.log
    assert "error: the scoring script failed" in done.log


@pytest.mark.slow
def test_a_report_that_a_script_prints_is_not_ours(tmp_path: Path) -> None:
    text = "def init():\n    print('{\"ok\": true}')\n    1 / 0\ndef run(raw):\n    pass\n"
    assert selftest(script(tmp_path, text)).cause.startswith("init() raised ZeroDivisionError")


@pytest.mark.slow
def test_each_import_is_judged_also_behind_one_that_crashes(tmp_path: Path) -> None:
    modules = {
        "fine": "",
        "crashes": "import ctypes; ctypes.string_at(0)",
        "leaves": "import sys; sys.exit('no')",
        "goes": "import os; os._exit(0)",
        "lacks": "import ctypes; ctypes.CDLL('libnowhere.so.1')",
        "prints": "print('prints\\t', flush=True)",
    }
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text)
    path = model(tmp_path / "m.onnx", TensorProto.FLOAT, ["N"])
    options = [word for name in modules for word in ("--import", name)]
    done = selftest(path, *options, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    found = done.report["imports"]
    assert found["fine"] is None
    assert found["prints"] is None
    assert found["crashes"] == "its process was ended by SIGSEGV"
    assert found["leaves"] == "SystemExit: no"
    assert found["goes"] == "its process ended with exit code 0"
    assert found["lacks"].startswith("OSError: libnowhere.so.1: cannot open shared object file")
    assert done.cause.startswith("import of 'crashes' failed: ")
    assert done.report["score"]["status"] == 200


@pytest.mark.slow
def test_an_import_that_hangs_is_ended(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("import time; time.sleep(300)")
    path = model(tmp_path / "m.onnx", TensorProto.FLOAT, ["N"])
    done = selftest(path, "--import", "hangs", "--timeout-s", "3", PYTHONPATH=str(tmp_path))
    assert done.cause == "import of 'hangs' failed: it did not end in time"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="without root the kernel does this by itself")
def test_root_writes_to_no_file_that_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1")
    (tmp_path / "weights").chmod(0o444)
    text = f"def init():\n    open({str(tmp_path / 'weights')!r}, 'wb')\ndef run(raw):\n    pass\n"
    assert selftest(script(tmp_path, text)).cause.startswith("init() raised PermissionError")
    assert (tmp_path / "weights").read_bytes() == b"1"


def test_an_input_of_unknown_kind_or_size_is_not_guessed() -> None:
    def made(datatype: str, shape: list[int]) -> list[bytes]:
        return list(samples.of_model({"inputs": [tensor(datatype, shape)]}, None))

    def tensor(datatype: str, shape: list[int]) -> dict[str, Any]:
        return {"name": "x", "datatype": datatype, "shape": shape}

    assert made("MAP", [-1]) == []
    assert made("FP32", [10**6, 10**6]) == []
    assert list(samples.of_model(None, None)) == []
    assert made("LIST_FP32", [-1]) == [b'{"x":[[0]]}']
    config = {"input": [{"name": "y", "optional": True}, {"name": "x"}]}
    inputs = {"inputs": [tensor("BOOL", [1]), {"name": "y", "datatype": "FP32", "shape": [1]}]}
    assert list(samples.of_model(inputs, config)) == [b'{"x":[false]}']
