"""Why a self-test fails."""

from __future__ import annotations


class SelfTestError(Exception):
    """``str()`` is one clear line."""
