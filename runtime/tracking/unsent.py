"""What a service did not take, kept for later: a folder for each run.

FOLDER/
  context.json     {"url": ..., "run": ...}
  requests         MessagePack, each with its length before it: [method, path, arguments]
  files/<number>   what was to be uploaded

It is below $XDG_STATE_HOME, by default ~/.local/state/inferry/unsent. Every request may be sent
twice, so sending it again from the beginning is right whatever was sent before.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from registry.tree import SourceFile
from runtime.errors import BadValueError

CONTEXT, REQUESTS, FILES = "context.json", "requests", "files"
UPLOAD = "UPLOAD"
"""In the place of a method: ``arguments`` are names of files below files/ by their path in the
run, ``path`` is the run's id."""
Request = tuple[str, str, Mapping[str, Any]]
LENGTH_BYTES = 8


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where folders of runs lie."""
    home = environment.get("HOME") or str(Path.home())
    state = environment.get("XDG_STATE_HOME") or Path(home, ".local/state")
    return Path(state) / "inferry" / "unsent"


class Unsent:
    """The folder of one run, made when something is kept."""

    def __init__(self, run: str, url: str) -> None:
        self._run = run
        self._url = url
        self._folder: Path | None = None
        self._files = 0

    def folder(self) -> Path:
        """Made by the first call. Raises OSError."""
        if self._folder is None:
            for parent in (state_folder(), Path(tempfile.gettempdir())):
                try:
                    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    made = tempfile.mkdtemp(prefix=f"{self._run}-", dir=parent)
                except OSError:
                    continue
                self._folder = Path(made)
                break
            else:
                raise OSError("there is no folder for what cannot be sent now")
        return self._folder

    def copy(self, files: Mapping[str, SourceFile]) -> Request:
        """Keep copies of files, to be uploaded later. Raises OSError, InvalidSourceError."""
        place = self.folder() / FILES
        place.mkdir(exist_ok=True)
        named = {}
        for path, file in files.items():
            self._files += 1
            with file.open() as opened, (place / str(self._files)).open("wb") as copy:
                shutil.copyfileobj(opened, copy, 1024 * 1024)
            named[path] = str(self._files)
        return UPLOAD, self._run, named

    def keep(self, requests: Iterable[Request]) -> Path:
        """All that is to be sent; it is on the disk when this returns. Raises OSError."""
        import msgspec

        folder = self.folder()
        with (folder / REQUESTS).open("wb") as file:
            for request in requests:
                data = msgspec.msgpack.encode(request)
                file.write(len(data).to_bytes(LENGTH_BYTES, "little") + data)
            file.flush()
            os.fsync(file.fileno())
        with (folder / CONTEXT).open("w") as context:
            json.dump({"url": self._url, "run": self._run}, context)
            context.flush()
            os.fsync(context.fileno())
        return folder

    def forget(self) -> None:
        """Everything was sent."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def read_context(folder: Path) -> tuple[str, str]:
    """The URL and the run. Raises BadValueError."""
    try:
        found = json.loads((folder / CONTEXT).read_bytes())
        return str(found["url"]), str(found["run"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BadValueError(f"'{folder}' holds nothing that a run left to be sent") from None


def read_requests(folder: Path) -> Iterator[Request]:
    """In order. Raises BadValueError for a file that is damaged."""
    import msgspec

    try:
        with (folder / REQUESTS).open("rb") as file:
            while head := file.read(LENGTH_BYTES):
                data = file.read(int.from_bytes(head, "little"))
                yield msgspec.msgpack.decode(data, type=tuple[str, str, dict[str, Any]])
    except (OSError, msgspec.MsgspecError, OverflowError, MemoryError):
        raise BadValueError(f"'{folder / REQUESTS}' is damaged") from None
