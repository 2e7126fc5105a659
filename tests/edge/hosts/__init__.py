"""Tests of the places that run modules."""
