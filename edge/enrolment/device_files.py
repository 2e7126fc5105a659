"""What a device is given: its configuration and its identity.

agent.toml
identity/
  device.pem, device.key   who it is to the broker
  ca.pem                   whom it believes to be the broker
  signing.pub              whose images it runs
  registry-token           for the workspace's registry
  registry-ca.pem          whom it believes to be the registry; if given
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from edge.enrolment.authority import Authority
from edge.enrolment.files import SECRET, File
from edge.errors import EnrolmentError


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """``signing_key``: the workspace's public one, PEM. ``registry_ca``: PEM, when the registry's
    certificate is of no public authority. ``state``: where the agent keeps everything."""

    broker_host: str
    signing_key: bytes
    broker_port: int = 8883
    server_name: str | None = None
    keepalive_s: int = 60
    registry_url: str | None = None
    registry_token: str | None = None
    registry_ca: bytes | None = None
    state: str | None = None


def device_files(authority: Authority, device: str, settings: DeviceSettings) -> dict[str, File]:
    """A new certificate each time. Raises InvalidSpecError, EnrolmentError."""
    text = agent_toml(device, settings)
    identity = authority.issue_device(device)
    files = {
        "agent.toml": File(text.encode()),
        "identity/device.pem": File(identity.certificate),
        "identity/device.key": File(identity.key, SECRET),
        "identity/ca.pem": File(authority.pem),
        "identity/signing.pub": File(settings.signing_key),
    }
    if settings.registry_token is not None:
        files["identity/registry-token"] = File(settings.registry_token.encode(), SECRET)
    if settings.registry_ca is not None:
        files["identity/registry-ca.pem"] = File(settings.registry_ca)
    return files


def agent_toml(device: str, settings: DeviceSettings) -> str:
    """As edge/agent/config.py reads it. Raises EnrolmentError."""
    lines = [
        "# Written by inferry edge enroll. All keys: docs/guides/edge.md",
        f"device = {_text(device)}",
    ]
    if settings.state is not None:
        lines.append(f"state = {_text(settings.state)}")
    lines += [
        "",
        "[broker]",
        f"host = {_text(settings.broker_host)}",
        f"port = {settings.broker_port}",
        f"keepalive_s = {settings.keepalive_s}",
    ]
    if settings.server_name is not None:
        lines.append(f"server_name = {_text(settings.server_name)}")
    if settings.registry_url is not None:
        lines += ["", "[registry]", f"url = {_text(settings.registry_url)}"]
        if settings.registry_ca is not None:
            lines.append('ca = "identity/registry-ca.pem"')
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """A TOML basic string. JSON's escapes are TOML's too, but for those of characters beyond the
    first 65,536, which stay as they are."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise EnrolmentError(f"{ascii(value)[:80]} is no UTF-8 text") from error
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
