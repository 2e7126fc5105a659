"""Telemetry that is not lost: kept on disk until the hub says that it is durable there."""
