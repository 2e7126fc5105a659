"""The workspace's images that devices run: found by name, and held so that nobody deletes them.

    module_image = find(workspace, "digits:3")
    sync(workspace, database)          # after each change, and now and then by the hub

What a deployment says, what a rollout brings, and what it could bring back, is held in the name of
"edge.DEPLOYMENT".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import BadValueError

if TYPE_CHECKING:
    import sqlite3

    from edge.hub.database import Database
    from edge.messages.desired import Module
    from registry import Workspace

PREFIX = "edge."


@dataclass(frozen=True, slots=True)
class FoundImage:
    """``reference``: with its version. ``kind``: docker or fpga."""

    reference: str
    digest: str
    kind: str = "docker"


def find(workspace: Workspace, reference: str) -> FoundImage:
    """Raises NotFoundError of the registry, BadValueError for one that was not made."""
    image = workspace.images.get(reference)
    if image.digest is None or image.state != "succeeded":
        raise BadValueError(
            f"image {image.reference} is {image.state}; see inferry image log {image.reference}"
        )
    return FoundImage(image.reference, image.digest, image.details.kind)


def check_kinds(workspace: Workspace, modules: Iterable[Module]) -> None:
    """That nothing is asked of modules that their images cannot do, as far as the workspace has
    them. Raises BadValueError; a device would refuse it too."""
    boards = {image.reference for image in workspace.images.list() if image.details.kind == "fpga"}
    for module in modules:
        for image in images_of(module):
            why = _why_no_board(module) if image in boards else None
            if why is not None:
                raise BadValueError(f"module {module.name}: {image} is for an FPGA: {why}")


def images_of(module: Module) -> list[str]:
    """Of all devices that may run it."""
    return [module.image, *(each.image for each in module.variants)]


def _why_no_board(module: Module) -> str | None:
    if module.update.strategy == "beside":
        return (
            "two versions cannot have one board beside each other; leave the strategy out, or say"
            " replace"
        )
    if module.update.shadow_s > 0:
        return "two versions cannot have one board for a shadow run; leave shadow_s out"
    if module.host == "docker":
        return "it runs as a process; leave the host out"
    return None


def hold(workspace: Workspace, layer: str, references: Iterable[str]) -> None:
    """From now on, until ``sync`` finds that the deployment does not need them."""
    for reference in references:
        workspace.images.hold(reference, PREFIX + layer)


def sync(workspace: Workspace, database: Database) -> None:
    """Hold what deployments and rollouts need, and let go of the rest."""
    held = {
        (image.reference, user)
        for image in workspace.images.list()
        for user in image.users
        if user.startswith(PREFIX)
    }
    known = {image.reference for image in workspace.images.list()}
    with database.reader() as connection:
        wanted = {pair for pair in needed(connection) if pair[0] in known}
    for reference, user in sorted(wanted - held):
        workspace.images.hold(reference, user)
    for reference, user in sorted(held - wanted):
        workspace.images.release(reference, user)


def needed(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """(image, who needs it), of the deployments and of each module's last rollout."""
    from edge.hub import deployment_rows, rollout_rows

    found: set[tuple[str, str]] = set()

    def need(layer: str, module: Module | None) -> None:
        if module is not None:
            found.update((image, PREFIX + layer) for image in images_of(module))

    for stored in deployment_rows.layers(connection):
        for module in stored.layer.modules:
            need(stored.layer.name, module)
    last = {
        (rollout.layer, rollout.module): rollout
        for rollout in rollout_rows.all_rollouts(connection)
    }
    layers = {stored.layer.name for stored in deployment_rows.layers(connection)}
    for rollout in last.values():
        if rollout.layer in layers:
            need(rollout.layer, rollout.old)
            need(rollout.layer, rollout.new)
    covered = {image for image, _ in found}
    for module in rollout_rows.modules_in_use(connection):
        if not covered.issuperset(images_of(module)):
            need("devices", module)
    return found


class ImageKeeper:
    """``sync`` as a chore of the hub: rollouts end there."""

    name = "images"

    def __init__(
        self, workspace: Workspace, database: Database, *, interval_s: float = 10.0
    ) -> None:
        self.interval_s = interval_s
        self._workspace = workspace
        self._database = database

    def run(self, now_ms: int) -> None:
        """As a chore. What the registry refuses is tried again."""
        from edge.errors import HubError
        from registry.errors import RegistryError

        try:
            sync(self._workspace, self._database)
        except RegistryError as error:
            raise HubError(f"images in use could not be held: {error}") from error
