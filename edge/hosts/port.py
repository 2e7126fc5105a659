"""What the agent needs of a place that runs modules.

A module has up to two instances: the one that answers ("live") and one that is tried beside it
("next"). Hosts know instances by ``InstanceId`` and remember them over a restart of the agent: what
ran before goes on, and is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from edge.messages.desired import Limits

Slot = Literal["live", "next"]
State = Literal["running", "exited"]
CAPTURE_FOLDER = "/run/inferry-capture"
"""Where a container sees its ``capture_folder``."""
SECRETS_FOLDER = "/run/secrets"
"""Where a container sees its ``secrets_folder``."""
SECRETS_VARIABLE = "INFERRY_SECRETS"
"""In the environment of who has secrets: their folder."""


@dataclass(frozen=True, slots=True)
class InstanceId:
    """Which instance."""

    module: str
    slot: Slot

    def __str__(self) -> str:
        return f"{self.module}/{self.slot}"


@dataclass(frozen=True, slots=True)
class Instance:
    """What is to run. ``digest``: of the image's manifest, which must be prepared. ``bundle``: a
    folder on this device that is served in place of the image's own bundle (a model-only update);
    it holds a link ``current`` to a bundle beside it, which is read again at ``reload``.
    ``port``: where it answers on ``address``; 0: any free port of 127.0.0.1, told by ``list``.
    ``run_folder``: has the agent's socket for this module; a container sees it as /run/inferry, and
    both have INFERRY_AGENT_SOCKET in their environment. ``capture_folder``: the instance may write
    there; a container sees it as CAPTURE_FOLDER."""

    id: InstanceId
    digest: str
    port: int = 0
    address: str = "127.0.0.1"
    env: Mapping[str, str] = field(default_factory=dict)
    args: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    bundle: Path | None = None
    run_folder: Path | None = None
    capture_folder: Path | None = None
    secrets_folder: Path | None = None
    """Files that it may read; INFERRY_SECRETS names the folder."""


@dataclass(frozen=True, slots=True)
class Observed:
    """An instance as it is. ``port``: where it answers (on ``address``), None when it has ended or
    does not say yet. ``is_out_of_memory``: it was killed for taking too much."""

    id: InstanceId
    digest: str
    state: State
    address: str = "127.0.0.1"
    port: int | None = None
    exit_code: int | None = None
    is_out_of_memory: bool = False
    started_at_s: float | None = None
    """Seconds since 1970, as the device's clock went."""


class ModuleHost(Protocol):
    """Every method raises HostError when the host fails (``prepare`` and ``start`` also what the
    stock raises, EdgeError both); each is idempotent."""

    kind: str
    """"docker" or "process"."""

    def prepare(self, digest: str, is_cancelled: Callable[[], bool]) -> None:
        """Make the image, whole in the device's store, ready to start: without a network."""
        ...

    def start(self, instance: Instance) -> None:
        """Start it. An instance of this id that runs with the same settings goes on; with others,
        or one that has ended, it is replaced."""
        ...

    def stop(self, id: InstanceId, grace_s: float = 10.0) -> None:
        """Ask it to end, kill it after ``grace_s``, forget it. Nothing when it is not there."""
        ...

    def reload(self, id: InstanceId) -> None:
        """Have it read its bundle again (SIGHUP), without a pause in its answers."""
        ...

    def list(self) -> Sequence[Observed]:
        """All instances, also those that an earlier agent started."""
        ...

    def logs(self, id: InstanceId, lines: int) -> str:
        """The last lines that it printed."""
        ...

    def discard(self, keep: Sequence[str]) -> None:
        """Free what was prepared for images other than these digests and those that run."""
        ...
