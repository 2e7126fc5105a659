"""Parameters of a pipeline: which values they have, and where they stand. Pure.

values = chosen({"hidden": "64"}, {"hidden": "32"})
filled(["--hidden", "${hidden}"], values)          # ["--hidden", "32"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from registry.names import check_name
from registry.tracking.words import check_params
from runtime.pipelines.errors import BadPipelineError
from runtime.pipelines.words import advice, shown

MAX_FILLED_CHARS = 100_000
"""Of one text with its parameters in place."""
_PLACE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")


def chosen(defaults: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The value of each. Raises BadPipelineError for one that there is not, and for one without a
    default that is not given; InvalidNameError."""
    for name in given:
        if name not in defaults:
            raise BadPipelineError(
                f"there is no parameter {shown(name)}; {advice(name, defaults, 'there is none')}"
            )
    values = check_params({check_name(k, "parameter"): v for k, v in defaults.items()})
    values.update(check_params(given))
    missing = [name for name, value in values.items() if not value and name not in given]
    if missing:
        raise BadPipelineError(
            f"the parameter '{missing[0]}' has no default; give it: --set {missing[0]}=VALUE"
        )
    return values


def filled(tree: Any, values: Mapping[str, str], where: str = "") -> Any:
    """``tree`` (text, lists and maps) with the parameters in all texts but the keys of maps. Raises
    BadPipelineError."""
    if isinstance(tree, str):
        return _filled(tree, values, where) if "${" in tree else tree
    if isinstance(tree, Mapping):
        return {
            k: filled(v, values, f"{where}: {shown(k)}" if where else str(k))
            for k, v in tree.items()
        }
    if isinstance(tree, list | tuple):
        return [filled(item, values, where) for item in tree]
    return tree


def _filled(text: str, values: Mapping[str, str], where: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return "${"
        if not match[2]:
            raise BadPipelineError(f"{where}: a '${{' has no '}}'; '$${{' is a plain one")
        name = match[1].strip()
        if name not in values:
            said = advice(name, values, "the pipeline has none")
            raise BadPipelineError(f"{where}: there is no parameter {shown(name)}; {said}")
        return values[name]

    made = _PLACE.sub(value, text)
    if len(made) > MAX_FILLED_CHARS:
        raise BadPipelineError(f"{where}: the text is too long with its parameters")
    return made
