"""The tokens that this user has, by URL: ``inferry login`` puts them into a file of mode 0600.

    ~/.config/inferry/tokens.json    {"https://host:5000/team": "ify_..."}

``$INFERRY_TOKEN`` goes before it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from runtime.errors import BadValueError
from runtime.remote.place import Place

TOKEN = "INFERRY_TOKEN"


def config_folder(environment: Mapping[str, str]) -> Path:
    """Where this user's settings lie."""
    home = environment.get("HOME") or str(Path.home())
    return Path(environment.get("XDG_CONFIG_HOME") or Path(home, ".config")) / "inferry"


class Logins:
    """The file in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "tokens.json"

    @classmethod
    def of_user(cls, environment: Mapping[str, str]) -> Logins:
        """Those of who runs this."""
        return cls(config_folder(environment))

    def get(self, place: Place) -> str | None:
        """The token for this workspace, else that for the service. Raises BadValueError for a file
        that cannot be read."""
        known = self._read()
        return known.get(str(place)) or known.get(place.root)

    def put(self, place: Place, token: str) -> None:
        """Keep it. Raises BadValueError."""
        self._write({**self._read(), str(place): token})

    def remove(self, place: Place) -> bool:
        """Forget it; whether there was one."""
        known = self._read()
        if str(place) not in known:
            return False
        self._write({name: token for name, token in known.items() if name != str(place)})
        return True

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            raise BadValueError(
                f"{self._path} cannot be read; remove it and log in again: inferry login URL"
            ) from None
        if not isinstance(found, dict):
            return {}
        return {str(name): str(token) for name, token in found.items()}

    def _write(self, known: Mapping[str, str]) -> None:
        """A new file in its place: a crash leaves the old one or the new one."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder)  # of mode 0600
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump(known, file, indent=1)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self._path)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name)
        except OSError as error:
            raise BadValueError(f"{self._path} cannot be written: {error.strerror}") from None


def token_for(place: Place, environment: Mapping[str, str]) -> str | None:
    """``$INFERRY_TOKEN``, else the one of ``inferry login``."""
    return environment.get(TOKEN) or Logins.of_user(environment).get(place)
