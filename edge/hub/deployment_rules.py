"""What a layer may say. The hub refuses here what a device could only fail at."""

from __future__ import annotations

import ipaddress
import math
import re

from edge import conditions, windows
from edge.errors import InvalidSpecError
from edge.layering import Layer, port_conflict
from edge.messages.desired import Module, Settings, Variant, Window
from edge.topics import check_device

MAX_MODULES = 100
MAX_VARIANTS = 20
MAX_TEXT = 4096
MAX_ENV = 32 * 1024
MAX_PRIORITY = 1_000_000
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE = re.compile(r"[\x21-\x7e]{1,255}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


def check_layer(layer: Layer) -> Layer:
    """Raises InvalidSpecError, naming the layer and what is wrong."""
    check_name(layer.name, "a layer")
    try:
        _check_target(layer)
        names = [*(module.name for module in layer.modules), *layer.removed]
        if len(names) > MAX_MODULES:
            raise InvalidSpecError(f"it names more than {MAX_MODULES} modules")
        if len(set(names)) < len(names):
            raise InvalidSpecError("it names a module twice")
        for name in layer.removed:
            check_name(name, "a module")
        for module in layer.modules:
            check_module(module)
        if conflict := port_conflict(layer.modules):
            raise InvalidSpecError(conflict)
        _check_settings(layer.settings)
    except InvalidSpecError as error:
        raise InvalidSpecError(f"layer {layer.name}: {error}") from None
    return layer


def check_name(name: str, of: str) -> str:
    """The name of a layer or module. Raises InvalidSpecError."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidSpecError(
            f"{ascii(name)[:70]} cannot name {of}; use 1 to 63 of a-z, 0-9, '.', '_', '-',"
            " beginning and ending with a letter or digit"
        )
    return name


def check_module(module: Module) -> Module:
    """Raises InvalidSpecError, naming the module and what is wrong."""
    check_name(module.name, "a module")
    try:
        _check_image(module)
        _check_place(module)
        _check_environment(module)
        _check_limits(module)
        _check_times(module)
    except InvalidSpecError as error:
        raise InvalidSpecError(f"module {module.name}: {error}") from None
    return module


def _check_target(layer: Layer) -> None:
    if layer.device is not None:
        check_device(layer.device)
    conditions.parse(layer.condition)
    if abs(layer.priority) > MAX_PRIORITY:
        raise InvalidSpecError(f"a priority is -{MAX_PRIORITY} to {MAX_PRIORITY}")


def _check_image(module: Module) -> None:
    images: tuple[Module | Variant, ...] = (module, *module.variants)
    for each in images:
        if not _IMAGE.fullmatch(each.image):
            raise InvalidSpecError(f"{ascii(each.image)[:60]} names no image; write name:version")
        if not _DIGEST.fullmatch(each.digest):
            raise InvalidSpecError("its digest is not sha256: and 64 of 0-9, a-f")
    found = [each.condition for each in module.variants]
    if len(found) > MAX_VARIANTS or len(set(found)) < len(found):
        raise InvalidSpecError(f"variants are up to {MAX_VARIANTS}, each for another condition")
    for condition in found:
        conditions.parse(condition)


def _check_place(module: Module) -> None:
    if module.port is not None and not 1 <= module.port <= 65535:
        raise InvalidSpecError(f"a port is 1 to 65535, not {module.port}")
    try:
        ipaddress.ip_address(module.address)
    except ValueError:
        raise InvalidSpecError(
            f"{ascii(module.address)[:60]} is no address; write one like 0.0.0.0 or 127.0.0.1"
        ) from None
    if abs(module.order) > MAX_PRIORITY:
        raise InvalidSpecError(f"an order is -{MAX_PRIORITY} to {MAX_PRIORITY}")


def _check_environment(module: Module) -> None:
    for name, value in module.env.items():
        if not _VARIABLE.fullmatch(name):
            raise InvalidSpecError(f"{ascii(name)[:60]} cannot name a variable")
        _check_text(value, f"the value of {name}")
    for argument in module.args:
        _check_text(argument, "an argument")
    size = sum(len(name) + len(value) for name, value in module.env.items())
    if size + sum(map(len, module.args)) > MAX_ENV:
        raise InvalidSpecError(f"variables and arguments are larger than {MAX_ENV} characters")


def _check_text(text: str, what: str) -> None:
    if "\0" in text or len(text) > MAX_TEXT or (not text.isascii() and not _is_utf8(text)):
        raise InvalidSpecError(f"{what} is longer than {MAX_TEXT} characters, or no text")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_limits(module: Module) -> None:
    limits = module.limits
    if limits.memory_bytes is not None:
        if limits.memory_bytes < 6 * 1024 * 1024:
            raise InvalidSpecError("less than 6 MiB of memory is too little for any module")
        _check_number(limits.memory_bytes, "limits.memory_bytes", 0, 1 << 50)
    if limits.cpus is not None:
        _check_number(limits.cpus, "cpus", 0.01, 4096.0)
    if limits.processes is not None:
        _check_number(limits.processes, "processes", 1, 1 << 22)


def _check_times(module: Module) -> None:
    day = 86400.0
    restart, probe, update = module.restart, module.probe, module.update
    _check_number(restart.backoff_s, "restart.backoff_s", 0.01, day)
    _check_number(restart.max_backoff_s, "restart.max_backoff_s", restart.backoff_s, day)
    _check_number(restart.reset_after_s, "restart.reset_after_s", 0.0, 30 * day)
    _check_number(probe.interval_s, "probe.interval_s", 0.1, day)
    _check_number(probe.timeout_s, "probe.timeout_s", 0.1, day)
    _check_number(probe.failures, "probe.failures", 1, 10_000)
    _check_number(probe.start_s, "probe.start_s", 0.0, day)
    if not re.fullmatch(r"/[\x21-\x7e]{0,1000}", probe.path):
        raise InvalidSpecError("probe.path begins with / and has no spaces")
    _check_number(update.start_s, "update.start_s", 1.0, day)
    _check_number(update.watch_s, "update.watch_s", 0.0, day)
    _check_number(update.shadow_s, "update.shadow_s", 0.0, 30 * day)
    _check_number(update.shadow_agreement, "update.shadow_agreement", 0.0, 1.0)
    if update.latency_factor is not None:
        _check_number(update.latency_factor, "update.latency_factor", 1.0, 1e6)
    if update.lock_deadline_s is not None:
        _check_number(update.lock_deadline_s, "update.lock_deadline_s", 0.0, 366 * day)
    _check_windows(update.windows)


def _check_settings(settings: Settings) -> None:
    day = 86400.0
    for name, low, high in (
        ("report_s", 1.0, day),
        ("metrics_s", 1.0, day),
        ("bytes_per_day", 0, 1 << 50),
        ("pull_bytes_per_s", 1, 1 << 50),
    ):
        value = getattr(settings, name)
        if value is not None:
            _check_number(value, name, low, high)
    _check_windows(settings.pull_windows)


def _check_windows(spans: tuple[Window, ...]) -> None:
    if len(spans) > 100:
        raise InvalidSpecError("more than 100 windows are too many")
    for span in spans:
        windows.check(span)


def _check_number(value: float, name: str, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidSpecError(f"{name} is {low:g} to {high:g}, not {value:g}")
