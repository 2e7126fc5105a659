"""Spark: a real spark-submit, with two executors' threads on this machine."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from registry import Workspace
from registry.deployments import Target
from registry.tracking import RunRecord
from runtime.submission import make_config
from runtime.submission.errors import PlaceError
from runtime.submission.places.spark import program_of, spark_traits
from tests.engine import PACKAGES, ROOT, program
from tests.runtime.datastores.servers import wait_until
from tests.runtime.submission.conftest import Submit
from tests.runtime.submission.test_local import alive, pids

VENV = ROOT / ".venv-spark"


@pytest.fixture
def cluster(workspace: Workspace) -> str:
    """A target of kind spark; local[2]."""
    program("java", PACKAGES)
    if not (VENV / "bin/spark-submit").exists():
        pytest.skip("needs pyspark: run scripts/spark")
    workspace.targets.attach(
        "cluster",
        "spark",
        {
            "master": "local[2]",
            "spark_submit": str(VENV / "bin/spark-submit"),
            "python": str(VENV / "bin/python"),
        },
    )
    return "cluster"


@pytest.mark.slow
def test_a_driver_has_its_run_and_executors_the_modules_of_the_folder(
    run_script: Submit, cluster: str, folder: Path, lines: list[str], workspace: Workspace
) -> None:
    (folder / "shapes.py").write_text("def area(n):\n    return n * n\n")
    hostile = ["a b", "$(touch x)", "`id`", "it's", "--conf", "*"]
    run = run_script(
        "import sys\nfrom pyspark import SparkContext\nfrom runtime.tracking import Run\n"
        "import shapes\nspark = SparkContext.getOrCreate()\n"
        "total = spark.parallelize(range(10), 2).map(shapes.area).sum()\n"
        "run = Run.get_context()\nrun.log('total', total)\n"
        "open('outputs/total.txt', 'w').write(str(total))\n"
        "print('said', sys.argv[1:], spark.getConf().get('spark.words'), spark.master)\n"
        "spark.stop()\n",
        {
            "target": cluster,
            "arguments": hostile,
            "spark": {"conf": {"spark.words": "a; $(x)", "spark.ui.enabled": "false"}},
        },
    )
    assert (run.status, run.cause) == ("finished", None), lines[-5:]
    assert run.metrics["total"].value == 285
    assert f"said {hostile!r} a; $(x) local[2]" in lines
    files = [file.path for file in workspace.tracking.files.list(run.id)]
    assert files == ["outputs/total.txt"]


@pytest.mark.slow
def test_cancel_ends_java_and_the_driver(
    run_script: Submit, cluster: str, lines: list[str], workspace: Workspace
) -> None:
    begun: list[RunRecord] = []

    def cancel() -> None:
        wait_until(lambda: any(line.startswith("pids ") for line in lines), "it began", 120)
        workspace.tracking.runs.cancel(begun[0].id)

    thread = threading.Thread(target=cancel)
    thread.start()
    run = run_script(
        "import os, time\nprint('pids', os.getpid(), os.getppid(), flush=True)\ntime.sleep(600)",
        {"target": cluster},
        on_begin=begun.append,
    )
    thread.join()
    assert (run.status, run.cause) == ("killed", "cancelled")
    (said,) = [line for line in lines if line.startswith("pids ")]
    assert not [pid for pid in pids([said]) if alive(pid)]


def test_the_command_line_of_spark_submit_has_each_word_by_itself() -> None:
    config = make_config(
        {
            "script": "a.py",
            "spark": {
                "conf": {"spark.a": "b --master x"},
                "packages": ["g:a:1", "g:b:2"],
                "driver_memory": "2g",
            },
        }
    ).spark
    target = Target("c", "spark", {"master": "yarn"}, "")
    launcher = spark_traits(target, config, "/opt/spark-submit").launcher
    assert launcher[:3] == ("/opt/spark-submit", "--master", "yarn")
    assert launcher[-2:] == ("--conf", "spark.a=b --master x")
    assert launcher[launcher.index("--packages") + 1] == "g:a:1,g:b:2"
    assert launcher[launcher.index("--driver-memory") + 1] == "2g"
    assert "--executor-memory" not in launcher


def test_a_machine_without_spark_or_java_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = Target("c", "spark", {"spark_submit": str(tmp_path / "spark-submit")}, "")
    with pytest.raises(PlaceError, match="install Spark"):
        program_of(target, {})
    shutil.copy("/bin/true", tmp_path / "spark-submit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PlaceError, match="needs Java"):
        program_of(target, {})
    (tmp_path / "home/bin").mkdir(parents=True)
    (tmp_path / "home/bin/java").touch()
    assert program_of(target, {"JAVA_HOME": str(tmp_path / "home")}).endswith("spark-submit")
