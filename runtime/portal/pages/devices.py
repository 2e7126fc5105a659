"""Devices and rollouts, from the hub's database beside the workspace."""

from __future__ import annotations

import shlex
from typing import Any

from edge.hub.database import Database
from edge.hub.deployments import Deployments
from edge.hub.devices import Device, get, list_devices
from edge.hub.rollout_states import ACTIVE
from edge.hub.rollouts import Rollouts
from registry.errors import NotFoundError
from runtime.edge_hub import FOLDER
from runtime.portal.answers import Answer, Commands, Page, Part
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.place import Place

PAGE = 100


def database_of(ask: Ask) -> Database | None:
    """That of the workspace's hub; None where there never was one."""
    path = ask.workspace.root / FOLDER / "hub.db"
    return Database(path) if path.is_file() else None


def devices(ask: Ask) -> Answer:
    """All that are enrolled."""
    database = database_of(ask)
    found: list[Device] = []
    if database is not None:
        with database.reader() as connection:
            found = list_devices(connection)
    sought = ask.text("q", limit=200).strip().lower()
    matching = [each for each in found if _matches(each, sought)]
    start = ask.number("from", 0, 0, 10**9)
    return Page(
        "devices.html",
        "Devices",
        {
            "devices": matching[start : start + PAGE],
            "count": len(matching),
            "online": sum(each.is_online for each in found),
            "all": len(found),
            "sought": sought,
            "has_hub": database is not None,
            "later": start + PAGE if len(matching) > start + PAGE else None,
            "earlier": max(0, start - PAGE) if start else None,
        },
        section="compute",
        trail=(("Compute", url("compute", workspace=ask.workspace_name)),),
        commands=Commands("inferry edge devices list"),
    )


def device(ask: Ask) -> Answer:
    """One: what it runs, and what it shall."""
    database, name = _database(ask), ask.arguments["name"]
    with database.reader() as connection:
        found = get(connection, name)
    deployments = Deployments(database)
    return Page(
        "device.html",
        name,
        {
            "device": found,
            "wanted": deployments.device(name),
            "history": deployments.history(name, limit=20)[::-1],
        },
        section="compute",
        trail=(
            ("Compute", url("compute", workspace=ask.workspace_name)),
            ("Devices", url("devices", workspace=ask.workspace_name)),
        ),
        commands=Commands(f"inferry edge devices show {shlex.quote(name)}"),
    )


def rollouts(ask: Ask) -> Answer:
    """All, the newest first."""
    database = database_of(ask)
    found = [] if database is None else Rollouts(database).all()[::-1]
    return Page(
        "rollouts.html",
        "Rollouts",
        {"rollouts": found[:500], "has_hub": database is not None},
        section="compute",
        trail=(("Compute", url("compute", workspace=ask.workspace_name)),),
        commands=Commands("inferry edge rollout list"),
    )


def rollout(ask: Ask) -> Answer:
    """One, batch by batch."""
    values = _rollout(ask)
    return Page(
        "rollout.html",
        f"Rollout {values['rollout'].id}",
        values,
        section="compute",
        trail=(
            ("Compute", url("compute", workspace=ask.workspace_name)),
            ("Rollouts", url("rollouts", workspace=ask.workspace_name)),
        ),
        commands=Commands(f"inferry edge rollout show {values['rollout'].id}"),
    )


def rollout_live(ask: Ask) -> Answer:
    """As it is now."""
    values = _rollout(ask)
    return Part("rollout_live.html", values, is_over=values["rollout"].state not in ACTIVE)


def _rollout(ask: Ask) -> dict[str, Any]:
    text = ask.arguments["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise NotFoundError("there is no such rollout")
    of_hub = Rollouts(_database(ask))
    return {
        "rollout": of_hub.show(int(text)),
        "members": of_hub.members(int(text))[:200],
        "workspace": ask.workspace_name,
        "is_active": of_hub.show(int(text)).state in ACTIVE,
    }


def _database(ask: Ask) -> Database:
    found = database_of(ask)
    if found is None:
        raise NotFoundError("this workspace has no hub; start one with: inferry edge hub")
    return found


def _matches(device: Device, sought: str) -> bool:
    """By its name or a tag as key=value."""
    return sought in device.name.lower() or any(
        sought in f"{key}={value}".lower() for key, value in device.tags.items()
    )


PLACES = (
    Place("GET", "devices", "reader", devices),
    Place("GET", "device", "reader", device),
    Place("GET", "rollouts", "reader", rollouts),
    Place("GET", "rollout", "reader", rollout),
    Place("GET", "rollout.live", "reader", rollout_live, is_live=True),
)
