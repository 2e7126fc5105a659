"""A deployment's secrets as files that its replicas may read, and nobody else.

<workspace>/deployments/secrets/<deployment>/<revision>/<name>

Each revision has a folder of its own: another one's start takes nothing from it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from edge.errors import HostError
from edge.hosts.run_folder import write_whole

User = tuple[int, int]


class SecretFiles:
    """Below ``folder``. ``reader``: whom replicas run as, where the controller is root; None: whom
    it runs as itself."""

    def __init__(self, folder: Path, reader: User | None) -> None:
        self._folder, self._reader = folder, reader if os.geteuid() == 0 else None

    def written(
        self, deployment: str, revision: int, wanted: Iterable[str], secrets: Mapping[str, bytes]
    ) -> Path:
        """The revision's folder, with just the ``wanted`` ones, as they are now. Raises
        HostError."""
        own, names = self._folder / deployment, sorted(wanted)
        found = own / str(revision)
        try:
            # Passed through by the reader, listed by nobody.
            for folder in (self._folder, own):
                folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            found.mkdir(mode=0o700, exist_ok=True)
            for name in names:
                # One that is the same is left alone: a replica may be reading it just now, and a
                # new file is not the reader's for a moment.
                if not self._is_there(found / name, secrets[name]):
                    write_whole(found / name, secrets[name], mode=0o400)
            for left in found.iterdir():
                if left.name not in names:
                    left.unlink(missing_ok=True)
            if self._reader is not None:
                for path in (*(found / name for name in names), found):
                    os.chown(path, *self._reader)
        except KeyError as error:
            raise HostError(f"{deployment} has no secret {error}") from None
        except OSError as error:
            raise HostError(f"secrets cannot be written: {error.strerror}") from None
        return found

    def _is_there(self, path: Path, secret: bytes) -> bool:
        try:
            is_readers = self._reader is None or path.stat().st_uid == self._reader[0]
            return is_readers and path.read_bytes() == secret
        except OSError:
            return False

    def remove(self, deployment: str) -> None:
        """Idempotent."""
        shutil.rmtree(self._folder / deployment, ignore_errors=True)
