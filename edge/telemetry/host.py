"""The machine's numbers, as they go into telemetry."""

from __future__ import annotations

from edge.messages.reported import HostReport


def host_metrics(report: HostReport) -> dict[str, float]:
    """Bytes, seconds, degrees Celsius."""
    found = {
        "disk_free_bytes": float(report.disk_free_bytes),
        "disk_total_bytes": float(report.disk_total_bytes),
        "memory_available_bytes": float(report.memory_available_bytes),
        "memory_total_bytes": float(report.memory_total_bytes),
        "load1": report.load1,
        "uptime_s": report.uptime_s,
    }
    if report.temperature_c is not None:
        found["temperature_c"] = report.temperature_c
    return found
