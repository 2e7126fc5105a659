"""What a script finds when it imports: the Azure names, and its own modules rather than ours.

Two finders go to the front of ``sys.meta_path`` and one to its end:

* the exact names below are our modules, whether or not a real azureml package is installed; they
  are loaded only when the script imports them, because they need werkzeug;
* top-level names of this distribution but ``scoring`` are looked up everywhere but beside us;
* parents of the Azure names that nobody provides are empty packages.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

PROVIDED = {
    "azureml.contrib.services.aml_request": "scoring.azure.aml_request",
    "azureml.contrib.services.aml_response": "scoring.azure.aml_response",
    "azureml_inference_server_http.api.aml_request": "scoring.azure.aml_request",
    "azureml_inference_server_http.api.aml_response": "scoring.azure.aml_response",
    "azureml_inference_server_http.log_config": "scoring.azure.logging_config",
}
PARENTS = frozenset(
    name.rsplit(".", depth)[0] for name in PROVIDED for depth in range(1, name.count(".") + 1)
)
OURS = frozenset({"registry", "runtime", "edge", "fpga", "benchmarks", "tests"})
INSTALL_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def install() -> None:
    """Put the finders in place, once per process."""
    sys.meta_path[:0] = [_Provided(), _NotOurs()]
    sys.meta_path.append(_Parents())


class _Alias(Loader):
    """Loads a name as the module that has another name."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__spec__.name if module.__spec__ else module.__name__
        sys.modules[name] = importlib.import_module(PROVIDED[name])


class _Empty(Loader):
    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        return None


class _Provided(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, _Alias()) if fullname in PROVIDED else None


class _Parents(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, _Empty(), is_package=True) if fullname in PARENTS else None


class _NotOurs(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in OURS:
            return None
        elsewhere = [entry for entry in sys.path if os.path.abspath(entry) != INSTALL_ROOT]
        spec = PathFinder.find_spec(fullname, elsewhere, target)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return spec


def hidden_by_us(folder: str) -> str | None:
    """The path of a module ``scoring`` in ``folder`` that scripts could never import, if any.

    A folder ``scoring`` without ``__init__.py`` is none: its modules are joined to ours."""
    spec = PathFinder.find_spec("scoring", [folder])
    if spec is None:
        return None
    if spec.origin is None:
        _join(list(spec.submodule_search_locations or ()))
        return None
    ours = os.path.join(INSTALL_ROOT, "scoring", "__init__.py")
    return None if os.path.realpath(spec.origin) == os.path.realpath(ours) else spec.origin


def _join(folders: list[str]) -> None:
    package = sys.modules["scoring"]
    package.__path__.extend(folder for folder in folders if folder not in package.__path__)
