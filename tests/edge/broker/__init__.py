"""Tests of the embedded broker; and the suite that it and mosquitto must pass."""
