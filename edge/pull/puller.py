"""Fetches an image into the stock: what is small first, what is trusted only, what is missing only.

1. the manifest, its referrers and the signature: an image that is not signed by a key this device
   trusts costs no more than that
2. the disk: room for what is missing, and for it unpacked, above the reserve; else other images go
3. the blobs, one after another, each resumed where it stopped
4. the mark in the stock

Two threads may pull at the same time; blobs that both want are fetched once.
"""

from __future__ import annotations

import errno
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.errors import NoSpaceError, PullError, UntrustedError
from edge.pull.downloads import Download
from edge.pull.errors import CancelledError
from edge.pull.parts import Part, WrongBytesError, part_bytes
from edge.pull.rate import RateCap
from edge.pull.referrers import MAX_SMALL_BYTES, manifest_of, read_referrers
from edge.stock.bundles import unpacked_bytes
from edge.stock.device_stock import DeviceStock
from edge.stock.documents import Descriptor, Manifest, read_manifest, stored_image
from edge.stock.port import StoredImage
from registry import errors as registry_errors
from registry.remote.client import RegistryClient
from registry.remote.credentials import Credentials
from registry.remote.documents import digest_of
from registry.remote.reference import ImageReference, parse_image_reference
from registry.remote.repository import Repository
from registry.remote.urls import parse_url
from registry.remote.waits import Timeouts
from registry.trust.public_key import PublicKey
from registry.trust.verification import verify

HEADROOM_BYTES = 16 * 1024 * 1024
Keep = Callable[[], Collection[str]]
"""Images that must not make room for others, as it is now."""
PERMANENT = frozenset({400, 401, 403, 404, 405, 410, 416})


class RegistryPuller:
    """``url``: of the workspace's registry. ``token``: for it, None: it asks for none. ``trusted``:
    whose signatures count. ``is_plain_allowed``: plain HTTP beyond this machine, if that is what
    the URL says, for a network that you trust. ``draw``: 0 to 1, for the jitter of waits."""

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
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.rate = rate or RateCap()
        self._stock = stock
        self._trusted = tuple(trusted)
        self._credentials = Credentials("device", token) if token else Credentials()
        self._ca_file = ca_file
        self._timeouts = timeouts or Timeouts()
        self._clock = clock
        self._sleep = sleep
        self._draw = draw
        with _translated("the registry"):
            parsed = parse_url(url)
        self._host = parsed.authority
        self._is_plain = is_plain_allowed and parsed.scheme == "http"
        self._fetching = threading.Lock()

    def pull(
        self,
        image: str,
        digest: str,
        *,
        keep: Keep,
        on_progress: Callable[[int, int], None],
        is_cancelled: Callable[[], bool],
    ) -> StoredImage:
        def check() -> None:
            if is_cancelled():
                raise CancelledError(f"the pull of {image} was cancelled")

        if self._stock.has(digest, check):
            self._stock.used(digest)
            return self._stock.image(digest)
        with _translated(image):
            reference = parse_image_reference(f"{self._host}/{_repository(image)}@{digest}")
        with _translated(image), self._client(reference, is_cancelled) as client:
            repository = Repository(client, reference)
            _Pull(self, repository, image, digest, check).run(keep, on_progress)
        return self._stock.image(digest)

    def _client(
        self, reference: ImageReference, is_cancelled: Callable[[], bool]
    ) -> RegistryClient:
        return RegistryClient(
            reference.api_host,
            credentials=self._credentials,
            insecure=self._is_plain,
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
        check: Callable[[], None],
    ) -> None:
        self._puller = puller
        self._stock = puller._stock
        self._repository = repository
        self._image = image
        self._digest = digest
        self._check = check

    def run(self, keep: Keep, on_progress: Callable[[int, int], None]) -> None:
        stock, repository = self._stock, self._repository
        data = manifest_of(repository, stock.blobs, self._digest)
        manifest = read_manifest(data)
        if manifest.config.size > MAX_SMALL_BYTES:
            raise PullError(f"the image's config has more than {MAX_SMALL_BYTES} bytes")
        referrers = read_referrers(repository, stock.blobs, self._digest)
        self._verify(data, referrers)
        small = {digest_of(each): each for pair in (*referrers, (data,)) for each in pair}
        wanted = manifest.blobs()
        with stock.holding([*wanted, *small]):
            self._make_room(manifest, keep)
            for digest, each in small.items():
                if not stock.has_blob(digest, len(each), self._check):
                    stock.blobs.put([each])
            self._fetch(data, manifest, keep, on_progress)
            stock.mark(
                self._digest,
                {**wanted, **{digest: len(each) for digest, each in small.items()}},
                [digest_of(referrer) for referrer, _ in referrers],
            )

    def _verify(self, manifest: bytes, referrers: Sequence[tuple[bytes, bytes]]) -> None:
        name = self._image if ":" in self._image else None
        try:
            verify(self._digest, manifest, referrers, self._puller._trusted, reference=name)
        except registry_errors.TrustError as error:
            raise UntrustedError(f"{self._image} is not trusted: {error}") from error

    def _make_room(self, manifest: Manifest, keep: Keep) -> None:
        """For what is missing, as it comes and as it is unpacked."""
        missing = [
            each for each in _distinct(manifest) if self._stock.blobs.size(each.digest) != each.size
        ]
        needed = HEADROOM_BYTES + sum(
            each.size
            - part_bytes(self._stock.parts, each.digest)
            + unpacked_bytes(each.media_type, each.size)
            for each in missing
        )
        self._need(needed, keep)

    def _need(self, needed: int, keep: Keep) -> None:
        """``needed`` bytes above the reserve. Raises NoSpaceError when that cannot be."""
        if self._stock.free_bytes() < needed:
            self._stock.collect(keep(), needed)
        free = self._stock.free_bytes()
        if free < needed:
            raise NoSpaceError(
                f"{self._image} needs {needed / 1e6:.0f} MB, and {max(0, free) / 1e6:.0f} MB are"
                f" free above the reserve of {self._stock.reserve_bytes / 1e6:.0f} MB; free some",
                is_temporary=True,
            )

    def _guard(self, keep: Keep) -> None:
        """Others take from the disk too while this takes hours."""
        if self._stock.free_bytes() < 0:
            self._stock.collect(keep(), HEADROOM_BYTES)
            if self._stock.free_bytes() < 0:
                raise _no_space(self._image)

    def _fetch(
        self,
        data: bytes,
        manifest: Manifest,
        keep: Keep,
        on_progress: Callable[[int, int], None],
    ) -> None:
        """The config first: it is small, and what cannot be read costs no more."""
        blobs = self._stock.blobs
        distinct = _distinct(manifest)
        total = sum(each.size for each in distinct)
        done = 0
        for each in distinct:
            with self._alone():
                if not self._stock.has_blob(each.digest, each.size, self._check):
                    self._blob(each, keep, _progress(on_progress, done, total))
            if each.digest == manifest.config.digest:
                stored_image(self._digest, manifest, blobs.read(each.digest))
            done += each.size
            on_progress(done, total)

    def _blob(self, each: Descriptor, keep: Keep, on_size: Callable[[int], None]) -> None:
        puller = self._puller
        download = Download(
            self._repository,
            puller.rate,
            self._check,
            lambda: self._guard(keep),
            puller._draw,
            puller._clock,
        )
        for is_last in (False, True):
            try:
                with Part(self._stock.parts, each, self._check) as part:
                    download.fill(part, on_size)
                    part.publish(self._stock.blobs)
                return
            except WrongBytesError:  # a power cut may have spoiled what was here
                if is_last:
                    raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One blob of one image at a time has the link."""
        while not self._puller._fetching.acquire(timeout=0.2):
            self._check()
        try:
            self._check()
            yield
        finally:
            self._puller._fetching.release()


def _distinct(manifest: Manifest) -> list[Descriptor]:
    """The config first."""
    return list({e.digest: e for e in (manifest.config, *manifest.layers)}.values())


def _repository(image: str) -> str:
    """ "digits:3" is in the repository "digits"."""
    return image.partition(":")[0]


def _progress(
    on_progress: Callable[[int, int], None], done: int, total: int
) -> Callable[[int], None]:
    return lambda size: on_progress(done + size, total)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """The registry package's errors, and the disk's, as PullErrors."""
    try:
        yield
    except registry_errors.CancelledError as error:
        raise CancelledError(f"the pull of {what} was cancelled") from error
    except registry_errors.StoreFullError as error:
        raise _no_space(what) from error
    except registry_errors.RemoteError as error:
        # Without a status it is the network, or what answers in the place of the registry there.
        is_temporary = error.status not in PERMANENT
        raise PullError(f"{what}: {error}", is_temporary=is_temporary) from error
    except registry_errors.RegistryError as error:
        raise PullError(f"{what}: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _no_space(what) from error
        raise PullError(
            f"{what}: the device's disk fails: {error.strerror or type(error).__name__}",
            is_temporary=True,
        ) from error


def _no_space(what: str) -> NoSpaceError:
    return NoSpaceError(f"no space is left for {what}; free some", is_temporary=True)
