"""Mirrors edge/outbox/."""
