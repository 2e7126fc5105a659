"""How another registry is reached: the same for pull and push."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from registry.remote.client import RegistryClient
from registry.remote.credentials import Credentials, find_credentials
from registry.remote.reference import ImageReference
from registry.remote.waits import USUAL_TIMEOUTS, Timeouts


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """``insecure`` allows plain HTTP to any host, without passwords. ``ca_file`` is trusted beside
    the system's authorities. With ``only_public`` the registry must be at a public address: a
    stranger named it. ``credentials`` are found in ``environment`` if not given."""

    insecure: bool = False
    ca_file: Path | None = None
    only_public: bool = False
    credentials: Credentials | None = field(default=None, repr=False)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    timeouts: Timeouts = USUAL_TIMEOUTS
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def client(self, reference: ImageReference, cancelled: Callable[[], bool]) -> RegistryClient:
        """For the registry of ``reference``. Raises RemoteError for credentials that fail."""
        found = self.credentials or find_credentials(
            reference.host, reference.path, self.environment
        )
        return RegistryClient(
            reference.api_host,
            credentials=found,
            insecure=self.insecure,
            ca_file=self.ca_file,
            cancelled=cancelled,
            clock=self.clock,
            sleep=self.sleep,
            timeouts=self.timeouts,
            only_public=self.only_public,
        )


USUAL = RemoteOptions()
