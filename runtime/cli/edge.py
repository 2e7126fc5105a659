"""``inferry edge ...``: devices, what they run, and what they say.

edge_setup.py       hub, enroll, broker-config, agent
edge_devices.py     devices
edge_deploy.py      deploy, deployments
edge_rollout.py     rollout
edge_commands.py    ping, logs, restart, check, support-bundle, flush
edge_telemetry.py   telemetry
"""

from __future__ import annotations

import click

from runtime.cli.edge_commands import check, flush, logs, ping, restart, support_bundle
from runtime.cli.edge_deploy import deploy, deployments
from runtime.cli.edge_devices import devices
from runtime.cli.edge_rollout import rollout
from runtime.cli.edge_setup import agent, broker_config, enroll, hub
from runtime.cli.edge_telemetry import telemetry


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def edge() -> None:
    """Run modules on devices, and hear from them.

    Start with: inferry edge hub, inferry edge enroll, inferry edge deploy."""


for _command in (
    hub,
    enroll,
    broker_config,
    agent,
    devices,
    deploy,
    deployments,
    rollout,
    telemetry,
    ping,
    logs,
    restart,
    check,
    support_bundle,
    flush,
):
    edge.add_command(_command)
