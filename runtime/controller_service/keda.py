"""KEDA's protocol for external scalers, over gRPC: another deployment, of Kubernetes, is scaled by
what Inferry knows of one of its own.

    triggers:
      - type: external-push        # or external
        metadata: {scalerAddress: "host:9465", deployment: web, by: wanted}

``by``: ``wanted`` (Inferry's decision; so it is when nothing is said) or ``value`` (requests, to be
divided by the target of each replica). What is not known is UNAVAILABLE and not 0.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from runtime.controller_service.keda_messages import SERVICE, Messages, messages
from runtime.errors import BadValueError

THREADS = 16
STREAMS = 8
"""Each has a thread; so some are left for those who only ask."""
LOOK_S = 1.0
MAX_REQUEST_BYTES = 64 * 1024
logger = logging.getLogger("inferry.deployments")
Document = Mapping[str, str | int | float | None]
ScaleOf = Callable[[str], Document | None]
"""scale.scale_document of a deployment; None where there is none."""


class KedaServer:
    """Listens while it is entered. Raises BadValueError where it cannot, or grpc is missing."""

    def __init__(self, host: str, port: int, scale_of: ScaleOf, *, look_s: float = LOOK_S) -> None:
        self._host, self._asked_port, self._scale_of = host, port, scale_of
        self._look_s = look_s
        self._server: Any = None
        self._stopping = threading.Event()
        self._streams = threading.BoundedSemaphore(STREAMS)
        self.port = port

    def __repr__(self) -> str:
        return f"KedaServer({self._host}, {self.port})"

    def __enter__(self) -> Self:
        try:
            import grpc

            kinds = messages()
        except ImportError as error:
            raise BadValueError(
                "KEDA's protocol needs grpcio and protobuf: pip install grpcio protobuf"
            ) from error
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="keda")
        server = grpc.server(
            self._pool,
            maximum_concurrent_rpcs=2 * THREADS,
            options=[
                ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
                ("grpc.so_reuseport", 0),
            ],
        )
        server.add_generic_rpc_handlers((self._handlers(grpc, kinds),))
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            self.port = server.add_insecure_port(f"{host}:{self._asked_port}")
        except RuntimeError as error:
            self.port = 0
            failed: Exception | None = error
        else:
            failed = None
        if not self.port:
            server.stop(None)
            raise BadValueError(
                f"nothing can listen for KEDA on {self._host}, port {self._asked_port}:"
                " it is taken, or not of this machine"
            ) from failed
        server.start()
        self._server = server
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._server.stop(1.0).wait(5.0)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _handlers(self, grpc: Any, kinds: Messages) -> Any:
        def unary(answer: Any, request: Any, response: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(
                answer,
                request_deserializer=request.FromString,
                response_serializer=response.SerializeToString,
            )

        def is_active(ref: Any, context: Any) -> Any:
            return kinds.is_active(result=_is_active(self._document(grpc, ref, context)))

        def spec(ref: Any, context: Any) -> Any:
            document = self._document(grpc, ref, context)
            _, target = self._metric(grpc, document, ref, context)
            found = kinds.spec(
                metricName=_name(document), targetSize=round(target), targetSizeFloat=target
            )
            return kinds.specs(metricSpecs=[found])

        def metrics(request: Any, context: Any) -> Any:
            document = self._document(grpc, request.scaledObjectRef, context)
            value, _ = self._metric(grpc, document, request.scaledObjectRef, context)
            found = kinds.value(
                metricName=request.metricName or _name(document),
                metricValue=round(value),
                metricValueFloat=value,
            )
            return kinds.values(metricValues=[found])

        def stream(ref: Any, context: Any) -> Iterator[Any]:
            for each in self._watched(grpc, ref, context):
                yield kinds.is_active(result=each)

        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "IsActive": unary(is_active, kinds.ref, kinds.is_active),
                "GetMetricSpec": unary(spec, kinds.ref, kinds.specs),
                "GetMetrics": unary(metrics, kinds.request, kinds.values),
                "StreamIsActive": grpc.unary_stream_rpc_method_handler(
                    stream,
                    request_deserializer=kinds.ref.FromString,
                    response_serializer=kinds.is_active.SerializeToString,
                ),
            },
        )

    def _watched(self, grpc: Any, ref: Any, context: Any) -> Iterator[bool]:
        """At once, and whenever it changes."""
        if not self._streams.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams")
        try:
            said: bool | None = None
            while context.is_active() and not self._stopping.is_set():
                now = _is_active(self._document(grpc, ref, context))
                if now != said:
                    said = now
                    yield now
                self._stopping.wait(self._look_s)
        finally:
            self._streams.release()

    def _document(self, grpc: Any, ref: Any, context: Any) -> Document:
        """Ends the call where there is none."""
        name = ref.scalerMetadata.get("deployment", "")
        if not name:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "the trigger's metadata names no deployment"
            )
        try:
            found = self._scale_of(name)
        except Exception as error:
            logger.warning("KEDA asked for %s: %s", ascii(name)[:60], error)
            context.abort(grpc.StatusCode.UNAVAILABLE, "the workspace cannot be read")
        if found is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such deployment")
        assert found is not None  # abort raises
        return found

    def _metric(self, grpc: Any, document: Document, ref: Any, context: Any) -> tuple[float, float]:
        """Value and target."""
        by = ref.scalerMetadata.get("by", "wanted")
        if by not in ("wanted", "value"):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "by is wanted or value")
        value, target = document[by], document["target"] if by == "value" else 1.0
        if not isinstance(value, int | float) or not isinstance(target, int | float):
            context.abort(grpc.StatusCode.UNAVAILABLE, "nobody has looked at it yet")
        assert isinstance(value, int | float)
        assert isinstance(target, int | float)
        return float(value), float(target)


def _is_active(document: Document) -> bool:
    """Something is to run: replicas are wanted, or requests wait."""
    return any(isinstance(n := document[key], int | float) and n > 0 for key in ("wanted", "held"))


def _name(document: Document) -> str:
    return f"inferry-{document['deployment']}"
