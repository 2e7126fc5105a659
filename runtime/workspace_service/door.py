"""Who asks: the token of a request, looked up in the workspace that is asked."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.registry_service.door import token_of
from runtime.workspace_service.roles import Who
from runtime.workspace_service.site import Site


def identify(site: Site, workspace: str, headers: Mapping[str, str]) -> Who | None:
    """Whom the request's token names; None is nobody. A token is one workspace's; what is about the
    service (``workspace`` is empty) takes one of any, and finds it in the first that knows it."""
    secret = token_of(headers.get("authorization"))
    names = (workspace,) if workspace else site.names
    for name in names:
        distribution = site.distributions.get(name)
        if distribution is None:
            # Nobody learns without a token which workspaces there are.
            continue
        if (found := distribution.tokens.bearer(secret)) is not None:
            return Who(found.name, found.role)
    if workspace and workspace not in site.distributions:
        return identify(site, "", headers)
    return None
