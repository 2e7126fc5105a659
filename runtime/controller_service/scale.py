"""How many replicas a deployment should have, for whoever scales by that, such as KEDA's
metrics-api scaler. Pure.

Two ways: follow ``wanted``, which is Inferry's decision, or divide ``value`` by ``target``.
"""

from __future__ import annotations

from runtime.controller_service.view import View

Value = str | int | float | None


def scale_document(view: View) -> dict[str, Value]:
    """As it is sent; what is not known is null, which KEDA takes for an error and not for 0."""
    known = view.in_flight if view.in_flight is not None else view.unit.in_flight
    held = view.held or 0
    return {
        "v": 1,
        "deployment": view.name,
        "state": view.state,
        "wanted": view.scale,
        "ready": sum(view.ready.values()),
        "min": view.least,
        "max": view.most,
        "in_flight": known,
        "held": view.held,
        "queue_s": view.unit.queue_s,
        "value": None if known is None else known + held,
        "target": view.target_in_flight,
    }
