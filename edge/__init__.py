"""Devices: agent and hub over MQTT (a later issue fills this package)."""
