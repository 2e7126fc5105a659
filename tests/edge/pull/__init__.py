"""Tests of edge/pull."""
