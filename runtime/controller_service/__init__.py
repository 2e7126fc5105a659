"""The controller's own page: what it does in numbers, whether it is well, and how many replicas it
wants, for whoever scales something by that.

    GET /metrics        Prometheus text format
    GET /healthz        200, or 503 and which deployment stands still
    GET /scale/NAME     one deployment as JSON

    with Server("127.0.0.1", 9464, Pages(workspace.deployments, controller.figures)) as server:
        server.port

view.py         a deployment as declared, seen and counted, put together
metrics.py      views as Prometheus families
health.py       what stands still
scale.py        the JSON of /scale/NAME
rollouts.py     how rollouts ended, read from the ledger
keda.py         the same for KEDA, over gRPC (messages in keda_messages.py)
pages.py        which page is asked for
server.py       HTTP
"""
