"""A deployment as the command line or a file says it. Pure, but for finding images."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from edge import windows
from edge.errors import EdgeError
from edge.layering import Layer
from edge.messages.desired import Limits, Module, Probe, Restart, Settings, Update, Variant, Window
from runtime.edge_images import FoundImage
from runtime.errors import BadValueError

Find = Callable[[str], FoundImage]
MOST_BYTES = 1 << 50
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kmg]?)(?:i?b)?", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_STRUCTS = (Layer, Module, Limits, Restart, Probe, Update, Settings, Window, Variant)


def size_bytes(text: str) -> int:
    """Of "256m" or "1.5GiB". Raises BadValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadValueError(f"'{text}' is no size; say 256m or 1g")
    size = float(match[1]) * _FACTORS[match[2].lower()]
    if size > MOST_BYTES:
        raise BadValueError(f"'{text[:40]}' is more than any machine has")
    return int(size)


def module_pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """Of NAME=IMAGE[:V]. Raises BadValueError."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, image = text.partition("=")
        if not (name and equals and image):
            raise BadValueError(f"'{text}' names no module; say NAME=IMAGE:VERSION")
        if name in found:
            raise BadValueError(f"module '{name}' is given twice")
        found[name] = image
    return found


def variants(texts: Iterable[tuple[str, str]], find: Find) -> list[Variant]:
    """Of pairs of a condition and an image. Raises BadValueError."""
    found = [(condition, find(image)) for condition, image in texts]
    return [Variant(condition, image.reference, image.digest) for condition, image in found]


def read_layer(path: Path, name: str, find: Find) -> Layer:
    """A deployment from YAML or JSON: the fields of a layer; a module needs ``name`` and ``image``,
    and the workspace knows the digest. Raises BadValueError, naming the key."""
    try:
        text = path.read_text()
        data = json.loads(text) if path.suffix == ".json" else _yaml(text)
    except (ValueError, UnicodeDecodeError) as error:
        raise BadValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise BadValueError(f"{path} must be a mapping with the key 'modules'")
    data.setdefault("name", name)
    if data["name"] != name:
        raise BadValueError(f"{path} is of the deployment '{data['name']}', not '{name}'")
    if "target" in data:
        data["condition"] = data.pop("target")
    for module in _modules(data):
        for each in (module, *_mappings(module.get("variants"))):
            if each is not module and "target" in each:
                each["condition"] = each.pop("target")
            if isinstance(each.get("image"), str):
                found = find(each["image"])
                each["image"], each["digest"] = found.reference, found.digest
    _windows_read(data)
    check_keys(data, Layer, "")
    try:
        return msgspec.convert(data, Layer)
    except msgspec.ValidationError as error:
        raise BadValueError(f"{path}: {error}") from error


def check_keys(data: object, kind: type, where: str) -> None:
    """A key that is misspelt must not be passed over. Raises BadValueError."""
    if not isinstance(data, Mapping) or kind not in _STRUCTS:
        return
    hints = get_type_hints(kind)
    for key, value in data.items():
        if key not in hints:
            known = ", ".join(sorted(hints))
            raise BadValueError(f"there is no key '{where}{key}'; there are: {known}")
        for inner in (hints[key], *get_args(hints[key])):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(inner, type):
                    check_keys(item, inner, f"{where}{key}.")


def _modules(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that can be one; what is wrong with others is said later."""
    return _mappings(data.get("modules"))


def _mappings(found: object) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _windows_read(data: dict[str, Any]) -> None:
    """ "22:00-04:00" where a window is meant."""
    settings = data.get("settings")
    if isinstance(settings, dict) and isinstance(settings.get("pull_windows"), list):
        settings["pull_windows"] = [_window(one) for one in settings["pull_windows"]]
    for module in _modules(data):
        update = module.get("update")
        if isinstance(update, dict) and isinstance(update.get("windows"), list):
            update["windows"] = [_window(one) for one in update["windows"]]


def _window(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        found = windows.parse(value)
    except EdgeError as error:
        raise BadValueError(str(error)) from error
    return {"start": found.start, "end": found.end}


def _yaml(text: str) -> Any:
    import yaml  # of the registry extra; only a file needs it

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
