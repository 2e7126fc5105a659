"""The words of the differential test: scripts, requests to them, what came back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, sent byte for byte."""

    name: str
    method: str = "POST"
    target: str = "/score"
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """One server start: a script of the corpus, how it is started, what it is asked.

    ``fails``: it cannot serve, so the server must exit."""

    name: str
    requests: tuple[Request, ...] = ()
    file: str = ""
    options: tuple[str, ...] = ()
    environ: tuple[tuple[str, str], ...] = ()
    fails: bool = False

    @property
    def path(self) -> Path:
        """The entry script."""
        flat = CORPUS / f"{self.file or self.name}.py"
        return flat if self.file or flat.exists() else CORPUS / self.name / "score.py"


@dataclass(frozen=True, slots=True)
class Server:
    """How a server is started, and the path that answers 200 once the script is loaded."""

    command: tuple[str, ...]
    ready: str = "/"


@dataclass(frozen=True, slots=True)
class Response:
    """What is compared. Status 0: the connection broke."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one script did under one server: its exit code, or a response per request."""

    exit_code: int | None
    responses: dict[str, Response]
