"""Which host key a server is known by. Nothing of the user is said to a server before it showed the
key that it should have."""

from __future__ import annotations

import asyncssh

from runtime.datastores.errors import HostKeyError, UnreachableError
from runtime.datastores.reach import PublicOnly
from runtime.datastores.remote import wait_for
from runtime.datastores.ssh.login import addresses
from runtime.datastores.ssh.meaning import changed_key, connecting

CONNECT_S = 15.0
KINDS = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)


def pinned(
    host: str,
    port: int,
    wanted: str | None,
    known_hosts: str | None,
    *,
    public: PublicOnly | None = None,
) -> str:
    """The host key to trust, ``type base64``: ``wanted`` itself, or the one that the server shows
    now, where its fingerprint is ``wanted`` or the file ``known_hosts`` (OpenSSH's) has it.
    ``public``: where the host may be, None: anywhere. Raises HostKeyError, UnreachableError,
    InsideError."""
    if wanted and not wanted.startswith("SHA256:"):
        public_key(wanted)
        return wanted
    shown = shown_keys(host, port, public)
    if wanted is None:
        known, revoked = _known(known_hosts, host, port) if known_hosts else ([], [])
        shown = [key for key in shown if key not in revoked]
        trusted = [key for key in shown if key in known]
        is_known = bool(known or revoked)
    else:
        trusted = [key for key in shown if fingerprint(key) == wanted]
        is_known = True
    if trusted:
        return trusted[0]
    if is_known:
        raise changed_key(host, fingerprint(shown[0]) if shown else "")
    raise _unknown(host, shown[0])


def shown_keys(host: str, port: int, public: PublicOnly | None = None) -> list[str]:
    """The server's keys, one of each of KINDS that it has; at least one. Raises
    UnreachableError, InsideError."""
    first: Exception | None = None
    for address in addresses(host, port, public):
        found = []
        for kinds in KINDS:
            try:
                found.append(_shown_key(address, port, kinds))
            except Exception as error:  # a server without such a key ends it, or says so
                first = first or error
        if found:
            return found
    assert first is not None
    raise connecting(first, host, port) from first


def _shown_key(host: str, port: int, kinds: tuple[str, ...]) -> str:
    key = wait_for(
        asyncssh.get_server_host_key,
        host,
        port,
        server_host_key_algs=kinds,
        config=None,
        longest_s=CONNECT_S,
    )
    if key is None:
        raise UnreachableError(f"{host}:{port} shows no host key")
    return key_text(key)


def key_text(key: asyncssh.SSHKey) -> str:
    """``type base64``."""
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


def fingerprint(key: str) -> str:
    """``SHA256:...``, as ``ssh-keygen -l`` prints it."""
    return public_key(key).get_fingerprint()


def public_key(text: str) -> asyncssh.SSHKey:
    """Of ``type base64``. Raises HostKeyError."""
    try:
        return asyncssh.import_public_key(text)
    except (asyncssh.KeyImportError, ValueError) as error:
        raise HostKeyError("the setting host_key holds no key that can be read") from error


def _known(path: str, host: str, port: int) -> tuple[list[str], list[str]]:
    """Trusted and revoked keys of the host."""
    try:
        found = asyncssh.match_known_hosts(asyncssh.read_known_hosts(path), host, "", port)
    except FileNotFoundError:
        return [], []
    except (OSError, ValueError) as error:
        raise HostKeyError(
            f"~/.ssh/known_hosts cannot be read ({type(error).__name__}); say the host's key with"
            " --set host_key="
        ) from error
    return [key_text(key) for key in found[0]], [key_text(key) for key in found[2]]


def _unknown(host: str, key: str) -> HostKeyError:
    seen = fingerprint(key)
    return HostKeyError(
        f"the host {host} is not known; it shows the key {seen} ({key.split()[0]}). Compare that"
        " with what its owner says (ssh-keygen -lf on the host prints it), and then attach with"
        f" --set host_key={seen}",
        seen,
    )
