"""Tests of edge/switch."""
