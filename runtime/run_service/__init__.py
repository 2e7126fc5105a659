"""Runs and pipelines that a service carries out for its clients, in threads of its own.

    site = Site(roots, work=RunService)

jobs.py         threads, and how many
sent.py         what a client has sent, checked
service.py      the port runtime/workspace_service/work.py, in reality
pipelines.py    pipelines: whose files stay with their run
"""

from runtime.run_service.service import RunService

__all__ = ["RunService"]
