"""What of a conda file becomes Python requirements: the version of Python, the pip part, and conda
packages that wheels can give. The rest is refused: an image made without a build has no conda.

YAML is loaded when a file is read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registry.dependencies.requirements import Wanted, read_requirement
from registry.dependencies.standards import canonical_name, normal_specifier
from registry.errors import RequirementsError

if TYPE_CHECKING:
    from registry.dependencies.yaml_tree import Tree

ESCAPE = "give a Dockerfile that installs it with --dockerfile, or leave it out"
IGNORED = frozenset(["name", "prefix"])
NOTES = {
    "channels": "channels are not used: all packages come from the Python index",
    "variables": "variables are not set in the image",
}
WHEEL_NAMES = {
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "dask-core": "dask",
    "opencv": "opencv-python-headless",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "pytables": "tables",
    "python-graphviz": "graphviz",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "ruamel-yaml": "ruamel.yaml",
    "seaborn-base": "seaborn",
    "tensorflow-base": "tensorflow",
}
"""Conda packages whose wheels have another name."""
_NATIVE_NAMES = """
    _libgcc_mutex _openmp_mutex binutils blas bzip2 ca-certificates compilers cudatoolkit cudnn
    cxx-compiler c-compiler expat ffmpeg fortran-compiler gcc gfortran git glib gmp graphviz gxx
    hdf5 icu intel-openmp jpeg krb5 lapack lcms2 libblas libcblas libffi libgcc libgcc-ng
    libgfortran libgfortran-ng libgfortran5 libgomp liblapack libopenblas libopencv libpng
    libprotobuf libsqlite libstdcxx libstdcxx-ng libtiff libuuid libwebp libxcb libxml2 libzlib
    llvm-openmp lz4-c make mkl mkl-service mpich nccl ncurses nodejs openblas openjdk openmpi
    openssl perl pytorch-cuda pytorch-mutex r-base readline rust sqlite sysroot_linux-64 tesseract
    tk tzdata unixodbc vc vs2015_runtime xz zlib zstd
"""
NATIVE = frozenset(_NATIVE_NAMES.split())
NATIVE_FORM = re.compile(
    r"(cuda|ld_impl|gcc|gxx|gfortran|binutils|sysroot|libcu|libnv|r|xorg)[-_].*|lib.*-ng|_.*"
)

_SPEC = re.compile(
    r"(?:(?P<channel>[A-Za-z0-9._/-]+)::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]*)\s*(?P<rest>.*)"
)
_VERSION = r"[0-9A-Za-z_.+!]+(?:\*)?"
_FUZZY = re.compile(rf"=?\s*(?P<version>{_VERSION})(?:[\s=]+(?P<build>[\w.*]+))?")
_EXACT = re.compile(rf"==\s*(?P<version>{_VERSION})(?:[\s=]+(?P<build>[\w.*]+))?")
_CLAUSE = re.compile(rf"(?P<operator>>=|<=|!=|==|~=|>|<|=)\s*(?P<version>{_VERSION})")


def read_conda(text: str) -> Wanted:
    """What a conda file wants. Raises RequirementsError."""
    from registry.dependencies.yaml_tree import read_yaml

    reader = _Reader()
    for key, value in read_yaml(text).pairs("a conda file"):
        reader.take(key, value)
    return reader.wanted()


class _Reader:
    """Collects what the file says."""

    def __init__(self) -> None:
        self._requirements: dict[str, None] = {}
        self._python: list[str] = []
        self._conda_names: set[str] = set()
        self._notes: dict[str, None] = {}
        self._has_dependencies = False

    def take(self, key: str, value: Tree) -> None:
        """One key of the file."""
        if key == "dependencies":
            self._has_dependencies = True
            for item in value.items("dependencies"):
                self._dependency(item)
        elif key not in IGNORED:
            self._notes[NOTES.get(key, f"{ascii(key)[:60]} is not used")] = None

    def wanted(self) -> Wanted:
        """All of it. Raises RequirementsError when nothing was there to be read."""
        if not self._has_dependencies:
            raise RequirementsError("the conda file has no 'dependencies:'")
        return Wanted(
            tuple(self._requirements),
            normal_specifier(",".join(self._python)) if self._python else None,
            frozenset(self._conda_names),
            tuple(self._notes),
        )

    def _dependency(self, item: Tree) -> None:
        if not item.is_map:
            self._package(item.text().strip(), item.where)
            return
        for key, value in item.pairs("an item of dependencies"):
            if key != "pip":
                raise RequirementsError(
                    f"{item.where}: {ascii(key)[:60]} under dependencies is not known;"
                    " only 'pip:' has a list"
                )
            for line in value.items("pip"):
                self._add(read_requirement(line.text(), line.where), line.where)

    def _package(self, spec: str, where: str) -> None:
        name, specifier, notes = _parse_spec(spec, where)
        self._notes.update(dict.fromkeys(notes))
        if name == "python":
            self._python += [specifier] if specifier else []
            return
        if name == "pip":
            return  # conda wants it listed when there is a pip part; the image does not need it
        canonical = canonical_name(name)
        if {name, canonical} & NATIVE or NATIVE_FORM.fullmatch(name):
            raise RequirementsError(
                f"{where}: the conda package '{name}' has no wheel, so it cannot be put into an"
                f" image without a build; {ESCAPE}"
            )
        wheel = WHEEL_NAMES.get(canonical, canonical)
        if wheel != canonical:
            self._notes[f"conda's {name} is {wheel} in the Python index"] = None
        self._conda_names.add(canonical_name(wheel))
        self._add(read_requirement(f"{wheel}{specifier}", where), where)

    def _add(self, requirement: str | None, where: str) -> None:
        if requirement is None:
            self._notes[f"{where}: inferry is left out, the image has its server"] = None
        else:
            self._requirements[requirement] = None


def _parse_spec(spec: str, where: str) -> tuple[str, str, list[str]]:
    """Name, version specifier as of Python's requirements, and notes."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise RequirementsError(f"{where}: {ascii(spec)[:80]} is no conda package")
    name = match["name"].lower()
    rest = match["rest"].strip()
    notes = []
    if match["channel"]:
        notes.append(f"{name} comes from the Python index, not from '{match['channel']}'")
    specifier, build = _specifier(rest)
    if specifier is None:
        raise RequirementsError(
            f"{where}: {ascii(rest)[:80]} is no version of {name} that can be taken;"
            " write =1.2, ==1.2.3 or >=1.2,<2"
        )
    if build:
        notes.append(f"{name}: the build '{build}' is not used, wheels have none")
    try:
        return name, normal_specifier(specifier), notes
    except ValueError as error:
        raise RequirementsError(
            f"{where}: {ascii(rest)[:80]} is no version of {name} that Python's index could have"
        ) from error


def _specifier(rest: str) -> tuple[str | None, str | None]:
    """Conda's version as Python's, with the build string; ``=1.2`` means any 1.2, but with a build
    string it means 1.2 itself."""
    if rest in ("", "*", "=*", "==*"):
        return "", None
    if exact := _EXACT.fullmatch(rest):
        return f"=={exact['version']}", exact["build"]
    if fuzzy := _FUZZY.fullmatch(rest):
        version = fuzzy["version"]
        is_exact = not rest.startswith("=") or fuzzy["build"] not in (None, "*")
        if is_exact or version.endswith("*"):
            return f"=={_starred(version)}", fuzzy["build"]
        return f"=={version}.*", fuzzy["build"]
    clauses = [_CLAUSE.fullmatch(clause.strip()) for clause in rest.split(",")]
    texts = [_clause(clause["operator"], clause["version"]) for clause in clauses if clause]
    return (",".join(texts), None) if len(texts) == len(clauses) else (None, None)


def _clause(operator: str, version: str) -> str:
    if operator == "=":
        return f"=={_starred(version)}" if version.endswith("*") else f"=={version}.*"
    if version.endswith("*") and operator not in ("==", "!="):
        version = version.rstrip("*").rstrip(".")  # conda reads >=1.2.* as >=1.2
    return f"{operator}{_starred(version)}"


def _starred(version: str) -> str:
    """``1.2*`` as ``1.2.*``."""
    return f"{version[:-1].rstrip('.')}.*" if version.endswith("*") else version
