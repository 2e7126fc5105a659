"""``inferry deployment ...``: deployments after ``inferry deploy`` (deploy.py).

deployment_show.py      list, show, ledger
deployment_change.py    update, scale, rollback, traffic, delete, revision drop
deployment_logs.py      logs
deployment_keys.py      keys, secret set, secret remove
"""

from __future__ import annotations

import click

from runtime.cli.deployment_change import delete, revision, rollback, scale, traffic, update
from runtime.cli.deployment_keys import keys, secret
from runtime.cli.deployment_logs import logs
from runtime.cli.deployment_show import ledger, list_deployments, show


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def deployment() -> None:
    """See deployments, change them, go back, and take them down.

    A deployment is made with inferry deploy; inferry up keeps it as it was declared."""


for _command in (
    list_deployments,
    show,
    logs,
    update,
    scale,
    rollback,
    traffic,
    delete,
    ledger,
    keys,
    secret,
    revision,
):
    deployment.add_command(_command)
