"""What of the service's own machine a contributor may use: not its engine's images, and not more
than a few of its threads."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from registry.deployments import Hooks, ServiceSettings
from registry.errors import InvalidSourceError, RegistryError
from runtime.errors import InferryError
from runtime.workspace_service.image_orders import check_base
from runtime.workspace_service.routes import deployments
from tests.registry.onnx_files import adder
from tests.runtime.remote.served import Served, serving

BASE = "docker:team/private:1"


def test_an_image_of_the_engine_is_an_owners_to_name(tmp_path: Path) -> None:
    with serving({"default": tmp_path / "ws"}) as served:
        for pipeline in (False, True):
            with pytest.raises((InvalidSourceError, InferryError), match="an owner's to name"):
                _make(served, "contributor", tmp_path, is_pipeline=pipeline)
        with pytest.raises((RegistryError, InferryError)) as refused:
            _make(served, "owner", tmp_path, is_pipeline=False)
        assert "an owner's to name" not in str(refused.value)


def _make(served: Served, role: str, folder: Path, *, is_pipeline: bool) -> None:
    token = served.site.distributions["default"].tokens.create(
        f"{role}-{is_pipeline}",
        role,  # type: ignore[arg-type]
        None,
    )
    with served.remote(token=token) as remote:
        if is_pipeline:
            from runtime.workspace_service.routes import pipelines

            document = (
                '{"name": "x", "is_filled": true, "steps": [{"kind": "image", "name": "i",'
                f' "models": ["m:1"], "base": "{BASE}"}}]}}'
            )
            remote.client.ask(pipelines.run, id="a" * 32, pipeline=document)
        else:
            remote.models.register(adder(folder / "m.onnx"), name="m")
            remote.images.create("i", models=["m"], base=BASE, proof=False)


def test_a_base_of_the_engine_is_one_whatever_its_name() -> None:
    for text in (BASE, "docker:x"):
        assert check_base(text, allows_engine=True) == text
        with pytest.raises(InvalidSourceError):
            check_base(text, allows_engine=False)
    assert check_base("docker://python:3.11", allows_engine=False)


def test_readers_of_logs_hold_few_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({"default": tmp_path / "ws"}) as served, served.remote() as remote:
        taken = 0
        while deployments._readers.acquire(blocking=False):
            taken += 1
        try:
            assert taken == deployments.READERS_AT_ONCE
            with pytest.raises(InferryError, match="others are asking just now"):
                remote.client.ask(deployments.logs, name="web", replica="r")
            assert remote.models.list() == []
        finally:
            for _ in range(taken):
                deployments._readers.release()


def test_a_reader_sees_no_address_program_or_file_that_a_deployment_has(tmp_path: Path) -> None:
    secret = "s3cr3t-path"
    service = ServiceSettings(
        hooks=Hooks(
            before_webhook=f"https://hooks.example/{secret}",
            after_command=(f"/opt/{secret}/run", "--token", secret),
        ),
        external_scale=f"http://scaler.example:81/a?key={secret}",
    )
    with serving({"default": tmp_path / "ws"}) as served:
        local = served.local()
        local.models.register(adder(tmp_path / "m.onnx"), name="m")
        local.images.create("i", models=["m"], base="none", proof=False)
        local.deployments.create("web", "i", actor="ann", service=service)
        tokens = served.site.distributions["default"].tokens
        reader = tokens.create("r", "reader", None)
        contributor = tokens.create("c", "contributor", None)
        with served.remote(token=reader) as remote:
            [found] = remote.deployments.list()
            assert found == remote.deployments.get("web")
            assert found.service.hooks.before_webhook == "https://hooks.example/..."
            assert found.service.hooks.after_command == ("...",)
            assert found.service.external_scale == "http://scaler.example/..."
            said = [repr(found), repr(remote.deployments.ledger("web"))]
            page = httpx.get(
                f"{served.url}/api/v1/workspaces/default/deployments/web",
                headers={"Authorization": f"Bearer {reader}"},
            )
            assert page.status_code == 200
            assert secret not in "".join([*said, page.text])
        with served.remote(token=contributor) as remote:
            assert remote.deployments.get("web").service == service
            unchanged = remote.deployments.update("web", actor="c", service=service)
            assert unchanged.service == service
