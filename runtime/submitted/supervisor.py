"""Carries out an order: environment, script, and how it ended."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import Any

from runtime.submitted.command import TICK_S, Commands
from runtime.submitted.interpreter import Environments, checked, found_interpreter
from runtime.submitted.layout import (
    AZUREML,
    CLIENT,
    CODE,
    HEARD,
    INPUTS,
    ORDER,
    RUN,
    Folder,
    hold,
)
from runtime.submitted.processes import adopt_orphans, reap
from runtime.submitted.watch import EndedError, Watch

Order = dict[str, Any]
"""See runtime/submission/order.py, which writes it."""


def supervise(folder: Folder) -> None:
    """From the order to the end."""
    with open(folder.at(ORDER), "rb") as file:
        order = json.loads(file.read().decode())
    os.unlink(folder.at(ORDER))
    hold(folder)
    watch = Watch(folder, order["patience_s"])
    watch.begin(is_attached=order["is_attached"])
    adopt_orphans()
    facts = _ended(folder, order, watch)
    folder.write_state("ended", **facts)
    if order["waits"]:
        _wait_until_heard(folder, watch)
    if order["removes"] or facts["why"] == "lost":
        shutil.rmtree(folder.path, ignore_errors=True)


def _ended(folder: Folder, order: Order, watch: Watch) -> dict[str, Any]:
    try:
        folder.write_state("preparing")
        commands = Commands(folder, watch, order["grace_s"])
        python = found_interpreter(order["python"])
        if order["requirements"]:
            environments = Environments(folder, commands, watch, order["cache"])
            python = environments.python(python, order["requirements"], order["environment_key"])
        variables = _variables(folder, order, python)
        folder.write_state("running")
        code = commands.call(_argv(folder, order, python), variables, order["max_duration_s"])
        return {"why": "exit", "message": "", "code": code}
    except EndedError as error:
        return error.facts
    except OSError as error:
        return {"why": "setup", "message": error.strerror or str(error), "code": None}


def _argv(folder: Folder, order: Order, python: str) -> list[str]:
    front = [part.replace("{work}", folder.path) for part in order["launcher"]] or [python]
    return [*front, order["script"], *order["arguments"]]


def _variables(folder: Folder, order: Order, python: str) -> dict[str, str]:
    found = dict(os.environ, **order["environment"])
    has = checked(python, found)
    paths = [] if has.tracking else [folder.at(CLIENT)]
    paths += [] if has.azureml else [folder.at(AZUREML)]
    paths += [found["PYTHONPATH"]] if found.get("PYTHONPATH") else []
    found["PYTHONPATH"] = os.pathsep.join(paths)
    found.setdefault("PYTHONUNBUFFERED", "1")
    found["INFERRY_RUN"] = order["run"]
    found["INFERRY_JOURNAL"] = folder.at(RUN)
    for variable, name in order["inputs"].items():
        found[variable] = folder.at(CODE, INPUTS, name)
    if order["is_spark"]:
        found["PYSPARK_PYTHON"] = found["PYSPARK_DRIVER_PYTHON"] = python
    return found


def _wait_until_heard(folder: Folder, watch: Watch) -> None:
    """A container ends with its first process, and nothing can be asked of it any more."""
    while not os.path.exists(folder.at(HEARD)) and not watch.is_lost():
        reap()
        time.sleep(TICK_S)
