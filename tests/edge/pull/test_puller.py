"""Pulling from a registry that is right, over links and disks that are not."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.enrolment.authority import Authority
from edge.errors import NoSpaceError, PullError, UntrustedError
from edge.pull import CancelledError
from edge.pull.parts import Part
from edge.pull.puller import HEADROOM_BYTES
from edge.pull.rate import RateCap
from edge.stock.device_stock import DeviceStock
from edge.stock.documents import read_manifest
from registry import media_types
from registry.blobs import BlobStore
from registry.remote import addresses
from registry.remote.waits import Timeouts
from tests.edge.pull.served import Served, make_puller, new_stock, pull
from tests.edge.stock.signed_images import Published, put_image
from tests.registry.remote.hostile_registry import Exchange
from tests.registry.trust.signed_image import new_key

MODEL = os.urandom(1_000_000)
SOON_S = 10.0
"""A third of a second, on a machine that has nothing else to do; without a cancel it is PATIENT."""
PATIENT = Timeouts(connect_s=60.0, read_s=60.0, answer_s=60.0)


@pytest.fixture
def image(served: Served) -> Published:
    found = put_image(served.store, MODEL)
    served.add(found)
    return found


def part_of(stock: DeviceStock, digest: str) -> Path:
    return stock.parts / f"{digest.removeprefix('sha256:')}.part"


def test_a_pulled_image_is_whole_and_pulled_once(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    puller = make_puller(stock, served)
    steps: list[tuple[int, int]] = []
    found = pull(puller, image, on_progress=lambda done, total: steps.append((done, total)))
    assert (found.digest, found.name, found.version, found.kind) == (
        image.digest, "digits", 1, "bundle",
    )  # fmt: skip
    assert [layer.kind for layer in found.layers] == ["code", "model"]
    assert stock.has(image.digest)
    assert set(stock.referrers(image.digest)) == set(image.referrers)
    size = sum(image.blobs.values())
    assert steps == sorted(steps)
    assert steps[-1] == (size, size)
    assert served.sent == {**image.blobs, **_contents(served, image)}
    asked = list(served.registry.seen)
    pull(puller, image)
    assert served.registry.seen == asked


def _contents(served: Served, image: Published) -> dict[str, int]:
    """What came as a blob of the referrers."""
    return {
        digest: size for digest, size in image.referrer_blobs.items()
        if digest not in image.referrers
    }  # fmt: skip


def test_only_missing_layers_come(served: Served, stock: DeviceStock, image: Published) -> None:
    newer = put_image(served.store, MODEL, version=2, code={"code/more.py": b"x = 1\n"})
    # The path of a model has its version in it, so take the very layer.
    document = json.loads(served.store.read(newer.digest))
    assert document["layers"][1]["digest"] != image.model
    same = put_image(
        served.store, MODEL, version=1, name="digits", code={"code/more.py": b"x = 1\n"}
    )
    served.add(same)
    pull(make_puller(stock, served), image)
    before = dict(served.sent)
    pull(make_puller(stock, served), same)
    fetched = {d for d, size in served.sent.items() if size != before.get(d, 0)}
    assert same.model == image.model
    assert image.model not in fetched
    assert fetched


def test_cuts_and_restarts_cost_no_byte_twice(
    served: Served, tmp_path: Path, image: Published
) -> None:
    served.cut_after = 100_000
    cancels = 0
    while True:
        with new_stock(tmp_path / "state") as stock:  # the agent has begun anew
            begun = part_of(stock, image.model)
            before = begun.stat().st_size if begun.exists() else 0

            def is_over(path: Path = begun, before: int = before) -> bool:
                return path.exists() and path.stat().st_size >= before + 250_000

            try:
                pull(make_puller(stock, served), image, is_cancelled=is_over)
                break
            except CancelledError:
                cancels += 1
    assert cancels >= 3
    size = image.blobs[image.model]
    # An answer that is left had at most so much under way; a cut one has lost nothing.
    assert served.sent[image.model] <= size + cancels * served.cut_after
    starts = [int(each[6:-1]) for each in served.ranges]
    assert starts == sorted(starts)
    assert len(starts) >= size // 100_000
    for small in (*_contents(served, image), *image.referrers):
        assert len(served.asked(small)) == 1, "what is here is not asked for again"


def test_cuts_alone_cost_not_a_byte(served: Served, stock: DeviceStock, image: Published) -> None:
    served.cut_after = 70_001
    pull(make_puller(stock, served), image)
    assert served.sent == {**image.blobs, **_contents(served, image)}
    assert stock.blobs.read(image.model) == served.store.read(image.model)


def test_a_registry_that_has_no_range_is_read_again(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    served.minds_range = False
    data = served.store.read(image.model)
    part_of(stock, image.model).write_bytes(data[:300_000])
    pull(make_puller(stock, served), image)
    assert served.sent[image.model] == len(data)
    assert stock.blobs.read(image.model) == data


def test_a_spoiled_part_is_fetched_once_more(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    part_of(stock, image.model).write_bytes(bytes(300_000))
    pull(make_puller(stock, served), image)
    size = image.blobs[image.model]
    assert served.sent[image.model] == size - 300_000 + size


def test_a_whole_part_that_was_not_published_costs_nothing(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    part = part_of(stock, image.model)
    part.write_bytes(served.store.read(image.model))
    part.chmod(0o444)
    pull(make_puller(stock, served), image)
    assert image.model not in served.sent
    assert not part.exists()


def test_a_part_left_read_only_can_be_written(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    part = part_of(stock, image.model)
    part.write_bytes(b"half")
    part.chmod(0o444)
    manifest = read_manifest(served.store.read(image.digest))
    with Part(stock.parts, manifest.layers[-1], lambda: None):
        assert part.stat().st_mode & 0o200  # who is not root needs that


@pytest.mark.parametrize("signers", ["none", "other"])
def test_what_is_not_trusted_costs_nothing_large(
    served: Served, stock: DeviceStock, signers: str
) -> None:
    bad = put_image(served.store, MODEL, signers=[] if signers == "none" else [new_key()])
    served.add(bad)
    with pytest.raises(UntrustedError, match="digits:1 is not trusted"):
        pull(make_puller(stock, served), bad)
    assert not set(served.sent) & set(bad.blobs)
    assert not stock.has(bad.digest)
    assert list(stock.blobs.paths.blobs.iterdir()) == []


def test_the_signature_of_another_version_does_not_count(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    with pytest.raises(UntrustedError, match="where digits:2 was asked for"):
        make_puller(stock, served).pull(
            "digits:2", image.digest, keep=list, on_progress=lambda *_: None,
            is_cancelled=lambda: False,
        )  # fmt: skip


def test_referrers_that_anybody_added_are_passed_over(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    gone = put_image(served.store, b"other", version=7)
    served.referrers[image.digest] = [gone.referrers[0], *image.referrers]
    served.registry.give(f"/v2/digits/manifests/{gone.referrers[0]}", status=404)
    pull(make_puller(stock, served), image)


def test_a_damaged_blob_alone_is_fetched_again(
    served: Served, tmp_path: Path, image: Published
) -> None:
    with new_stock(tmp_path / "state") as stock:
        pull(make_puller(stock, served), image)
        path = stock.blobs.paths.blob(image.model)
    path.chmod(0o644)
    path.write_bytes(bytes(image.blobs[image.model]))
    served.sent.clear()
    os.remove(tmp_path / "state/store/stock.db")  # and the list of images is lost too
    with new_stock(tmp_path / "state", boot_id="b2") as stock:
        assert not stock.has(image.digest)
        pull(make_puller(stock, served), image)
        assert stock.has(image.digest)
    assert served.sent == {image.model: image.blobs[image.model]}


def test_room_is_made_by_images_that_nobody_needs(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [put_image(served.store, os.urandom(400_000), version=n) for n in (1, 2, 3)]
    for each in images:
        served.add(each)
    with new_stock(tmp_path / "state") as stock:
        puller = make_puller(stock, served)
        pull(puller, images[0])
        pull(puller, images[1])
        free_before = HEADROOM_BYTES + 500_000
        _disk(monkeypatch, stock, free_before)
        pull(puller, images[2], keep=[images[1].digest])
        assert [stock.has(each.digest) for each in images] == [False, True, True]


def _disk(monkeypatch: pytest.MonkeyPatch, stock: DeviceStock, free: int) -> None:
    """So much is free now, and the stock takes and gives from that."""
    store = stock.blobs.paths.store

    def taken() -> int:
        return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())

    before = taken()
    monkeypatch.setattr(stock, "free_bytes", lambda: free + before - taken())


def test_a_disk_without_room_says_how_much_it_needs(
    served: Served, stock: DeviceStock, image: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "free_bytes", lambda: 5_000_000)
    with pytest.raises(NoSpaceError, match=r"digits:1 needs 19 MB, and 5 MB are free") as caught:
        pull(make_puller(stock, served), image)
    assert caught.value.is_temporary
    assert not set(served.sent) & set(image.blobs)


def test_others_that_fill_the_disk_stop_a_pull_at_the_reserve(
    served: Served, stock: DeviceStock, image: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    frees = iter([100_000_000] * 2)
    monkeypatch.setattr(stock, "free_bytes", lambda: next(frees, -1))
    with pytest.raises(NoSpaceError, match="no space is left for digits:1"):
        pull(make_puller(stock, served), image)


def test_a_disk_that_is_full_in_fact_is_said(
    served: Served, stock: DeviceStock, image: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(part: Part, blobs: BlobStore) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Part, "publish", full)
    with pytest.raises(NoSpaceError):
        pull(make_puller(stock, served), image)
    assert not stock.has(image.digest)


def test_two_that_want_the_same_fetch_it_once(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    puller = make_puller(stock, served)
    threads = [threading.Thread(target=pull, args=(puller, image)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert stock.has(image.digest)
    assert served.sent[image.model] == image.blobs[image.model]


def _hanging(served: Served) -> Callable[[Exchange], None]:
    def route(exchange: Exchange) -> None:
        exchange.send_response(200)
        # Else a list of referrers would not be read: the tag would be asked for.
        exchange.send_header("Content-Type", media_types.INDEX)
        exchange.send_header("Content-Length", "999999")
        exchange.end_headers()
        exchange.wfile.write(b"x")
        exchange.wfile.flush()
        served.registry.ending.wait(PATIENT.answer_s)

    return route


def _ended_after_s(work: Callable[[], object], cancel: threading.Event, begun: Callable[[], bool]
                   ) -> float:  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        deadline = time.monotonic() + 30
        while not begun():
            assert time.monotonic() < deadline
            assert not working.done(), working.exception()
            time.sleep(0.005)
        cancelled = time.monotonic()
        cancel.set()
        assert isinstance(working.exception(), CancelledError)
        return time.monotonic() - cancelled


@pytest.mark.slow
@pytest.mark.parametrize("where", ["manifests", "blobs", "referrers"])
def test_a_cancel_counts_at_once_when_nothing_comes(
    served: Served, stock: DeviceStock, image: Published, where: str
) -> None:
    served.registry.on("GET", f"/v2/digits/{where}/.*", _hanging(served))
    cancel = threading.Event()
    puller = make_puller(stock, served, timeouts=PATIENT)
    took_s = _ended_after_s(
        lambda: pull(puller, image, is_cancelled=cancel.is_set),
        cancel,
        lambda: bool(served.asked(where)),
    )
    assert took_s < SOON_S


@pytest.mark.slow
def test_a_cancel_counts_while_a_connection_is_made(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    """Of a listener whose queue is full Linux drops the SYNs, as a dead network does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = []
        for _ in range(4):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(full.getsockname())
            waiting.append(each)
        cancel = threading.Event()
        asked: list[bool] = []

        def is_cancelled() -> bool:
            asked.append(True)
            return cancel.is_set()

        puller = make_puller(stock, served, timeouts=PATIENT)
        puller._host = f"127.0.0.1:{full.getsockname()[1]}"
        took_s = _ended_after_s(
            lambda: pull(puller, image, is_cancelled=is_cancelled), cancel, lambda: len(asked) > 3
        )
        for each in waiting:
            each.close()
    assert took_s < SOON_S


@pytest.mark.slow
def test_a_cancel_counts_while_tls_is_negotiated(
    stock: DeviceStock, served: Served, image: Published, tmp_path: Path
) -> None:
    """The kernel takes the connection, and nobody says a word on it."""
    Authority.load_or_create(tmp_path / "authority")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        cancel = threading.Event()
        puller = make_puller(stock, served, timeouts=PATIENT, ca_file=tmp_path / "authority/ca.pem")
        puller._host = f"127.0.0.1:{mute.getsockname()[1]}"
        mute.settimeout(30)

        def is_begun() -> bool:
            connection, _ = mute.accept()
            hello = connection.recv(1)
            connections.append(connection)
            return hello == b"\x16"

        connections: list[socket.socket] = []
        took_s = _ended_after_s(
            lambda: pull(puller, image, is_cancelled=cancel.is_set), cancel, is_begun
        )
        for each in connections:
            each.close()
    assert took_s < SOON_S


def test_a_rate_cap_holds_and_can_change(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    rate = RateCap(100_000, clock=lambda: now[0], sleep=sleep)
    pull(make_puller(stock, served, rate=rate), image)
    assert now[0] == pytest.approx(sum(image.blobs.values()) / 100_000, rel=0.1)


@pytest.mark.parametrize(("status", "is_temporary"), [(404, False), (401, False), (403, False)])
def test_what_the_registry_refuses_is_permanent(
    served: Served, stock: DeviceStock, image: Published, status: int, is_temporary: bool
) -> None:
    served.registry.give(f"/v2/digits/manifests/{image.digest}", status=status)
    with pytest.raises(PullError, match=str(status)) as caught:
        pull(make_puller(stock, served), image)
    assert caught.value.is_temporary is is_temporary


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_registry_that_fails_is_temporary(
    served: Served, stock: DeviceStock, image: Published, status: int
) -> None:
    served.registry.give(f"/v2/digits/blobs/{image.model}", status=status)
    with pytest.raises(PullError, match=str(status)) as caught:
        pull(make_puller(stock, served), image)
    assert caught.value.is_temporary


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid:5000"])
def test_a_registry_that_is_not_reached_is_temporary(
    served: Served, stock: DeviceStock, image: Published, host: str
) -> None:
    puller = make_puller(stock, served)
    puller._host = host
    with pytest.raises(PullError) as caught:
        pull(puller, image)
    assert caught.value.is_temporary


def test_a_network_that_fails_at_a_referrer_does_not_make_the_image_untrusted(
    served: Served, stock: DeviceStock, image: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    def route(exchange: Exchange) -> None:
        monkeypatch.setattr(addresses, "resolve", lambda host, port: [])
        exchange.cut()

    served.registry.on("GET", f"/v2/digits/manifests/{image.referrers[0]}", route)
    with pytest.raises(PullError, match="there is no host") as caught:
        pull(make_puller(stock, served), image)
    assert caught.value.is_temporary
    assert not isinstance(caught.value, UntrustedError)


def test_the_token_is_the_password(served: Served, stock: DeviceStock, image: Published) -> None:
    basic = "Basic ZGV2aWNlOnNlY3JldC13b3Jk"

    def guard(exchange: Exchange) -> bool:
        if exchange.headers.get("Authorization") == basic:
            return True
        exchange.reply(401, headers={"WWW-Authenticate": 'Basic realm="inferry"'})
        return False

    served.registry.guard = guard
    pull(make_puller(stock, served, token="secret-word"), image)
    with pytest.raises(PullError, match="401") as caught:
        pull(make_puller(stock, served, token="wrong-word"), put_image(served.store, version=5))
    assert "wrong-word" not in str(caught.value)
    assert not caught.value.is_temporary


def test_a_url_that_says_https_is_never_asked_without(served: Served, stock: DeviceStock) -> None:
    puller = make_puller(stock, served, is_plain_allowed=True)
    assert puller._is_plain
    secure = type(puller)(stock, "https://hub.example", token=None, trusted=[],
                          is_plain_allowed=True)  # fmt: skip
    assert not secure._is_plain
