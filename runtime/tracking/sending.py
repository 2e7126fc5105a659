"""Sends what was held for a service, in this process or a later one (unsent.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from registry.errors import RegistryError
from registry.tree import SourceFile
from runtime.errors import BadValueError, InferryError, ServiceError
from runtime.tracking.keeper import AWAY
from runtime.tracking.service import Service
from runtime.tracking.unsent import UPLOAD, Request, read_context, read_requests
from runtime.tracking.uploading import uploaded

Say = Callable[[str], None]
MAX_SAID = 10


def send(service: Service, request: Request, folder: Callable[[], Path]) -> None:
    """One request that was held; ``folder`` has copies of files. Raises as Service.ask."""
    method, path, given = request
    if method != UPLOAD:
        service.ask(method, path, given)
        return
    files = folder() / "files"
    sources = {
        name: SourceFile(copy, files, (files / copy).stat().st_size) for name, copy in given.items()
    }
    add_files(service, path, sources)


def add_files(service: Service, run: str, sources: Mapping[str, SourceFile]) -> None:
    """Keep files of a run, all or none. Raises ServiceError, InvalidSourceError."""
    named = uploaded(service, sources)
    service.ask("POST", f"/runs/{run}/files", {"files": named})


def is_passing(error: Exception) -> bool:
    """A service that lets nobody in will not do so in a moment; one whose disk is full may."""
    return not isinstance(error, ServiceError) or error.is_passing


def resend(folder: Path, environ: Mapping[str, str], say: Say) -> str:
    """Send what a run left, and remove the folder; the run's id. Raises BadValueError, also where
    the service will not take some of it, which is said, and ServiceError where it is away still:
    then the folder stays, to be sent once more."""
    import shutil

    url, run = read_context(folder)
    refused = 0
    service = Service.of_user(url, environ)
    try:
        for request in read_requests(folder):
            try:
                send(service, request, lambda: folder)
            except AWAY:
                raise
            except (RegistryError, InferryError) as error:
                refused += 1
                if refused <= MAX_SAID:
                    say(f"this cannot be kept: {error}")
    finally:
        service.close()
    if refused:
        raise BadValueError(
            f"the service took all but {refused} of what run {run} left; '{folder}' stays, remove"
            " it when nobody needs it"
        )
    shutil.rmtree(folder)
    return run
