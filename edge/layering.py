"""What one device shall run: the layers that are for it, one above the other.

For each module (and each setting) the layer that says something about it and ranks highest decides:
a device's own layer before all others, then the higher priority, then the name that comes first in
the alphabet. A layer can also take a module away that lower ones have. A module may have another
image for some of the devices, such as those with an FPGA: a rollout brings each device its own.

    composed = compose("camera-1", {"site": "berlin"}, layers)
    composed.modules, composed.settings, composed.error

An error (two modules at one port) is one for this device only: whoever publishes keeps what it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from edge import conditions
from edge.messages.desired import Module, Settings, Variant

_EVERY_ADDRESS = frozenset({"0.0.0.0", "::", ""})


class Layer(msgspec.Struct, frozen=True, omit_defaults=True):
    """``condition``: see edge/conditions.py. ``device``: it is that device's own, and the condition
    does not count. ``removed``: names of modules that its devices do not run."""

    name: str
    condition: str = "all"
    priority: int = 0
    device: str | None = None
    modules: tuple[Module, ...] = ()
    removed: tuple[str, ...] = ()
    settings: Settings = Settings()

    def module(self, name: str) -> Module | None:
        """Its module of this name."""
        return next((module for module in self.modules if module.name == name), None)

    def is_for(self, device: str, tags: Mapping[str, str]) -> bool:
        """Whether it says something about this device. Raises InvalidSpecError for a condition that
        ``conditions.parse`` refuses."""
        if self.device is not None:
            return self.device == device
        return conditions.parse(self.condition)(device, tags)

    def with_module(self, name: str, module: Module | None) -> Layer:
        """The same with this module in place of the one of that name."""
        others = [each for each in self.modules if each.name != name]
        modules = sorted([*others, *([module] if module else [])], key=lambda each: each.name)
        return msgspec.structs.replace(self, modules=tuple(modules))


class Composed(msgspec.Struct, frozen=True):
    """``modules``: by name. ``sources``: which layer each comes from. ``error``: why this cannot
    be, one line; None: it can."""

    modules: tuple[Module, ...]
    settings: Settings
    sources: dict[str, str]
    error: str | None = None


def ranked(layers: Iterable[Layer]) -> list[Layer]:
    """The one that decides first, first."""
    return sorted(layers, key=lambda layer: (layer.device is None, -layer.priority, layer.name))


def compose(device: str, tags: Mapping[str, str], layers: Iterable[Layer]) -> Composed:
    """The same layers, in whatever order, give the same. Raises InvalidSpecError as ``is_for``."""
    chosen: dict[str, Module | None] = {}
    sources: dict[str, str] = {}
    mine = [layer for layer in ranked(layers) if layer.is_for(device, tags)]
    for layer in mine:
        for module in layer.modules:
            if module.name not in chosen:
                chosen[module.name] = for_device(module, device, tags)
                sources[module.name] = layer.name
        for name in layer.removed:
            chosen.setdefault(name, None)
    modules = tuple(module for _, module in sorted(chosen.items()) if module is not None)
    settings = _settings([layer.settings for layer in mine])
    return Composed(modules, settings, sources, port_conflict(modules))


def for_device(module: Module, device: str, tags: Mapping[str, str]) -> Module:
    """The module with the image that this device runs, and no variants. Raises InvalidSpecError as
    ``Layer.is_for``."""
    if not module.variants:
        return module
    for each in module.variants:
        if conditions.parse(each.condition)(device, tags):
            module = msgspec.structs.replace(module, image=each.image, digest=each.digest)
            break
    return msgspec.structs.replace(module, variants=())


def with_variants(module: Module, variants: Iterable[Variant]) -> Module:
    """The module with these, each in place of the one that it had for the same condition."""
    merged = {each.condition: each for each in (*module.variants, *variants)}
    return msgspec.structs.replace(module, variants=tuple(merged.values()))


def canonical(layer: Layer) -> Layer:
    """An equal one that is encoded as every other equal one: what says a default in so many words
    says it no more."""
    modules = tuple(map(canonical_module, layer.modules))
    return msgspec.structs.replace(layer, modules=modules)


def canonical_module(module: Module) -> Module:
    """As ``canonical``."""
    said = {name: getattr(module, name) for name in _NESTED}
    same = {name: _NESTED[name] for name, value in said.items() if value == _NESTED[name]}
    return msgspec.structs.replace(module, **same)


def _settings(highest_first: Sequence[Settings]) -> Settings:
    nothing = Settings()
    found = {}
    for settings in reversed(highest_first):
        for name in Settings.__struct_fields__:
            value = getattr(settings, name)
            if value != getattr(nothing, name):
                found[name] = value
    return Settings(**found)


def port_conflict(modules: Iterable[Module]) -> str | None:
    """Two modules that would answer at one port, in words."""
    taken: dict[int, list[Module]] = {}
    for module in modules:
        if module.port is None:
            continue
        for other in taken.setdefault(module.port, []):
            if other.address == module.address or _EVERY_ADDRESS & {other.address, module.address}:
                return f"{other.name} and {module.name} both want port {module.port}"
        taken[module.port].append(module)
    return None


_NESTED = {
    field.name: field.default
    for field in msgspec.structs.fields(Module)
    if isinstance(field.default, msgspec.Struct)
}
"""The defaults that are structs: an encoder knows them only by identity."""
