"""Tests of what keeps modules running."""
