"""Spark: ``spark-submit`` on this machine, as a process of its own. The driver is the script, and
finds its run; the executors get the folder's modules, and the tracker's, which prints there."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from registry.deployments import Target
from runtime.submission.config import SparkConfig
from runtime.submission.errors import PlaceError
from runtime.submission.places.local import TRAITS, LocalPlace
from runtime.submission.places.port import Traits
from runtime.submitted.layout import CLIENT_ZIP, CODE_ZIP

MASTER = "local[*]"
PROGRAM = "spark-submit"


def spark_place(
    folder: Path,
    target: Target,
    config: SparkConfig,
    workspace: Path,
    *,
    is_bare: bool = False,
) -> LocalPlace:
    """Raises PlaceError where spark-submit or Java is missing."""
    traits = spark_traits(target, config, program_of(target, os.environ))
    return LocalPlace(folder, replace(traits, workspace=str(workspace)), is_bare=is_bare)


def spark_traits(target: Target, config: SparkConfig, program: str) -> Traits:
    """Pure."""
    launcher = [program, "--master", target.settings.get("master", MASTER)]
    launcher += ["--deploy-mode", "client", "--name", f"inferry {target.name}"]
    # From code/, where the script runs: a comma in the way to it would be the next file.
    launcher += ["--py-files", f"../{CODE_ZIP},../{CLIENT_ZIP}"]
    for option in ("driver_memory", "executor_memory"):
        value = getattr(config, option)
        launcher += [f"--{option.replace('_', '-')}", value] if value else []
    launcher += ["--packages", ",".join(config.packages)] if config.packages else []
    for key, value in config.conf.items():
        launcher += ["--conf", f"{key}={value}"]
    python = target.settings.get("python", sys.executable)
    return replace(TRAITS, python=python, launcher=tuple(launcher), is_spark=True)


def program_of(target: Target, environment: Mapping[str, str]) -> str:
    """Where spark-submit is: as the target says, of the PATH, or of this Python's environment."""
    wanted = target.settings.get("spark_submit")
    beside = str(Path(sys.executable).with_name(PROGRAM))
    found = shutil.which(wanted) if wanted else shutil.which(PROGRAM) or shutil.which(beside)
    if found is None:
        raise PlaceError(
            f"there is no {wanted or PROGRAM}; install Spark (pip install pyspark), or attach the"
            " target with --set spark_submit=PATH"
        )
    home = environment.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and os.path.exists(f"{home}/bin/java")):
        raise PlaceError("Spark needs Java, and there is no program java (or $JAVA_HOME)")
    return found
