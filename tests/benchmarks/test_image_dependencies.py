"""Reading what other tools say that their images install."""

from __future__ import annotations

from benchmarks.images.dependencies import ours, system_packages

DOCKERFILE = """
RUN apt-get -y update && apt-get install -y --no-install-recommends nginx
RUN apt-get update && apt-get install -q -y --no-install-recommends git bash && true
RUN pip install mlflow==3.17.2
"""


def test_the_debian_packages_of_a_dockerfile_are_found() -> None:
    assert system_packages(DOCKERFILE) == ("nginx", "git", "bash")
    assert system_packages("RUN pip install x") == ()


def test_our_server_needs_its_engine_and_no_tool_of_the_registry() -> None:
    named = {line.split(">")[0] for line in ours().requirements}
    assert {"onnxruntime", "numpy", "starlette", "msgspec"} <= named
    assert not named & {"docker", "cryptography", "onnx", "click"}
