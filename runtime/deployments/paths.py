"""Where a controller keeps what, below the workspace. The only place that makes these paths.

<workspace>/deployments/
    controller.lock          of the one controller
    controller.shown         what it holds too, for who looks whether there is one
    bundles/                 unpacked images
    processes/<target>/      process replicas of a local or fpga target (edge/hosts/processes.py)
        run/<replica>.live/      what one printed, and how it ended (edge/hosts/run_folder.py)
    secrets/<deployment>/    see secret_files.py
    balance/                 of HAProxy, where the controller is not root
"""

from __future__ import annotations

from pathlib import Path


def processes_folder(root: Path, target: str) -> Path:
    """Of the process host of a target. ``root``: of the workspace."""
    return root / "deployments" / "processes" / target


def run_folder(root: Path, target: str, replica: str) -> Path:
    """Of one replica, whose id must have been checked."""
    return processes_folder(root, target) / "run" / f"{replica}.live"
