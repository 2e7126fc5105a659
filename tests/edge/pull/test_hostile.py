"""A registry, or what answers in its place, that lies, stalls or attacks: one clear error, and
nothing is whole that is not."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable

import pytest

from edge.errors import PullError, UntrustedError
from edge.pull import CancelledError
from edge.pull.downloads import MIN_WINDOW_BYTES, WINDOW_S, Pace
from edge.pull.parts import WrongBytesError
from edge.pull.referrers import MAX_ALL_BYTES
from edge.stock.device_stock import DeviceStock
from registry import media_types
from registry.container_config import encoded
from registry.trust.artifacts import Descriptor, sbom_manifest
from tests.edge.pull.served import Served, make_puller, pull
from tests.edge.stock.signed_images import KEY, Published, publish, put_image
from tests.registry.remote.hostile_registry import Exchange

MODEL = os.urandom(300_000)
HTML = b"<html><body>Please log in to the network of this hotel</body></html>"
Change = Callable[[bytes], bytes]


@pytest.fixture
def image(served: Served) -> Published:
    found = put_image(served.store, MODEL)
    served.add(found)
    return found


def refused(served: Served, stock: DeviceStock, image: Published, message: str) -> PullError:
    """What a pull says, which leaves nothing whole."""
    with pytest.raises(PullError, match=message) as caught:
        pull(make_puller(stock, served), image)
    assert not stock.has(image.digest)
    assert not stock.blobs.has(image.model)
    assert "\n" not in str(caught.value)
    return caught.value


def test_wrong_bytes_are_thrown_away_and_fetched_once_more(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    path = f"/v2/digits/blobs/{image.model}"
    wrong = b"!" + served.store.read(image.model)[1:]
    served.registry.give(path, wrong)
    error = refused(served, stock, image, "other bytes")
    assert isinstance(error, WrongBytesError)
    assert not error.is_temporary
    assert len(served.asked(image.model)) == 2
    (part,) = stock.parts.iterdir()
    assert part.stat().st_size == 0


def test_wrong_bytes_that_are_right_the_second_time_do(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    data = served.store.read(image.model)
    answers = iter([bytes(len(data)), data])
    served.registry.on(
        "GET", f"/v2/digits/blobs/{image.model}", lambda e: e.reply(200, next(answers))
    )
    pull(make_puller(stock, served), image)
    assert stock.has(image.digest)


@pytest.mark.parametrize(
    "change", [lambda d: d + b"!", lambda d: d[:-1], lambda d: b"", lambda d: HTML]
)
def test_another_length_than_is_due_is_not_even_read(
    served: Served, stock: DeviceStock, image: Published, change: Change
) -> None:
    body = change(served.store.read(image.model))
    served.registry.give(f"/v2/digits/blobs/{image.model}", body)
    error = refused(served, stock, image, "are due")
    assert error.is_temporary, "a network that wants a login answers so"
    (part,) = stock.parts.iterdir()
    assert part.stat().st_size == 0


def test_a_login_page_in_the_middle_spoils_nothing(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    data = served.store.read(image.model)
    part = stock.parts / f"{image.model.removeprefix('sha256:')}.part"
    part.write_bytes(data[:100_000])
    served.registry.give(f"/v2/digits/blobs/{image.model}", HTML)
    refused(served, stock, image, "are due")
    assert part.read_bytes() == data[:100_000]


def test_a_body_without_length_or_end_is_left(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Transfer-Encoding", "chunked")
        exchange.end_headers()
        while not served.registry.ending.is_set():
            exchange.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    served.registry.on("GET", f"/v2/digits/blobs/{image.model}", endless)
    refused(served, stock, image, "more than the size")
    (part,) = stock.parts.iterdir()
    assert part.stat().st_size <= image.blobs[image.model]
    served.registry.on("GET", "/v2/digits/manifests/.*", endless)
    with pytest.raises(PullError, match="manifest of more than"):
        pull(make_puller(stock, served), put_image(served.store, version=9))


@pytest.mark.parametrize(
    "said", ["bytes 7-{end}/{size}", "", "bytes 0-{end}/{size}", "bytes */{size}", "\x00"]
)
def test_another_range_than_asked_is_refused(
    served: Served, stock: DeviceStock, image: Published, said: str
) -> None:
    data = served.store.read(image.model)
    part = stock.parts / f"{image.model.removeprefix('sha256:')}.part"
    part.write_bytes(data[:1000])
    headers = {"Content-Range": said.format(end=len(data) - 1, size=len(data))}
    served.registry.give(
        f"/v2/digits/blobs/{image.model}", data[1000:], status=206, headers=headers
    )
    refused(served, stock, image, r"another part|as HTTP should|cut the connection")
    assert part.stat().st_size == 1000


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "http://user:secret-word@127.0.0.1/x",
        "",
    ],
)
def test_redirects_into_the_network_are_not_followed(
    served: Served, stock: DeviceStock, image: Published, location: str
) -> None:
    served.registry.give(
        f"/v2/digits/blobs/{image.model}", status=307, headers={"Location": location}
    )
    error = refused(served, stock, image, "not followed|password in it|redirects more than")
    assert "secret-word" not in str(error)


@pytest.mark.parametrize(
    "answer",
    [HTML, b"[" * 200_000, b"\xff\xfe", b"", b"7", b'{"schemaVersion": 1}'],
)
def test_what_is_no_manifest_is_refused_and_may_be_a_login_page(
    served: Served, stock: DeviceStock, image: Published, answer: bytes
) -> None:
    served.registry.give("/v2/digits/manifests/.*", answer, headers={"Content-Type": "text/html"})
    error = refused(served, stock, image, "does not have the digest")
    assert error.is_temporary
    assert list(stock.blobs.paths.blobs.iterdir()) == []


@pytest.mark.parametrize("answer", [HTML, b"[" * 200_000, b"{}", b'{"schemaVersion": 2}'])
def test_a_list_of_referrers_that_is_none_is_refused(
    served: Served, stock: DeviceStock, image: Published, answer: bytes
) -> None:
    served.registry.give(
        "/v2/digits/referrers/.*", answer, headers={"Content-Type": media_types.INDEX}
    )
    error = refused(served, stock, image, "digits:1")
    assert error.is_temporary or isinstance(error, UntrustedError)


def test_another_manifest_than_asked_is_refused(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    evil = put_image(served.store, b"evil", version=2)
    headers = {"Content-Type": media_types.MANIFEST}
    served.registry.give(
        f"/v2/digits/manifests/{image.digest}", served.store.read(evil.digest), headers=headers
    )
    refused(served, stock, image, "does not have the digest")


def test_a_signed_manifest_that_makes_no_sense_is_refused_before_anything_large(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    document = json.loads(served.store.read(image.digest))
    document["config"]["size"] = 10**9
    odd = publish(served.store, encoded(document), [KEY], "digits", 1)
    served.add(odd)
    refused(served, stock, odd, "config has more than")
    assert not served.sent


def test_a_config_that_makes_no_sense_costs_no_layer(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    document = json.loads(served.store.read(image.digest))
    digest, size = served.store.put([b'{"rootfs": {"diff_ids": []}}'])
    document["config"].update(digest=digest, size=size)
    odd = publish(served.store, encoded(document), [KEY], "digits", 1)
    served.add(odd)
    refused(served, stock, odd, "other layers than its manifest")
    assert image.model not in served.sent


def test_a_flood_of_referrers_costs_little(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    """Whoever may push may add them; only so much of them is read."""
    subject = Descriptor(image.digest, len(served.store.read(image.digest)))
    flood = []
    for number in range(5):
        artifact = sbom_manifest(subject, bytes([number]) * (MAX_ALL_BYTES // 4))
        for blob in artifact.blobs:
            served.store.put([blob])
        flood.append(served.store.put([artifact.manifest])[0])
    served.referrers[image.digest] = [*flood, *image.referrers]
    with pytest.raises(UntrustedError):
        pull(make_puller(stock, served), image)
    assert sum(served.sent.values()) <= MAX_ALL_BYTES
    served.referrers[image.digest] = [*flood[:3], *image.referrers]
    pull(make_puller(stock, served), image)


def test_a_referrer_of_another_kind_is_not_read(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    document = json.loads(served.store.read(image.referrers[0]))
    document["artifactType"] = "application/vnd.other"
    other, _ = served.store.put([encoded(document)])
    served.referrers[image.digest].insert(0, other)
    pull(make_puller(stock, served), image)
    assert not served.asked(other)


def test_many_referrers_of_other_kinds_hide_no_signature(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    document = json.loads(served.store.read(image.referrers[0]))
    others = []
    for number in range(100):
        document["artifactType"] = f"application/vnd.other-{number}"
        others.append(served.store.put([encoded(document)])[0])
    served.referrers[image.digest][:0] = others
    pull(make_puller(stock, served), image)


def test_a_drip_is_left_after_a_minute(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    """Each byte comes, as the clock says, 20 s after the one before."""
    data = served.store.read(image.model)
    now = itertools.count(0.0, 20.0)

    def drip(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Length", str(len(data)))
        exchange.end_headers()
        for at in range(len(data)):
            exchange.wfile.write(data[at : at + 1])
            if served.registry.ending.wait(0.005):
                break

    served.registry.on("GET", f"/v2/digits/blobs/{image.model}", drip)
    with pytest.raises(PullError, match="almost nothing") as caught:
        pull(make_puller(stock, served, clock=lambda: next(now)), image)
    assert caught.value.is_temporary
    assert len(served.asked(image.model)) == 1


@pytest.mark.parametrize(("share", "is_left"), [(1.1, False), (0.9, True)])
def test_a_slow_link_is_no_drip(share: float, is_left: bool) -> None:
    pace = Pace()
    took_s = WINDOW_S * 1000 / (MIN_WINDOW_BYTES * share)

    def hour() -> None:
        for _ in range(int(3600 / took_s)):
            pace.count(1000, took_s)

    if is_left:
        with pytest.raises(PullError):
            hour()
    else:
        hour()


def test_a_connection_that_is_always_cut_is_given_up_for_now(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    served.registry.on("GET", f"/v2/digits/blobs/{image.model}", lambda exchange: exchange.cut())
    waits: list[float] = []
    with pytest.raises(PullError, match="cut the connection") as caught:
        pull(make_puller(stock, served, sleep=waits.append, draw=lambda: 1.0), image)
    assert caught.value.is_temporary
    assert len(served.asked(image.model)) == 20
    assert max(waits) <= 0.5, "a cancel counts while it waits"


def test_a_server_that_says_nothing_is_left(
    served: Served, stock: DeviceStock, image: Published
) -> None:
    def silent(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Length", str(len(MODEL)))
        served.registry.ending.wait(60)

    served.registry.on("GET", "/v2/digits/manifests/.*", silent)
    assert refused(served, stock, image, "stopped answering").is_temporary


def test_a_cancel_is_no_failure(served: Served, stock: DeviceStock, image: Published) -> None:
    with pytest.raises(CancelledError, match="was cancelled"):
        pull(make_puller(stock, served), image, is_cancelled=lambda: True)
