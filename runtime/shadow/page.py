"""What was counted, as /metrics for Prometheus and as /counts for programs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from runtime.shadow.counts import Counts, Times

TEXT, JSON = "text/plain; version=0.0.4; charset=utf-8", "application/json"
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Counts])
_FAMILIES: tuple[tuple[str, str, str, Callable[[Counts], Mapping[str, float]]], ...] = (
    (
        "inferry_mirror_copies_total",
        "counter",
        "Copies put to a shadow, by what came of them.",
        lambda one: {
            'result="equal"': one.equal,
            'result="different"': one.different,
            'result="failed"': one.failed,
        },
    ),
    (
        "inferry_mirror_dropped_total",
        "counter",
        "Copies that were not made, by reason.",
        lambda one: {f'reason="{reason}"': count for reason, count in sorted(one.dropped.items())},
    ),
    (
        "inferry_mirror_largest_difference",
        "gauge",
        "Of two numbers at the same place of the two answers.",
        lambda one: {"": one.largest},
    ),
)


def encoded(counts: Mapping[str, Counts]) -> bytes:
    """By shadow, as JSON."""
    return _encoder.encode(counts)


def decoded(data: bytes) -> dict[str, Counts]:
    """Raises msgspec.DecodeError."""
    return _decoder.decode(data)


def metrics(counted: Mapping[str, Mapping[str, Counts]]) -> str:
    """A page. ``counted``: by service and shadow; names have no character that would need a
    backslash."""
    found = [(name, each, one) for name in sorted(counted) for each, one in counted[name].items()]
    lines: list[str] = []
    for name, kind, text, samples in _FAMILIES:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        for service, shadow, one in found:
            for label, value in samples(one).items():
                lines.append(f"{name}{_labels(service, shadow, label)} {value}")
    name = "inferry_mirror_answer_seconds"
    lines += [f"# HELP {name} Of both to the same requests.", f"# TYPE {name} summary"]
    for service, shadow, one in found:
        for side, times in (("primary", one.primary), ("shadow", one.shadow)):
            lines += _summary(name, _labels(service, shadow, f'side="{side}"'), times)
    return "\n".join([*lines, ""])


def answer(service: str, counts: Mapping[str, Counts], target: str) -> bytes:
    """To GET ``target``, of HTTP."""
    status, kind, body = "200 OK", JSON, b""
    if target == "/metrics":
        kind, body = TEXT, metrics({service: counts}).encode()
    elif target == "/counts":
        body = encoded(counts)
    else:
        status, body = "404 Not Found", b'{"error": "there are /metrics and /counts"}'
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
    return f"{head}connection: close\r\n\r\n".encode() + body


def _labels(service: str, shadow: str, more: str) -> str:
    parts = [f'deployment="{service}"', f'shadow="{shadow}"', *([more] if more else [])]
    return "{" + ",".join(parts) + "}"


def _summary(name: str, labels: str, times: Times) -> list[str]:
    lines = []
    for share in (0.5, 0.99):
        value = times.quantile_s(share)
        if value is not None:
            lines.append(f'{name}{labels[:-1]},quantile="{share:g}"}} {value:.6g}')
    return [*lines, f"{name}_sum{labels} {times.sum_s:.6f}", f"{name}_count{labels} {times.count}"]
