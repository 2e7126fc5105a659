"""The workspace itself: its settings, and the space that nothing uses."""

from __future__ import annotations

from dataclasses import dataclass

from registry.records import PurgeReport
from registry.settings import FormatPolicy
from runtime.workspace_service.call import Call
from runtime.workspace_service.route import Route


@dataclass(frozen=True, slots=True)
class SettingsRecord:
    """``base``: what images start from that say nothing else. A file of the service's machine is
    not named. ``formats``: which files models may have."""

    base: str
    formats: FormatPolicy


def get_settings(call: Call) -> SettingsRecord:
    """Show what the workspace has decided for all its images."""
    base = call.workspace.settings.base
    shown = "(a file of the service)" if base.startswith(("/", "oci:")) else base
    return SettingsRecord(shown, call.workspace.settings.formats)


def set_base(call: Call, *, base: str) -> None:
    """Change what images start from that say nothing else."""
    from runtime.workspace_service.image_orders import check_base  # 0.1 s

    call.workspace.settings.set_base(check_base(base, allows_engine=True))


def set_formats(call: Call, *, formats: FormatPolicy) -> None:
    """Change which files models may have from now on."""
    call.workspace.settings.set_formats(formats)


def change_formats(
    call: Call, *, pickle: bool | None = None, unknown: bool | None = None
) -> FormatPolicy:
    """Allow or refuse kinds of files, those that are named and no others, and show what is decided
    then."""
    return call.workspace.settings.change_formats(pickle=pickle, unknown=unknown)


def purge(call: Call, *, dry_run: bool = False) -> PurgeReport:
    """Free the space of files that nothing uses any more."""
    return call.workspace.purge(dry_run=dry_run)


ROUTES = (
    Route("GET", "/settings", "settings.get", "reader", get_settings),
    Route("PUT", "/settings/base", "settings.set_base", "owner", set_base),
    Route("PUT", "/settings/formats", "settings.set_formats", "owner", set_formats),
    Route("PATCH", "/settings/formats", "settings.change_formats", "owner", change_formats),
    Route("POST", "/purge", "upkeep.purge", "contributor", purge),
)
