"""Who may speak: certificates of devices, configuration of the broker.

    authority = Authority.load_or_create(workspace / "edge" / "ca")
    write_files(folder, device_files(authority, "press-7", ...))     for the device
    write_files(folder, broker_files(authority, ["hub.example"]))    for mosquitto

The certificate's common name is the device's name, and the broker's rules compare it with the
topic: a device can say and hear what concerns itself, and nothing else.
"""

from edge.enrolment.authority import Authority, Identity
from edge.enrolment.broker_files import broker_files
from edge.enrolment.device_files import DeviceSettings, device_files
from edge.enrolment.files import write_files

__all__ = [
    "Authority",
    "DeviceSettings",
    "Identity",
    "broker_files",
    "device_files",
    "write_files",
]
