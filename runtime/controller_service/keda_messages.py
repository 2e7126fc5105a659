"""The messages of KEDA's protocol for external scalers, described here and made by protobuf: so
nothing is generated, and any version of protobuf will do.

https://keda.sh/docs/latest/concepts/external-scalers/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PACKAGE = "externalscaler"
SERVICE = f"{PACKAGE}.ExternalScaler"
_TEXT, _FLAG, _WHOLE, _REAL = 9, 8, 3, 1  # protobuf's numbers of types
# Message: fields as name, number, type or message, whether there are several.
_FIELDS: dict[str, list[tuple[str, int, int | str, bool]]] = {
    "ScaledObjectRef": [
        ("name", 1, _TEXT, False),
        ("namespace", 2, _TEXT, False),
        ("scalerMetadata", 3, "ScaledObjectRef.ScalerMetadataEntry", True),
    ],
    "IsActiveResponse": [("result", 1, _FLAG, False)],
    "MetricSpec": [
        ("metricName", 1, _TEXT, False),
        ("targetSize", 2, _WHOLE, False),
        ("targetSizeFloat", 3, _REAL, False),
    ],
    "GetMetricSpecResponse": [("metricSpecs", 1, "MetricSpec", True)],
    "GetMetricsRequest": [
        ("scaledObjectRef", 1, "ScaledObjectRef", False),
        ("metricName", 2, _TEXT, False),
    ],
    "MetricValue": [
        ("metricName", 1, _TEXT, False),
        ("metricValue", 2, _WHOLE, False),
        ("metricValueFloat", 3, _REAL, False),
    ],
    "GetMetricsResponse": [("metricValues", 1, "MetricValue", True)],
}
_ENTRY: list[tuple[str, int, int | str, bool]] = [
    ("key", 1, _TEXT, False),
    ("value", 2, _TEXT, False),
]


@dataclass(frozen=True, slots=True)
class Messages:
    """Classes of protobuf."""

    ref: Any
    is_active: Any
    spec: Any
    specs: Any
    request: Any
    value: Any
    values: Any


def messages() -> Messages:
    """Raises ImportError where protobuf is not installed."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="inferry/externalscaler.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        _add(message, fields)
        if name == "ScaledObjectRef":
            entry = message.nested_type.add(name="ScalerMetadataEntry")
            _add(entry, _ENTRY)
            entry.options.map_entry = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)

    def of(name: str) -> Any:
        found = pool.FindMessageTypeByName(f"{PACKAGE}.{name}")
        return message_factory.GetMessageClass(found)

    return Messages(
        of("ScaledObjectRef"),
        of("IsActiveResponse"),
        of("MetricSpec"),
        of("GetMetricSpecResponse"),
        of("GetMetricsRequest"),
        of("MetricValue"),
        of("GetMetricsResponse"),
    )


def _add(message: Any, fields: list[tuple[str, int, int | str, bool]]) -> None:
    for name, number, kind, is_repeated in fields:
        field = message.field.add(name=name, number=number, label=3 if is_repeated else 1)
        if isinstance(kind, str):
            field.type, field.type_name = 11, f".{PACKAGE}.{kind}"
        else:
            field.type = kind
