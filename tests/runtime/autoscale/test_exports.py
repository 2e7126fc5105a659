from __future__ import annotations

import subprocess
import sys

import runtime.autoscale as autoscale


def test_what_is_exported_is_there() -> None:
    assert sorted(autoscale.__all__) == autoscale.__all__
    assert all(hasattr(autoscale, name) for name in autoscale.__all__)


def test_the_package_needs_no_extra() -> None:
    extras = ["prometheus_client", "numpy", "onnxruntime", "starlette"]
    code = f"import sys, runtime.autoscale; print([m for m in sys.modules if m in {extras}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
