"""``python fpga/serving/boot.py``: ``python -m fpga.serving`` for a Python that has numpy and pynq,
but not this package. It takes the package from where this file lies, and nothing beside it:
PYTHONPATH would bring the server's numpy along."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def _adopt() -> None:
    """Make ``fpga`` the package around this file."""
    spec = importlib.util.spec_from_file_location(
        "fpga", PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fpga"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    del sys.path[0]  # this folder, whose modules are no top-level ones
    _adopt()
    from fpga.serving.__main__ import main

    sys.exit(main())
