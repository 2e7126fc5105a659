"""The paths of the portal: all of them, and how one is made. Pure.

``{name}`` is a part of a path, ``{name:path}`` may have slashes. Those of WORKSPACE are below
``/ui/w/{workspace}``, those of SERVICE below ``/ui``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

UI = "/ui"
SERVICE: Mapping[str, str] = {
    "home": "/",
    "sign-in": "/sign-in",
    "sign-in.do": "/sign-in",
    "sign-out": "/sign-out",
    "workspaces": "/workspaces",
}
WORKSPACE: Mapping[str, str] = {
    "overview": "",
    "experiments": "/experiments",
    "experiment": "/experiments/{id}",
    "compare": "/compare",
    "run": "/runs/{id}",
    "run.live": "/runs/{id}/live",
    "run.log": "/runs/{id}/log",
    "run.file": "/runs/{id}/files/{path:path}",
    "run.image": "/runs/{id}/images/{path:path}",
    "run.preview": "/runs/{id}/preview/{path:path}",
    "run.environment": "/runs/{id}/environment",
    "run.tag": "/runs/{id}/tags",
    "run.cancel": "/runs/{id}/cancel",
    "run.rerun": "/runs/{id}/rerun",
    "run.delete": "/runs/{id}/delete",
    "run.restore": "/runs/{id}/restore",
    "pipelines": "/pipelines",
    "pipeline": "/pipelines/{id}",
    "pipeline.live": "/pipelines/{id}/live",
    "compute": "/compute",
    "devices": "/devices",
    "device": "/devices/{name}",
    "rollouts": "/rollouts",
    "rollout": "/rollouts/{id}",
    "rollout.live": "/rollouts/{id}/live",
    "models": "/models",
    "model": "/models/{name}",
    "version": "/models/{name}/{version}",
    "version.file": "/models/{name}/{version}/files/{path:path}",
    "version.tag": "/models/{name}/{version}/tags",
    "version.describe": "/models/{name}/{version}/description",
    "version.alias": "/models/{name}/{version}/aliases",
    "formats": "/formats",
    "formats.set": "/formats/set",
    "images": "/images",
    "image": "/images/{name}/{version}",
    "fpga": "/fpga",
    "fpga.report": "/fpga/{name}/{version}",
    "deployments": "/deployments",
    "deployments.live": "/deployments-live",
    "deployment": "/deployments/{name}",
    "deployment.live": "/deployments/{name}/live",
    "deployment.try": "/deployments/{name}/try",
    "deployment.score": "/deployments/{name}/score",
    "deployment.rollback": "/deployments/{name}/rollback",
    "activities": "/activities",
    "activities.live": "/activities-live",
    "activity": "/activities/{id}",
    "activity.live": "/activities/{id}/live",
    "activity.cancel": "/activities/{id}/cancel",
    "activity.resume": "/activities/{id}/resume",
    "hooks": "/activity-hooks",
    "hooks.add": "/activity-hooks/add",
    "hooks.delete": "/activity-hooks/delete",
    "lineage": "/lineage/{kind}/{ref:path}",
    "audit": "/audit",
    "tokens": "/tokens",
    "tokens.create": "/tokens/create",
    "tokens.revoke": "/tokens/revoke",
}
_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


def template_of(name: str) -> str:
    """The whole path of a place, with its arguments in braces."""
    if name in SERVICE:
        return f"{UI}{SERVICE[name]}"
    return f"{UI}/w/{{workspace}}{WORKSPACE[name]}"


def pattern_of(name: str) -> re.Pattern[str]:
    """Matches the paths of a place, decoded."""
    template, parts, end = template_of(name), [], 0
    for match in _PARAMETER.finditer(template):
        parts.append(re.escape(template[end : match.start()]))
        parts.append(f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})")
        end = match.end()
    return re.compile("".join(parts) + re.escape(template[end:]), re.DOTALL)


def url(name: str, /, **arguments: object) -> str:
    """The address of a place, its arguments quoted."""

    def value(match: re.Match[str]) -> str:
        return quote(str(arguments[match[1]]), safe="/" if match[2] else "")

    return _PARAMETER.sub(value, template_of(name))
