"""The version of this program."""

from __future__ import annotations

from functools import cache


@cache
def agent_version() -> str:
    """As the distribution says; a checkout that is not installed has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("inferry")
    except PackageNotFoundError:
        return "0"
