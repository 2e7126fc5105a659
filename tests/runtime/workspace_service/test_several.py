"""Several workspaces in one service: each by its name, none through another's door."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import InvalidNameError, NoWorkspaceError
from runtime.errors import BadValueError
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.repositories import workspace_of
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site, read_roots
from tests.runtime.workspace_service.asked import ask

API = "/api/v1/workspaces"


def _site(folder: Path, *names: str) -> Site:
    for name in names:
        workspace = Workspace.init(folder / name, base="none")
        (folder / "w.txt").write_text(name)
        workspace.models.register(folder / "w.txt", name=f"of-{name}")
    return Site({name: folder / name for name in names})


def test_each_has_its_own(tmp_path: Path) -> None:
    app = ServiceApp(_site(tmp_path, "a", "b"), ServiceConfig())
    for name in ("a", "b"):
        found = ask(app, "GET", f"{API}/{name}/models").json()
        assert [model["name"] for model in found] == [f"of-{name}"]
    assert ask(app, "GET", f"{API}/c/models").status_code == 404
    told = ask(app, "GET", "/api/v1/info").json()
    assert (told["workspaces"], told["default"], told["role"]) == (["a", "b"], "a", "owner")


def test_a_token_is_of_one(tmp_path: Path) -> None:
    site = _site(tmp_path, "a", "b")
    app = ServiceApp(site, ServiceConfig())
    secrets = {n: site.distributions[n].tokens.create("me", "owner", None) for n in ("a", "b")}
    for name in ("a", "b"):
        for other in ("a", "b"):
            headers = {"Authorization": f"Bearer {secrets[name]}"}
            status = ask(app, "GET", f"{API}/{other}/models", headers=headers).status_code
            assert status == (200 if name == other else 401)


def test_one_without_tokens_leaves_the_service_to_this_machine(tmp_path: Path) -> None:
    site = _site(tmp_path, "a", "b")
    site.distributions["a"].tokens.create("me", "owner", None)
    assert not site.needs_tokens()
    site.distributions["b"].tokens.create("me", "owner", None)
    assert site.needs_tokens()


def test_images_of_another_workspace_have_its_name_before_theirs(tmp_path: Path) -> None:
    site = _site(tmp_path, "a", "b")
    app = ServiceApp(site, ServiceConfig())
    for prefix in ("", "a/", "b/"):
        begun = ask(app, "POST", f"/v2/{prefix}some/uploads-of/blobs/uploads/")
        assert begun.status_code == 202
        assert begun.headers["location"].startswith(f"/v2/{prefix}some/uploads-of/")
        data = prefix.encode() or b"none"
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        url = f"{begun.headers['location']}?digest={digest}"
        assert ask(app, "PUT", url, content=data).status_code == 201
    in_a = f"sha256:{hashlib.sha256(b'a/').hexdigest()}"
    in_b = f"sha256:{hashlib.sha256(b'b/').hexdigest()}"
    assert ask(app, "GET", f"/v2/some/uploads-of/blobs/{in_a}").content == b"a/"
    assert ask(app, "GET", f"/v2/b/some/uploads-of/blobs/{in_b}").content == b"b/"
    assert ask(app, "GET", f"/v2/some/uploads-of/blobs/{in_b}").status_code == 404
    assert ask(app, "GET", f"/v2/b/some/uploads-of/blobs/{in_a}").status_code == 404


@pytest.mark.parametrize("name", ["a", "b"])
def test_an_image_may_be_called_as_a_workspace_is(tmp_path: Path, name: str) -> None:
    site = _site(tmp_path, "a", "b")
    app = ServiceApp(site, ServiceConfig())
    data = b"{}"
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    begun = ask(app, "POST", f"/v2/{name}/blobs/uploads/")
    where = begun.headers["location"]
    assert where.startswith(f"/v2/{name}/blobs/uploads/")
    assert ask(app, "PUT", f"{where}?digest={digest}", content=data).status_code == 201
    assert ask(app, "GET", f"/v2/{name}/blobs/{digest}").content == data
    assert ask(app, "GET", f"/v2/b/{name}/blobs/{digest}").status_code == 404
    part = {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": part,
        "layers": [],
    }
    put = ask(
        app,
        "PUT",
        f"/v2/{name}/manifests/1",
        content=json.dumps(manifest).encode(),
        headers={"Content-Type": str(manifest["mediaType"])},
    )
    assert put.status_code == 201
    assert ask(app, "GET", f"/v2/{name}/manifests/1").json() == manifest
    assert ask(app, "GET", f"/v2/{name}/tags/list").json() == {"name": name, "tags": ["1"]}
    assert ask(app, "GET", "/v2/_catalog").json() == {"repositories": [name]}
    assert ask(app, "GET", "/v2/b/_catalog").json() == {"repositories": []}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/b/x/manifests/1", "b"),
        ("/v2/b/_catalog", "b"),
        ("/v2/b/", "b"),
        ("/v2/b/b/tags/list", "b"),
        ("/v2/b/manifests/manifests/1", "b"),
        ("/v2/b/manifests/1", None),
        ("/v2/b/tags/list", None),
        ("/v2/b/blobs/uploads/", None),
        ("/v2/b/blobs/uploads/0", None),
        ("/v2/b/referrers/sha256:0", None),
        ("/v2/c/x/manifests/1", None),
        ("/v2/b", None),
        ("/v2//b/x/manifests/1", None),
        ("/healthz", None),
    ],
)
def test_what_a_path_begins_with(path: str, expected: str | None) -> None:
    assert workspace_of(path, {"a", "b"}) == expected


def test_docker_login_takes_a_token_of_any(tmp_path: Path) -> None:
    site = _site(tmp_path, "a", "b")
    app = ServiceApp(site, ServiceConfig())
    secrets = [each.tokens.create("me", "puller", None) for each in site.distributions.values()]
    for secret in secrets:
        assert ask(app, "GET", "/v2/", headers={"Authorization": f"Bearer {secret}"}).is_success
    assert ask(app, "GET", "/v2/", headers={"Authorization": "Bearer no"}).status_code == 401
    pulled = ask(app, "GET", "/v2/b/x/tags/list", headers={"Authorization": f"Bearer {secrets[0]}"})
    assert pulled.status_code == 401


def test_folders_have_names() -> None:
    assert list(read_roots(["/x/.inferry", "/y/.inferry", "/z", "w=/v"])) == [
        *("default", "y", "z", "w")
    ]
    with pytest.raises(BadValueError, match="two workspaces"):
        read_roots(["/a", "/x/.inferry", "/y/x"])
    with pytest.raises(InvalidNameError):
        read_roots(["../x=/a"])


def test_a_folder_that_is_no_workspace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoWorkspaceError):
        Site({"default": tmp_path})
