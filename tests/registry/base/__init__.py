"""Tests of registry.base."""
