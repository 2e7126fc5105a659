"""What @input_schema says of run(): the one place that looks inside inference-schema's decorators.

The decorators keep their arguments in closures, nowhere else (inference-schema 1.8).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class InputSchema:
    """One @input_schema. ``type`` is an AbstractParameterType of inference-schema."""

    parameter: str
    type: Any
    converts: bool
    optional: bool

    def convert(self, value: Any) -> Any:
        """What run() gets for a JSON value. Raises whatever the conversion raises; may change
        ``value``. A value that is converted already comes back as it is."""
        from inference_schema.schema_decorators import _deserialize_input_argument

        if not self.converts or (self.optional and not value):
            return value
        return _deserialize_input_argument(value, self.type, self.parameter)


def input_schemas(run: Callable[..., Any]) -> list[InputSchema]:
    """All of them, the outermost first."""
    found = []
    function: Any = run
    while function is not None:
        schema = _schema(function)
        if schema is not None:
            found.append(schema)
        function = getattr(function, "__wrapped__", None)
    return found


def has_foreign_wrapper(run: Callable[..., Any]) -> bool:
    """Whether something else than inference-schema's decorators sees the JSON value first."""
    function: Any = run
    while _is_decorated(function):
        if _schema(function) is not None:
            return False
        function = function.__wrapped__
    return True


def _is_decorated(function: Any) -> bool:
    wrapper = getattr(function, "_self_wrapper", None)
    return getattr(wrapper, "__module__", None) == "inference_schema.schema_decorators"


def _schema(function: Any) -> InputSchema | None:
    if not _is_decorated(function):
        return None
    kept = inspect.getclosurevars(function._self_wrapper).nonlocals
    if "param_type" not in kept:
        return None
    return InputSchema(
        kept["param_name"],
        kept["param_type"],
        bool(kept.get("convert_to_provided_type", True)),
        bool(kept.get("optional", False)),
    )
