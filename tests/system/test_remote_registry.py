"""Our client of other registries against Debian's docker-registry, beside skopeo."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from registry.errors import RemoteError
from registry.platforms import Platform
from registry.remote.credentials import Credentials
from registry.remote.options import RemoteOptions
from registry.remote.pulling import list_tags, pull_image, pull_manifest_bytes
from registry.remote.pushing import PushReport, push_image
from registry.remote.referrers import list_referrers
from tests.engine import PASSWORD, USER, DockerRegistry, Registries, program
from tests.registry.remote.hostile_registry import Exchange, HostileRegistry
from tests.registry.remote.small_images import (
    SBOM,
    blobs_in,
    new_store,
    nothing,
    put_image,
    put_index,
    put_referrer,
)

AMD64, ARM64 = Platform("amd64"), Platform("arm64")
NOBODY = RemoteOptions(environment={})
KEYS = RemoteOptions(
    environment={"INFERRY_REGISTRY_USER": USER, "INFERRY_REGISTRY_PASSWORD": PASSWORD}
)
Skopeo = Callable[..., str]


@pytest.fixture
def skopeo() -> Skopeo:
    """What ``skopeo ARGUMENTS`` prints."""
    command = program("skopeo")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [command, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_skopeo_reads_what_we_push_and_we_what_it_copies(
    docker_registry: DockerRegistry, skopeo: Skopeo, tmp_path: Path
) -> None:
    store, back = new_store(tmp_path / "a"), new_store(tmp_path / "b")
    digest = put_image(store, [b"one" * 1000, b"two" * 1000])
    ours = f"{docker_registry.host}/team/digits:1"
    done: list[int] = []
    totals: list[int] = []
    report = push_image(ours, digest, store, done.append, on_total=totals.append, options=NOBODY)
    assert (report.digest, report.blobs_sent, report.blobs_skipped) == (digest, 3, 0)
    assert [sum(done)] == totals
    inspected = skopeo("inspect", "--tls-verify=false", f"docker://{ours}")
    assert json.loads(inspected)["Digest"] == digest
    copied = f"{docker_registry.host}/team/copied:2"
    skopeo(
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--preserve-digests",
        f"docker://{ours}",
        f"docker://{copied}",
    )
    pulled = pull_image(copied, AMD64, back, nothing, options=NOBODY)
    assert pulled.digest == digest
    assert pulled.manifest_bytes == store.read(digest)
    assert blobs_in(back) == blobs_in(store)
    assert list_tags(copied, options=NOBODY) == ["2"]
    layout = tmp_path / "layout"
    keep = ("--src-tls-verify=false", "--preserve-digests")  # else it compresses plain layers
    skopeo("copy", *keep, f"docker://{ours}", f"oci:{layout}:1")
    index = json.loads((layout / "index.json").read_text())
    assert index["manifests"][0]["digest"] == digest


def test_after_a_change_of_one_layer_only_that_layer_is_sent(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    store = new_store(tmp_path)
    base = b"base" * 500_000
    first = put_image(store, [base, b"weights 1" * 100_000])
    second = put_image(store, [base, b"weights 2" * 100_000])
    ref = f"{docker_registry.host}/digits"
    push_image(f"{ref}:1", first, store, nothing, options=NOBODY)
    report = push_image(f"{ref}:2", second, store, nothing, options=NOBODY)
    changed = json.loads(store.read(second))["layers"][1]["size"]
    assert (report.blobs_sent, report.blobs_skipped) == (2, 1)  # the layer and the config
    assert report.bytes_sent <= changed * 1.01
    again = push_image(f"{ref}:3", second, store, nothing, options=NOBODY)
    assert (again.blobs_sent, again.blobs_skipped) == (0, 3)


def test_what_the_store_has_is_not_pulled_again(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    store, back = new_store(tmp_path / "a"), new_store(tmp_path / "b")
    first = put_image(store, [b"base" * 100_000, b"1" * 50_000])
    second = put_image(store, [b"base" * 100_000, b"2" * 50_000])
    for tag, digest in (("1", first), ("2", second)):
        push_image(f"{docker_registry.host}/d:{tag}", digest, store, nothing, options=NOBODY)
    pull_image(f"{docker_registry.host}/d:1", AMD64, back, nothing, options=NOBODY)
    counted: list[int] = []
    pull_image(f"{docker_registry.host}/d:2", AMD64, back, counted.append, options=NOBODY)
    assert sum(counted) < 100_000


def test_a_blob_is_mounted_from_another_repository(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    store = new_store(tmp_path)
    digest = put_image(store, [b"base" * 100_000])
    base = json.loads(store.read(digest))["layers"][0]["digest"]
    push_image(f"{docker_registry.host}/one:1", digest, store, nothing, options=NOBODY)
    report = _pushed(f"{docker_registry.host}/two:1", digest, tmp_path, mounts={base: "one"})
    assert (report.blobs_sent, report.blobs_skipped) == (1, 1)
    absent = _pushed(f"{docker_registry.host}/three:1", digest, tmp_path, mounts={base: "none"})
    assert absent.blobs_sent == 2


def _pushed(ref: str, digest: str, root: Path, mounts: dict[str, str]) -> PushReport:
    return push_image(ref, digest, new_store(root), nothing, mounts=mounts, options=NOBODY)


def test_an_index_is_pushed_whole_and_pulled_by_platform(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    store, back = new_store(tmp_path / "a"), new_store(tmp_path / "b")
    images = {name: put_image(store, [name.encode()], architecture=name) for name in _TWO}
    index = put_index(store, images)
    ref = f"{docker_registry.host}/both:1"
    push_image(ref, index, store, nothing, options=NOBODY)
    assert pull_image(ref, ARM64, back, nothing, options=NOBODY).digest == images["arm64"]
    assert pull_image(ref, AMD64, back, nothing, options=NOBODY).digest == images["amd64"]
    data, media_type = pull_manifest_bytes(ref, options=NOBODY)
    assert data == store.read(index)
    assert media_type.endswith("index.v1+json")
    only = f"{docker_registry.host}/both@{images['amd64']}"
    with pytest.raises(RemoteError, match="made for linux/amd64, not for linux/arm64"):
        pull_image(only, ARM64, back, nothing, options=NOBODY)


_TWO = ("amd64", "arm64")


def test_referrers_are_found_by_the_tag_where_there_is_no_api(
    docker_registry: DockerRegistry, skopeo: Skopeo, tmp_path: Path
) -> None:
    store = new_store(tmp_path)
    digest = put_image(store, [b"x"])
    sbom = put_referrer(store, digest, b'{"bomFormat":"CycloneDX"}')
    signature = put_referrer(store, digest, b"signed", "application/vnd.inferry.signature")
    ref = f"{docker_registry.host}/digits:1"
    push_image(ref, digest, store, nothing, referrers=[sbom], options=NOBODY)
    push_image(ref, digest, store, nothing, referrers=[signature, sbom], options=NOBODY)
    found = list_referrers(ref, digest, options=NOBODY)
    assert {entry.digest for entry in found} == {sbom, signature}
    (only,) = list_referrers(ref, digest, artifact_type=SBOM, options=NOBODY)
    assert (only.digest, only.size_bytes) == (sbom, len(store.read(sbom)))
    tag = f"docker://{docker_registry.host}/digits:{digest.replace(':', '-')}"
    index = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", tag))
    assert {entry["artifactType"] for entry in index["manifests"]} == {
        SBOM,
        "application/vnd.inferry.signature",
    }
    assert list_referrers(ref, sbom, options=NOBODY) == []


def test_a_password_is_asked_for_and_never_shown(registries: Registries, tmp_path: Path) -> None:
    registry, store = registries(user=True), new_store(tmp_path)
    digest = put_image(store, [b"x" * 100_000])
    ref = f"{registry.host}/digits:1"
    with pytest.raises(RemoteError, match=f"401.*docker login {registry.host}") as refused:
        push_image(ref, digest, store, nothing, options=NOBODY)
    assert refused.value.status == 401
    wrong = RemoteOptions(credentials=Credentials(USER, "hunter2-wrong"))
    with pytest.raises(RemoteError, match="docker login") as refused:
        push_image(ref, digest, store, nothing, options=wrong)
    assert "hunter2" not in str(refused.value)
    assert push_image(ref, digest, store, nothing, options=KEYS).blobs_sent == 2
    assert pull_image(ref, AMD64, store, nothing, options=KEYS).digest == digest


def test_tls_is_verified_and_an_own_authority_is_trusted(
    registries: Registries, tmp_path: Path
) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    key, certificate, ca_file = (tmp_path / name for name in ("key.pem", "cert.pem", "ca.pem"))
    leaf.private_key_pem.write_to_path(key)
    leaf.cert_chain_pems[0].write_to_path(certificate)
    authority.cert_pem.write_to_path(ca_file)
    registry = registries(user=True, certificate=(certificate, key))
    store = new_store(tmp_path / "ws")
    digest = put_image(store, [b"x" * 100_000])
    ref = f"{registry.host}/digits:1"
    with pytest.raises(RemoteError, match=r"not trusted.*CA file"):
        push_image(ref, digest, store, nothing, options=KEYS)
    trusting = RemoteOptions(environment=KEYS.environment, ca_file=ca_file)
    push_image(ref, digest, store, nothing, options=trusting)
    assert pull_image(ref, AMD64, store, nothing, options=trusting).digest == digest
    elsewhere = f"localhost:{registry.host.rpartition(':')[2]}/digits:1"
    with pytest.raises(RemoteError, match="not trusted"):  # the certificate has no such name
        pull_image(elsewhere, AMD64, store, nothing, options=trusting)


def test_what_is_not_there_is_said_in_the_registrys_words(docker_registry: DockerRegistry) -> None:
    with pytest.raises(
        RemoteError, match=r"404 for the manifest of .*/none:1 .*UNKNOWN"
    ) as refused:
        pull_manifest_bytes(f"{docker_registry.host}/none:1", options=NOBODY)
    assert refused.value.status == 404


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenService:
    """Gives the user what it asks for, and others only pull, as signed tokens (JWT, RS256)."""

    def __init__(self, host: HostileRegistry, leaf: trustme.LeafCert, life_s: int) -> None:
        self.issued: list[list[str]] = []
        self._life_s = life_s
        pem = leaf.private_key_pem.bytes()
        key = serialization.load_pem_private_key(pem, None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._key = key
        lines = leaf.cert_chain_pems[0].bytes().decode().split("-----")[2]
        self._certificate = "".join(lines.split())
        host.on("GET", r"/token\?.*", self._issue)

    def _issue(self, exchange: Exchange) -> None:
        known = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        may_push = exchange.headers.get("Authorization") == known
        scopes = parse_qs(urlsplit(exchange.path).query).get("scope", [])
        self.issued.append(scopes)
        access = []
        for kind, name, actions in (scope.split(":") for scope in scopes):
            allowed = [a for a in actions.split(",") if may_push or a == "pull"]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": "issuer",
            "sub": USER,
            "aud": "service",
            "jti": "1",
            "access": access,
        }
        claims |= {"iat": now, "nbf": now - 60, "exp": now + 300}
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self._certificate]}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        answer = {"token": f"{signed}.{_base64url(signature)}", "expires_in": self._life_s}
        exchange.reply(200, json.dumps(answer).encode())


def test_tokens_are_fetched_from_the_service_that_the_registry_names(
    registries: Registries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = authority.issue_cert("issuer.example", key_type=trustme.KeyType.RSA)
    store = new_store(tmp_path / "ws")
    one, two = (put_image(store, [content * 100_000]) for content in (b"1", b"2"))
    base = json.loads(store.read(one))["layers"][0]["digest"]
    with HostileRegistry() as host:
        service = TokenService(host, leaf, 300)
        monkeypatch.setenv("REGISTRY_AUTH", "token")
        monkeypatch.setenv("REGISTRY_AUTH_TOKEN_REALM", f"http://{host.host}/token")
        monkeypatch.setenv("REGISTRY_AUTH_TOKEN_SERVICE", "service")
        monkeypatch.setenv("REGISTRY_AUTH_TOKEN_ISSUER", "issuer")
        monkeypatch.setenv("REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE", str(tmp_path / "ca.pem"))
        registry = registries()
        ref = f"{registry.host}/team/digits:1"
        push_image(ref, one, store, nothing, options=KEYS)
        assert service.issued == [["repository:team/digits:pull,push"]]
        other = f"{registry.host}/team/other:1"
        mounts = {base: "team/digits"}
        assert push_image(other, one, store, nothing, mounts=mounts, options=KEYS).blobs_sent == 1
        push_image(ref, two, store, nothing, options=KEYS)
        back = new_store(tmp_path / "back")
        assert pull_image(ref, AMD64, back, nothing, options=NOBODY).digest == two
        with pytest.raises(RemoteError, match="401"):
            push_image(f"{registry.host}/team/new:1", one, store, nothing, options=NOBODY)


class CuttingProxy:
    """Passes bytes on to a server; cuts connections after so many bytes from the client."""

    def __init__(self, host: str, cuts: list[int]) -> None:
        name, _, port = host.rpartition(":")
        self._to = (name, int(port))
        self._cuts = cuts
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def host(self) -> str:
        """Where it listens."""
        return "{}:{}".format(*self._listening.getsockname())

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            self._sockets += [near, far]
            threading.Thread(target=self._pass, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        passed = 0
        try:
            while data := source.recv(65536):
                sink.sendall(data)
                passed += len(data)
                if counts and self._cuts and passed > self._cuts[0]:
                    self._cuts.pop(0)
                    break
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the other thread
            end.close()  # what still comes is answered by a reset

    def close(self) -> None:
        """Ends all connections."""
        self._listening.close()
        for end in self._sockets:
            end.close()


def test_a_push_whose_connection_is_cut_twice_arrives(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    store, back = new_store(tmp_path / "a"), new_store(tmp_path / "b")
    content = b"".join(n.to_bytes(4, "big") for n in itertools.islice(itertools.count(), 3_000_000))
    digest = put_image(store, [content])
    cuts = [5_000_000, 3_000_000]
    proxy = CuttingProxy(docker_registry.host, cuts)
    try:
        done: list[int] = []
        quick = RemoteOptions(environment={}, sleep=lambda seconds: None)
        report = push_image(f"{proxy.host}/x:1", digest, store, done.append, options=quick)
    finally:
        proxy.close()
    assert cuts == []
    layers = json.loads(store.read(digest))
    total = layers["layers"][0]["size"] + layers["config"]["size"]
    assert sum(done) == total
    assert report.bytes_sent >= total
    ref = f"{docker_registry.host}/x:1"
    assert pull_image(ref, AMD64, back, nothing, options=NOBODY).digest == digest
