"""What a target gets: all that a script needs there, and a tar that stock programs read."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from registry import Workspace
from registry.tracking.snapshot_folder import read_folder
from runtime.errors import BadValueError
from runtime.submission.client import client_files, shim_files
from runtime.submission.config import make_config
from runtime.submission.order import input_variables, order_of, script_argument
from runtime.submission.package import package
from runtime.submission.places.port import Traits
from tests.engine import ROOT


def write_client(folder: Path) -> None:
    for path, data in {**client_files(), **shim_files()}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def bare(folder: Path, program: str) -> str:
    """What a Python says that has the client, the standard library and nothing else."""
    start = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client_stands_on_the_standard_library_alone(tmp_path: Path) -> None:
    write_client(tmp_path)
    said = bare(
        tmp_path,
        "import json, pathlib, os\n"
        "import runtime.submitted.main, azureml.core.run\n"
        "os.makedirs('run/files'); os.environ.update(INFERRY_RUN='0' * 32, INFERRY_JOURNAL='run')\n"
        "facts = {'experiment': 'e', 'number': 1, 'name': '', 'started_ms': 0}\n"
        "pathlib.Path('run/context.json').write_text(json.dumps(facts))\n"
        "run = azureml.core.run.Run.get_context(allow_offline=False)\n"
        "run.log('a', 1); run.upload_file('f', 'run/context.json'); run.child().end(); run.end()\n"
        "print(json.dumps([m for m in sys.modules if m.startswith(('runtime', 'registry'))]))",
    )
    loaded = {name.replace(".", "/") for name in json.loads(said)}
    shipped = {path.removesuffix(".py").removesuffix("/__init__") for path in client_files()}
    assert loaded <= shipped
    assert sum(map(len, client_files().values())) < 600_000


def test_what_runs_there_imports_nothing_else_of_inferry() -> None:
    for path in (ROOT / "runtime/submitted").glob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("import ", "from ")):
                name = line.split()[1].rstrip(",")
                is_own = name.startswith("runtime.submitted")
                assert is_own or name.split(".")[0] in sys.stdlib_module_names, f"{path}: {line}"


@pytest.mark.parametrize("top", ["", "inferry-run"])
def test_stock_tar_reads_the_package(tmp_path: Path, top: str) -> None:
    workspace = Workspace.init(tmp_path / "workspace", base="none")
    (tmp_path / "code/deep").mkdir(parents=True)
    (tmp_path / "code/train.py").write_text("")
    (tmp_path / f"code/deep/{'é' * 100}.txt").write_text("x" * 1000)
    run = workspace.tracking.runs.create("e", name="n")
    files = {file.path: file for file in read_folder(tmp_path / "code").files}
    snapshots = workspace.tracking.snapshots
    kept = snapshots.keep(run.id, files, config="{}", inputs={"empty": {}})
    traits = Traits(top=top, is_open=bool(top))
    data = b"".join(package(kept, {"a": 1}, run, snapshots.chunks, traits=traits, zips={}))
    (tmp_path / "p.tar").write_bytes(data)
    listed = subprocess.run(
        ["tar", "-tf", str(tmp_path / "p.tar")], capture_output=True, check=True, timeout=60
    )
    prefix = f"{top}/" if top else ""
    assert f"{prefix}agent.py".encode() in listed.stdout.splitlines()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
        assert f"{prefix}code/deep/{'é' * 100}.txt" in names
        assert f"{prefix}code/inputs/empty" in names
        assert tar.getmember(f"{prefix}code/outputs").mode == (0o777 if top else 0o700)
        context = tar.extractfile(f"{prefix}run/context.json")
        assert context is not None
        assert json.load(context)["name"] == "n"


def test_an_order_says_what_to_run() -> None:
    config = make_config({"script": "-c.py", "arguments": ["x"], "environment": {"A": "1"}})
    order = order_of(
        config,
        Traits(python="py", workspace="/w"),
        run="r",
        inputs=["my-data"],
        passed={"B": "2"},
        requirements=b"",
    )
    assert (order["script"], order["arguments"], order["python"]) == ("./-c.py", ["x"], "py")
    assert order["environment"] == {"A": "1", "B": "2", "INFERRY_WORKSPACE": "/w"}
    assert order["inputs"] == {"INFERRY_INPUT_MY_DATA": "my-data"}
    other = order_of(config, Traits(key="k"), run="r", inputs=[], passed={}, requirements=b"")
    assert other["environment_key"] != order["environment_key"]
    assert script_argument("src/a.py") == "src/a.py"


def test_two_inputs_cannot_have_one_variable() -> None:
    with pytest.raises(BadValueError, match="INFERRY_INPUT_A_B"):
        input_variables(["a-b", "a.b"])
