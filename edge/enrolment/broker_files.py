"""What mosquitto is run with: its configuration, its rules, its certificate.

The rules (mosquitto.conf(5), acl_file): %u is the user name, which is the certificate's common
name, which is the device. A pattern needs it as a whole level of the topic (research/edge.md).

After a new crl.pem, SIGHUP keeps the revoked ones from connecting, also by an old TLS session. A
connection that one of them has goes on until the broker is restarted (mosquitto 2.0.11).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from edge.enrolment.authority import HUB, Authority
from edge.enrolment.files import SECRET, File
from edge.errors import EnrolmentError

USER = "mosquitto"
"""Which mosquitto runs as, when root starts it."""
DATA = PurePosixPath("/var/lib/mosquitto")
ACL = f"""\
# Written by inferry. A device says and hears what concerns itself, and nothing else.
pattern write edge/%u/status
pattern write edge/%u/up/#
pattern read edge/%u/down/#

user {HUB}
topic readwrite edge/#
"""


def broker_files(
    authority: Authority,
    names: Sequence[str],
    *,
    folder: PurePosixPath,
    port: int = 8883,
    address: str | None = None,
    data: PurePosixPath = DATA,
) -> dict[str, File]:
    """``names``: by which devices reach the broker. ``folder``: where the files will lie on its
    machine; ``data``: where it keeps what it holds for others."""
    identity = authority.issue_broker(names)
    text = mosquitto_conf(folder, port=port, address=address, data=data)
    return {
        "mosquitto.conf": File(text.encode()),
        "acl": File(ACL.encode()),
        "ca.pem": File(authority.pem),
        "crl.pem": File(authority.revocations),
        "broker.pem": File(identity.certificate),
        # mosquitto reads it after it has given up root's rights, and again at each SIGHUP.
        "broker.key": File(identity.key, SECRET, owner=USER),
    }


def mosquitto_conf(
    folder: PurePosixPath,
    *,
    port: int,
    address: str | None,
    data: PurePosixPath,
) -> str:
    """For mosquitto 2.0 and later. What must not be lost is acknowledged by the hub, end to end;
    the broker's own persistence only saves devices the trouble to send it again."""
    for path in (folder, data):
        if any(c.isspace() for c in str(path)):
            raise EnrolmentError(f"mosquitto takes no path with spaces: '{path}'")
    listener = f"listener {port}" + ("" if address is None else f" {address}")
    return f"""\
# Written by inferry. Run: mosquitto -c {folder}/mosquitto.conf
# Its user ({USER}, when root starts it) must be able to read broker.key and to write into
# {data}. After a new crl.pem or acl, send it SIGHUP: who is revoked cannot
# connect any more. A restart also ends the connections that are there.
per_listener_settings false
allow_anonymous false
acl_file {folder}/acl

{listener}
cafile {folder}/ca.pem
certfile {folder}/broker.pem
keyfile {folder}/broker.key
crlfile {folder}/crl.pem
require_certificate true
use_identity_as_username true
# Or a device could end another's connection, and take its session, by giving its name.
use_username_as_clientid true
tls_version tlsv1.2
max_keepalive 65535
max_packet_size 1048576

# What is for a device that is away: bounded, and not for ever.
persistence true
persistence_location {data}/
autosave_interval 60
persistent_client_expiration 14d
max_queued_messages 1000
max_queued_bytes 4194304
max_inflight_messages 20

log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages false
"""
