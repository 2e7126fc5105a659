"""Fetches an image into the stock: what is small first, what is trusted only, what is missing only.

1. the manifest, its referrers and the signature: an image that is not signed by a key this device
   trusts costs no more than that
2. the disk: room for what is missing, and for it unpacked, above the reserve; else other images go
3. the blobs, one after another, each resumed where it stopped
4. the mark in the stock

Two threads may pull at the same time; blobs that both want are fetched once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.errors import NoSpaceError, PullError, UntrustedError
from edge.pull.errors import CancelledError
from edge.pull.parts import Part, WrongBytesError, part_bytes
from edge.pull.rate import RateCap
from edge.stock.device_stock import DeviceStock
from edge.stock.documents import Descriptor, Manifest, read_manifest
from edge.stock.port import StoredImage
from registry import errors as registry_errors
from registry import media_types
from registry.remote.client import RegistryClient
from registry.remote.credentials import Credentials
from registry.remote.documents import Document, digest_of
from registry.remote.failures import CutError
from registry.remote.http import Answer
from registry.remote.reference import ImageReference, is_digest, parse_image_reference
from registry.remote.referrers import referrers_of
from registry.remote.repository import Repository
from registry.remote.retrying import TransientError
from registry.remote.urls import parse_url
from registry.remote.waits import Timeouts
from registry.trust.public_key import PublicKey
from registry.trust.verification import MAX_REFERRERS, verify

MAX_SMALL_BYTES = 8 * 1024 * 1024
"""Of a config, a signature and an SBOM."""
HEADROOM_BYTES = 16 * 1024 * 1024
UNPACKED_FACTOR = 3.5
"""How much larger compressed layers become, at most, as far as Python packages go."""
ATTEMPTS = 8
"""In a row without a byte, before the caller hears of it: who retries for ever."""
MAX_WAIT_S = 30.0
PERMANENT = frozenset({400, 401, 403, 404, 405, 410, 416})


class RegistryPuller:
    """``url``: of the workspace's registry. ``token``: for it, None: it asks for none. ``trusted``:
    whose signatures count. ``is_plain_allowed``: plain HTTP beyond this machine, for a network that
    you trust."""

    def __init__(
        self,
        stock: DeviceStock,
        url: str,
        *,
        token: str | None,
        trusted: Sequence[PublicKey],
        ca_file: Path | None = None,
        rate: RateCap | None = None,
        is_plain_allowed: bool = False,
        timeouts: Timeouts | None = None,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.rate = rate or RateCap()
        self._stock = stock
        self._trusted = tuple(trusted)
        self._credentials = Credentials("device", token) if token else Credentials()
        self._ca_file = ca_file
        self._is_plain_allowed = is_plain_allowed
        self._timeouts = timeouts or Timeouts()
        self._sleep = sleep
        self._draw = draw
        with _translated("the registry"):
            parsed = parse_url(url)
        self._host = parsed.authority
        self._fetching = threading.Lock()

    def pull(
        self,
        image: str,
        digest: str,
        *,
        keep: Sequence[str],
        on_progress: Callable[[int, int], None],
        is_cancelled: Callable[[], bool],
    ) -> StoredImage:
        if self._stock.has(digest):
            return self._stock.image(digest)
        with _translated(image):
            reference = parse_image_reference(f"{self._host}/{_repository(image)}@{digest}")
        with _translated(image), self._client(reference, is_cancelled) as client:
            repository = Repository(client, reference)
            pulled = _Pull(self, repository, image, digest, is_cancelled)
            pulled.run(keep, on_progress)
        return self._stock.image(digest)

    def _client(
        self, reference: ImageReference, is_cancelled: Callable[[], bool]
    ) -> RegistryClient:
        return RegistryClient(
            reference.api_host,
            credentials=self._credentials,
            insecure=self._is_plain_allowed,
            ca_file=self._ca_file,
            cancelled=is_cancelled,
            timeouts=self._timeouts,
            sleep=self._sleep,
        )


class _Pull:
    """One call of ``pull``."""

    def __init__(
        self,
        puller: RegistryPuller,
        repository: Repository,
        image: str,
        digest: str,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._puller = puller
        self._stock = puller._stock
        self._repository = repository
        self._image = image
        self._digest = digest
        self._is_cancelled = is_cancelled

    def run(self, keep: Sequence[str], on_progress: Callable[[int, int], None]) -> None:
        document = self._repository.manifest(self._digest)
        if document.digest != self._digest:
            raise PullError(f"the registry sends another manifest than {self._digest}")
        manifest = read_manifest(document.data)
        blobs = self._stock.blobs
        referrers = self._referrers()
        self._verify(document, referrers)
        wanted = manifest.blobs()
        extra = [data for pair in referrers for data in pair]
        with self._stock.holding([*wanted, self._digest, *map(digest_of, extra)]):
            self._make_room(manifest, keep)
            for data in (*extra, document.data):
                blobs.put([data])
            self._fetch(manifest, on_progress)
            self._stock.mark(
                self._digest,
                {**wanted, **{digest_of(data): len(data) for data in (*extra, document.data)}},
                [digest_of(referrer) for referrer, _ in referrers],
            )

    def _referrers(self) -> list[tuple[bytes, bytes]]:
        """The manifest and the only blob of each signature and SBOM."""
        found = []
        for listed in referrers_of(self._repository, self._digest)[:MAX_REFERRERS]:
            document = self._repository.manifest(listed.digest)
            layers = document.fields.get("layers")
            first = layers[0] if isinstance(layers, list) and len(layers) == 1 else None
            if not isinstance(first, dict) or not is_digest(first.get("digest")):
                continue  # of another kind than ours
            found.append((document.data, self._small(str(first["digest"]))))
        return found

    def _small(self, digest: str) -> bytes:
        with self._repository.blob(digest, 0) as answer:
            return answer.read(MAX_SMALL_BYTES, "signature")

    def _verify(self, document: Document, referrers: Sequence[tuple[bytes, bytes]]) -> None:
        name = self._image if ":" in self._image else None
        try:
            verify(self._digest, document.data, referrers, self._puller._trusted, reference=name)
        except registry_errors.TrustError as error:
            raise UntrustedError(f"{self._image} is not trusted: {error}") from error

    def _make_room(self, manifest: Manifest, keep: Sequence[str]) -> None:
        """For what is missing, as it comes and as it is unpacked."""
        missing = [e for e in (manifest.config, *manifest.layers) if not self._is_here(e)]
        fetched = sum(e.size - part_bytes(self._stock.parts, e.digest) for e in missing)
        unpacked = sum(
            e.size * (UNPACKED_FACTOR if e.media_type == media_types.LAYER_GZIP else 1)
            for e in missing
        )
        needed = int(fetched + unpacked) + HEADROOM_BYTES
        if self._stock.free_bytes() < needed:
            self._stock.collect(keep, needed)
        free = self._stock.free_bytes()
        if free < needed:
            raise NoSpaceError(
                f"{self._image} needs {needed / 1e6:.0f} MB, and {max(0, free) / 1e6:.0f} MB are"
                f" free above the reserve of {self._stock.reserve_bytes / 1e6:.0f} MB"
            )

    def _is_here(self, each: Descriptor) -> bool:
        return self._stock.blobs.size(each.digest) == each.size

    def _fetch(self, manifest: Manifest, on_progress: Callable[[int, int], None]) -> None:
        """The config first: it is small, and what cannot be read costs no more."""
        distinct = {e.digest: e for e in (manifest.config, *manifest.layers)}
        total = sum(each.size for each in distinct.values())
        done = 0
        for each in distinct.values():
            self._check()
            while not self._puller._fetching.acquire(timeout=0.2):
                self._check()
            try:
                if not self._is_here(each) or not self._stock.blobs.renew(each.digest):
                    self._blob(each, _progress(on_progress, done, total))
            finally:
                self._puller._fetching.release()
            done += each.size
            on_progress(done, total)

    def _blob(self, each: Descriptor, on_size: Callable[[int], None]) -> None:
        for is_last in (False, True):
            try:
                with Part(self._stock.parts, each) as part:
                    self._fill(part, on_size)
                    part.publish(self._stock.blobs)
                return
            except WrongBytesError:
                if is_last:
                    raise

    def _fill(self, part: Part, on_size: Callable[[int], None]) -> None:
        failures = 0
        while not part.is_complete:
            before = part.size_bytes
            try:
                self._take(part, on_size)
            except TransientError as error:
                part.sync()
                failures = 1 if part.size_bytes > before else failures + 1
                if failures >= ATTEMPTS:
                    raise
                self._pause(error.asked_s, failures)

    def _take(self, part: Part, on_size: Callable[[int], None]) -> None:
        start = part.size_bytes
        with self._repository.blob(part.descriptor.digest, start) as answer:
            skip = _skipped(answer, start, part.descriptor)
            for chunk in answer.chunks():
                self._check()
                self._puller.rate.take(len(chunk), self._check)
                skipped, chunk = min(skip, len(chunk)), chunk[skip:]
                skip -= skipped
                if chunk:
                    part.add(chunk)
                    on_size(part.size_bytes)
        if not part.is_complete:
            raise CutError("the registry's answer ended early")

    def _pause(self, asked_s: float | None, failures: int) -> None:
        wait_s = min(MAX_WAIT_S, asked_s or self._puller._draw() * 2.0**failures * 0.5)
        self._repository.client.pause(wait_s)

    def _check(self) -> None:
        if self._is_cancelled():
            raise CancelledError(f"the pull of {self._image} was cancelled")


def _skipped(answer: Answer, start: int, blob: Descriptor) -> int:
    """How many bytes of the answer are here already. Raises PullError for another range."""
    if answer.status != 206:
        return start
    said = (answer.header("content-range") or "").strip().lower()
    if not said.startswith(f"bytes {start}-"):
        raise PullError(f"the registry sends another part of {blob.digest} than it was asked for")
    return 0


def _repository(image: str) -> str:
    """ "digits:3" is in the repository "digits"."""
    return image.partition(":")[0]


def _progress(
    on_progress: Callable[[int, int], None], done: int, total: int
) -> Callable[[int], None]:
    return lambda size: on_progress(done + size, total)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """The registry package's errors as PullErrors."""
    try:
        yield
    except registry_errors.CancelledError as error:
        raise CancelledError(f"the pull of {what} was cancelled") from error
    except registry_errors.StoreFullError as error:
        raise NoSpaceError(f"no space is left for {what}; free some") from error
    except registry_errors.RemoteError as error:
        is_temporary = error.status not in PERMANENT if error.status else _is_of_network(error)
        raise PullError(f"{what}: {error}", is_temporary=is_temporary) from error
    except registry_errors.RegistryError as error:
        raise PullError(f"{what}: {error}") from error


def _is_of_network(error: registry_errors.RemoteError) -> bool:
    """Without a status: cut, or not reached; a lie otherwise."""
    return isinstance(error, TransientError) or error.__cause__ is not None
