"""Mirrors edge/telemetry/."""
