"""Mirrors edge/."""
