"""Run by a Python that has grpcio (scripts/pynq made one): a KedaServer, and a client whose stubs
protoc made from the protocol as it is written down here. Prints JSON."""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import grpc

from runtime.controller_service.keda import STREAMS, KedaServer
from runtime.errors import BadValueError

PROTO = """
syntax = "proto3";
package externalscaler;
service ExternalScaler {
  rpc IsActive(ScaledObjectRef) returns (IsActiveResponse) {}
  rpc StreamIsActive(ScaledObjectRef) returns (stream IsActiveResponse) {}
  rpc GetMetricSpec(ScaledObjectRef) returns (GetMetricSpecResponse) {}
  rpc GetMetrics(GetMetricsRequest) returns (GetMetricsResponse) {}
}
message ScaledObjectRef {
  string name = 1; string namespace = 2; map<string, string> scalerMetadata = 3;
}
message IsActiveResponse { bool result = 1; }
message GetMetricSpecResponse { repeated MetricSpec metricSpecs = 1; }
message MetricSpec { string metricName = 1; int64 targetSize = 2; double targetSizeFloat = 3; }
message GetMetricsRequest { ScaledObjectRef scaledObjectRef = 1; string metricName = 2; }
message GetMetricsResponse { repeated MetricValue metricValues = 1; }
message MetricValue { string metricName = 1; int64 metricValue = 2; double metricValueFloat = 3; }
"""
documents: dict[str, dict[str, Any]] = {
    "web": {"deployment": "web", "wanted": 3, "held": 0, "value": 9, "target": 2.5},
    "asleep": {"deployment": "asleep", "wanted": 0, "held": 0, "value": 0, "target": 4.0},
    "new": {"deployment": "new", "wanted": None, "held": None, "value": None, "target": 4.0},
}


def scale_of(name: str) -> dict[str, Any] | None:
    if name == "broken":
        raise OSError("/srv/secret/workspace.db")
    return documents.get(name)


def stubs(folder: Path) -> tuple[Any, Any]:
    protoc = importlib.import_module("grpc_tools.protoc")

    (folder / "scaler.proto").write_text(PROTO)
    words = ["protoc", f"-I{folder}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main([*words, "scaler.proto"]) == 0
    sys.path.insert(0, str(folder))
    return importlib.import_module("scaler_pb2"), importlib.import_module("scaler_pb2_grpc")


def main() -> None:
    found: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        KedaServer("127.0.0.1", 0, scale_of, look_s=0.02) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        kinds, services = stubs(Path(folder))
        stub = services.ExternalScalerStub(channel)

        def ref(**metadata: str) -> Any:
            return kinds.ScaledObjectRef(name="o", namespace="n", scalerMetadata=metadata)

        def code(ask: Any, *words: Any) -> list[str]:
            try:
                ask(*words, timeout=20)
            except grpc.RpcError as error:
                return [error.code().name, error.details()]
            return ["OK", ""]

        def metric(**metadata: str) -> list[Any]:
            (spec,) = stub.GetMetricSpec(ref(**metadata), timeout=20).metricSpecs
            request = kinds.GetMetricsRequest(
                scaledObjectRef=ref(**metadata), metricName=spec.metricName
            )
            (value,) = stub.GetMetrics(request, timeout=20).metricValues
            assert value.metricName == spec.metricName
            return [
                spec.metricName,
                *(spec.targetSize, spec.targetSizeFloat),
                *(value.metricValue, value.metricValueFloat),
            ]

        found["active"] = {
            name: stub.IsActive(ref(deployment=name), timeout=20).result for name in documents
        }
        found["wanted"] = metric(deployment="web")
        found["value"] = metric(deployment="web", by="value")
        found["refused"] = {
            "none": code(stub.IsActive, ref()),
            "unknown": code(stub.GetMetricSpec, ref(deployment="\x1b[2J")),
            "by": code(stub.GetMetricSpec, ref(deployment="web", by="magic")),
            "new": code(stub.GetMetricSpec, ref(deployment="new")),
            "broken": code(stub.IsActive, ref(deployment="broken")),
            "large": code(stub.IsActive, ref(deployment="x" * 100_000)),
        }
        stream = stub.StreamIsActive(ref(deployment="asleep"), timeout=20)
        said = [next(stream).result]
        documents["asleep"]["held"] = 1
        said.append(next(stream).result)
        documents["asleep"]["held"] = 0
        said.append(next(stream).result)
        stream.cancel()
        found["stream"] = said

        # Each stream has a thread; there are only so many, and others are answered meanwhile.
        streams: list[Any] = []
        while len(streams) < STREAMS:
            one = stub.StreamIsActive(ref(deployment="web"), timeout=60)
            try:
                next(one)
                streams.append(one)
            except grpc.RpcError:  # the stream before has not ended yet
                threading.Event().wait(0.05)
        full = stub.StreamIsActive(ref(deployment="web"), timeout=20)
        found["full"] = code(lambda timeout: next(full))
        found["meanwhile"] = stub.IsActive(ref(deployment="web"), timeout=20).result
        try:
            with KedaServer("127.0.0.1", server.port, scale_of):
                found["taken"] = "no"
        except BadValueError as error:
            found["taken"] = str(error).replace(str(server.port), "PORT")
        for each in streams:
            each.cancel()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
