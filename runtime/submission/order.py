"""What the supervisor on the target is told to do (runtime/submitted/supervisor.py). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.errors import BadValueError
from runtime.submission.config import RunConfig
from runtime.submission.places.port import Traits
from runtime.tracking.context import WORKSPACE

INPUT = "INFERRY_INPUT_"


def order_of(
    config: RunConfig,
    traits: Traits,
    *,
    run: str,
    inputs: Sequence[str],
    passed: Mapping[str, str],
    requirements: bytes,
) -> dict[str, Any]:
    """``passed``: the variables of ``config.pass_environment`` with their values;
    ``requirements``: the text of that file."""
    variables = {**config.environment, **passed}
    if traits.workspace:
        variables[WORKSPACE] = traits.workspace
    key = hashlib.sha256(f"{traits.key}\n".encode() + requirements).hexdigest()
    return {
        "run": run,
        "python": config.python.interpreter or traits.python,
        "requirements": config.python.requirements,
        "environment_key": key,
        "cache": traits.cache,
        "launcher": list(traits.launcher),
        "script": script_argument(config.script),
        "arguments": list(config.arguments),
        "environment": variables,
        "inputs": input_variables(inputs),
        "max_duration_s": config.max_duration_s,
        "grace_s": config.grace_s,
        "patience_s": config.patience_s,
        "is_attached": traits.is_attached,
        "waits": traits.waits,
        "removes": traits.removes,
        "is_spark": traits.is_spark,
    }


def script_argument(script: str) -> str:
    """As no program takes it for an option."""
    return f"./{script}" if script.startswith("-") else script


def input_variables(inputs: Sequence[str]) -> dict[str, str]:
    """The variable of each input. Raises BadValueError where two would have one."""
    found: dict[str, str] = {}
    for name in inputs:
        variable = INPUT + "".join(c if c.isalnum() else "_" for c in name).upper()
        if variable in found:
            raise BadValueError(f"the inputs {found[variable]!a} and {name!a} are both ${variable}")
        found[variable] = name
    return found


def passed_variables(config: RunConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """Of this process. Raises BadValueError for one that is not set."""
    missing = [name for name in config.pass_environment if name not in environment]
    if missing:
        raise BadValueError(f"pass_environment: {missing[0]} is not set here")
    return {name: environment[name] for name in config.pass_environment}
