"""Manifests that the workspace records: listed, kept, and gone with their image."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from registry import Workspace, media_types
from registry.blobs import BlobStore
from registry.distribution import (
    Distribution,
    DistributionError,
    add_manifest,
    remove_manifests_of,
)
from registry.distribution.pages import PageQuery
from registry.distribution.uploads import UPLOAD_S, UploadLimits
from registry.errors import InvalidNameError, NotFoundError
from registry.paths import WorkspacePaths
from registry.publishing import publishing
from tests.registry.store_check import blobs

SUBJECT = "sha256:" + "5" * 64


@pytest.fixture
def distribution(workspace: Workspace) -> Distribution:
    """The registry of ``workspace``."""
    return Distribution.open(workspace.root)


def _record(workspace: Workspace, text: str) -> str:
    """A manifest about SUBJECT that has one blob, as the builder of images records it."""
    paths = WorkspacePaths(workspace.root)
    with publishing(paths, workspace._database, BlobStore(paths)) as store:
        blob, size = store.put([text.encode()])
        config, config_size = store.put([b"{}"])
        document = {
            "schemaVersion": 2,
            "config": {"mediaType": media_types.EMPTY, "digest": config, "size": config_size},
            "layers": [{"mediaType": "a/b", "digest": blob, "size": size}],
        }
        digest, length = store.put([json.dumps(document).encode()])
        with workspace._database.write() as connection:
            add_manifest(
                connection,
                "digits",
                digest,
                media_types.MANIFEST,
                length,
                SUBJECT,
                "a/sbom",
                {blob: size, config: config_size},
            )
    return digest


def test_a_recorded_manifest_is_listed_kept_and_taken_back(
    workspace: Workspace, distribution: Distribution
) -> None:
    digest = _record(workspace, "sbom")
    before = blobs(workspace)
    assert workspace.purge().blobs == 0
    listed = json.loads(distribution.referrers.list("digits", SUBJECT, None, PageQuery()).index)
    assert [item["digest"] for item in listed["manifests"]] == [digest]
    with pytest.raises(DistributionError, match="belongs to an image"):
        distribution.manifests.delete("digits", digest)
    with workspace._database.write() as connection:
        remove_manifests_of(connection, "digits", SUBJECT)
    listed = json.loads(distribution.referrers.list("digits", SUBJECT, None, PageQuery()).index)
    assert listed["manifests"] == []
    assert workspace.purge().blobs == len(before)


def test_what_a_client_has_pushed_too_stays(
    workspace: Workspace, distribution: Distribution
) -> None:
    digest = _record(workspace, "sbom")
    stored = distribution.manifests.get("digits", digest)
    distribution.manifests.put("digits", "copy", stored.data, stored.media_type)
    with workspace._database.write() as connection:
        remove_manifests_of(connection, "digits", SUBJECT)
        connection.execute("DELETE FROM held_blobs")
    assert workspace.purge().blobs == 0
    distribution.manifests.delete("digits", digest)
    assert workspace.purge().blobs == 3


def test_a_pull_renews_its_hold_only_after_half_of_it(workspace: Workspace) -> None:
    now = 1000.0
    distribution = Distribution.open(workspace.root, clock=lambda: now)
    digest = _record(workspace, "sbom")

    def held() -> set[float]:
        with closing(sqlite3.connect(workspace.root / "workspace.db")) as connection:
            return {row[0] for row in connection.execute("SELECT expires_at FROM held_blobs")}

    distribution.manifests.get("digits", digest)
    assert held() == {4600.0}
    now += 1799
    distribution.manifests.get("digits", digest)
    assert held() == {4600.0}
    now += 2
    distribution.manifests.get("digits", digest)
    assert held() == {1801 + 1000 + 3600.0}


def test_uploads_are_bounded_and_expired_ones_make_room(workspace: Workspace) -> None:
    now = time.time()
    limits = UploadLimits(uploads=3, uploads_per_repository=2, blob_bytes=10)
    distribution = Distribution.open(workspace.root, clock=lambda: now, limits=limits)
    first = distribution.uploads.begin("a")
    distribution.uploads.begin("a")
    with pytest.raises(DistributionError, match="too many"):
        distribution.uploads.begin("a")
    distribution.uploads.begin("b")
    with pytest.raises(DistributionError, match="too many"):
        distribution.uploads.begin("c")
    with closing(distribution.uploads.open("a", first)) as session:
        session.write(b"0123456789")
        with pytest.raises(DistributionError, match="10 bytes at most"):
            session.write(b"x")
    now += UPLOAD_S + 1
    distribution.uploads.begin("c")
    assert len(list((workspace.root / "store/uploads").iterdir())) == 1


def test_a_hash_that_was_begun_elsewhere_is_finished_here(workspace: Workspace) -> None:
    one, two = (Distribution.open(workspace.root).uploads for _ in range(2))
    upload = one.begin("a")
    for number, uploads in enumerate((one, two, one, two, two, one)):
        with closing(uploads.open("a", upload)) as session:
            session.write(bytes([number]) * 1000)
    data = b"".join(bytes([number]) * 1000 for number in range(6))
    with closing(two.open("a", upload)) as session:
        assert session.finish(f"sha256:{hashlib.sha256(data).hexdigest()}") == 6000


@pytest.fixture
def clock() -> list[float]:
    """A time that tests set."""
    return [1000.0]


def test_a_token_opens_until_it_expires_or_is_revoked(
    workspace: Workspace, clock: list[float]
) -> None:
    tokens = Distribution.open(workspace.root, clock=lambda: clock[0]).tokens
    assert (tokens.access(None), tokens.are_needed()) == ("write", False)
    secret = tokens.create("ci", "contributor", 60)
    assert secret.startswith("ify_")
    assert len(secret) >= 4 + 43
    assert secret.encode() not in (workspace.root / "workspace.db").read_bytes()
    assert (tokens.access(secret), tokens.access(secret + "x"), tokens.access(None)) == (
        "write",
        None,
        None,
    )
    with pytest.raises(InvalidNameError, match="already"):
        tokens.create("ci", "reader", None)
    clock[0] += 60
    assert tokens.access(secret) is None
    tokens.revoke("ci")
    with pytest.raises(NotFoundError):
        tokens.revoke("ci")
    reader = tokens.create("ci", "reader", None)
    assert tokens.access(reader) == "read"
    tokens.revoke("ci")
    assert (tokens.access(reader), tokens.access(None), tokens.are_needed()) == (None, None, True)
    assert [token.name for token in tokens.list()] == ["ci", "ci"]


def test_names_that_are_no_repositories_are_not_served(
    workspace: Workspace, distribution: Distribution, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"w")
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    workspace.models.register(tmp_path / "m.bin", name="m")
    for name in ("Upper", "lower"):
        workspace.images.create(name, models=["m"], script=tmp_path / "score.py")
    assert distribution.catalog.repositories(PageQuery()).items == ("lower",)
