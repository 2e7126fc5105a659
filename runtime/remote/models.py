"""Models of a workspace elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from registry import tree
from registry.aliases import AliasChange
from registry.bundle_file import write_model_bundle
from registry.errors import DamagedBlobError, InvalidSourceError, NotFoundError
from registry.folders import added_files, new_folder, write_file
from registry.formats import check_formats
from registry.records import Model, StoredFile
from runtime.remote.client import ServiceClient
from runtime.remote.pages import walk
from runtime.remote.transfers import Progress, Transfers
from runtime.workspace_service.routes import models as routes
from runtime.workspace_service.routes.upkeep import get_settings

Found = list[Model]
Changes = list[AliasChange]


class RemoteModels:
    """As registry.models.Models."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self._transfers = Transfers(client)

    def register(
        self,
        path: Path | str,
        *,
        name: str,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str = "",
        run: str | None = None,
        allow_pickle: bool = False,
        on_progress: Progress | None = None,
    ) -> Model:
        """As Models.register: what the service does not have is uploaded first. The same again goes
        on where it was cut."""
        files = tree.walk(Path(path))
        policy = self._client.ask(get_settings).formats
        check_formats(  # before gigabytes are sent; the service checks, too
            files,
            allow_pickle=allow_pickle or policy.allows_pickle,
            refuse_unknown=not policy.allows_unknown,
        )

        def registered(*, again: bool) -> Model:
            return self._client.ask(
                routes.register,
                name=name,
                files=tuple(self._transfers.send(files, on_progress, again=again)),
                tags=dict(tags or {}),
                properties=dict(properties or {}),
                description=description,
                run=run,
                allow_pickle=allow_pickle,
            )

        try:
            return registered(again=False)
        except DamagedBlobError:  # of a file that the service has had before
            return registered(again=True)

    def list(
        self,
        *,
        name: str | None = None,
        tags: Sequence[str] = (),
        latest: bool = False,
        limit: int | None = None,
    ) -> Found:
        """As Models.list."""
        return [
            *walk(
                self._client,
                routes.list_models,
                limit,
                name=name,
                tags=tuple(tags),
                latest=latest,
            )
        ]

    def get(self, ref: str) -> Model:
        """As Models.get."""
        return self._client.ask(routes.get, ref=ref)

    def tag(
        self, ref: str, *, set: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> Model:
        """As Models.tag."""
        return self._client.ask(routes.tag, ref=ref, set=dict(set or {}), remove=tuple(remove))

    def describe(self, ref: str, description: str) -> Model:
        """As Models.describe."""
        return self._client.ask(routes.describe, ref=ref, description=description)

    def add_properties(self, ref: str, properties: Mapping[str, str]) -> Model:
        """As Models.add_properties."""
        return self._client.ask(routes.add_properties, ref=ref, properties=dict(properties))

    def delete(self, ref: str) -> Model:
        """As Models.delete."""
        return self._client.ask(routes.delete, ref=ref)

    def chunks(self, ref: str, path: str) -> tuple[StoredFile, Iterator[bytes]]:
        """As Models.chunks."""
        model = self.get(ref)
        for file in model.files:
            if file.path == path:
                return file, self._fetched(model, file)
        raise NotFoundError(f"the model {ref} has no file {path!a}")

    def download(self, ref: str, target: Path | str, *, force: bool = False) -> Path:
        """As Models.download."""
        model = self.get(ref)
        tree.check_paths([file.path for file in model.files])  # a service may lie
        paths = [file.path for file in model.files]
        with added_files(Path(target), paths, force=force) as folder:
            for file in model.files:
                write_file(folder / file.path, self._fetched(model, file))
        return Path(target)

    def bundle(self, ref: str, target: Path | str) -> Path:
        """As Models.bundle."""
        model = self.get(ref)
        if model.entry is None:
            raise InvalidSourceError(
                f"model {model.reference} has not just one .onnx file; serve it with a script:"
                " inferry image create NAME --model ... --script score.py"
            )
        tree.check_paths([file.path for file in model.files])
        with new_folder(Path(target)) as folder:
            for file in model.files:
                path = folder / "models" / model.name / str(model.version) / file.path
                write_file(path, self._fetched(model, file))
            write_model_bundle(folder, model)
        return Path(target)

    def _fetched(self, model: Model, file: StoredFile) -> Iterator[bytes]:
        given = {"ref": model.reference, "file": file.path}
        return self._transfers.fetch(routes.download, given, file.digest)


class RemoteAliases:
    """As registry.aliases.Aliases; the service writes down who changed one."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def set(self, model: str, alias: str, version: int, *, who: str = "") -> None:
        """As Aliases.set."""
        self._client.ask(routes.set_alias, name=model, alias=alias, version=version)

    def remove(self, model: str, alias: str, *, who: str = "") -> None:
        """As Aliases.remove."""
        self._client.ask(routes.remove_alias, name=model, alias=alias)

    def get(self, model: str, alias: str) -> int:
        """As Aliases.get."""
        found = self.of(model)
        if alias not in found:
            raise NotFoundError(f"the model {ascii(model)[:80]} has no alias {ascii(alias)[:80]}")
        return found[alias]

    def of(self, model: str) -> dict[str, int]:
        """As Aliases.of."""
        try:
            return self._client.ask(routes.list_aliases, name=model)
        except NotFoundError:
            return {}

    def history(self, model: str, alias: str | None = None) -> Changes:
        """As Aliases.history."""
        try:
            return [*walk(self._client, routes.alias_history, name=model, alias=alias)]
        except NotFoundError:
            return []
