"""Whether a running instance has the settings that are wanted: compared by a hash of all of them,
which hosts keep beside it. Pure.
"""

from __future__ import annotations

import hashlib
import json

import msgspec

from edge.hosts.port import Instance


def fingerprint(instance: Instance) -> str:
    """Changes when anything of the instance does, in whatever order its environment is given."""
    settings: dict[str, object] = {
        "digest": instance.digest,
        "port": instance.port,
        "address": instance.address,
        "env": dict(instance.env),
        "args": list(instance.args),
        "limits": msgspec.to_builtins(instance.limits),
        "bundle": None if instance.bundle is None else str(instance.bundle),
        "run_folder": None if instance.run_folder is None else str(instance.run_folder),
        "capture_folder": str(instance.capture_folder or ""),
    }
    if instance.secrets_folder is not None:  # others keep the hash that they run with
        settings["secrets_folder"] = str(instance.secrets_folder)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
