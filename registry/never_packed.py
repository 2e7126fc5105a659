"""What no image gets, whatever an ignore file says: secrets, version control, caches, virtual
environments. Names are compared without regard to case.

A name is on the list when a tool is known to keep secrets there, or when it is made again by
whoever needs it. ``key_file`` catches private keys under any other name.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

SECRETS = frozenset(
    {".env", ".envrc", ".netrc", "_netrc", ".pgpass", ".my.cnf", ".htpasswd", ".vault-token"}
    | {".pypirc", ".npmrc", ".yarnrc.yml", ".git-credentials", ".gitconfig", ".boto", ".s3cfg"}
    | {".aws", ".azure", ".kube", ".docker", ".dockercfg", ".ssh", ".gnupg", ".databrickscfg"}
    | {"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk"}
    | {"application_default_credentials.json", ".terraform", ".bash_history", ".python_history"}
)
JUNK = frozenset(
    {".git", ".hg", ".svn", ".inferry", ".ds_store", "__pycache__", ".venv", "node_modules"}
    | {".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"}
    | {".tox", ".nox"}
)
NAMES = SECRETS | JUNK
ENDINGS = (
    *(".pyc", ".pyo", ".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".ppk", ".kdbx"),
    *(".tfstate", ".tfstate.backup"),
)
PATHS = (".config/gcloud", ".config/gh", ".config/pip", ".config/uv")
"""Ends of paths."""
EXAMPLES = frozenset({".env.example", ".env.sample", ".env.template", ".env.dist"})
"""What ``.env.*`` is without secrets."""
HEAD_BYTES = 4096
"""Of a file, in which ``is_private_key`` looks."""
_KEY = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:(?:Bag|Key) Attributes\b.*?\n)?"
    rb"(?:-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d)",
    re.DOTALL,
)


def is_never_packed(path: str) -> bool:
    """Whether the rule leaves out the file or folder at ``path``, by its name."""
    lower = path.lower()
    name = lower.rsplit("/", 1)[-1]
    if name in NAMES or name.endswith(ENDINGS):
        return True
    if name.startswith(".env.") and name not in EXAMPLES:
        return True
    return f"/{lower}".endswith(tuple(f"/{end}" for end in PATHS))


def is_never_entered(folder: Path) -> bool:
    """Whether the rule leaves out the folder, by what lies in it: a virtual environment of any
    name, or an Inferry workspace."""
    if os.path.lexists(folder / "pyvenv.cfg"):
        return True
    return os.path.lexists(folder / "workspace.db") and os.path.lexists(folder / "store/oci-layout")


def is_private_key(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a private key."""
    return _KEY.match(head) is not None
