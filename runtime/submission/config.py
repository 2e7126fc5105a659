"""The run configuration: what to run, where, and in what. A YAML or JSON file, or this object.

    script: train.py
    arguments: [--epochs, 3]
    target: gpu1
    environment: {OMP_NUM_THREADS: 4}
    python: {requirements: requirements.txt}
    max_duration_s: 3600

    config = read_config(Path("run.yaml"))

Nothing here looks at the folder, the target or the clock. A file has no types: ``0.10`` is the
argument ``0.10``. A key that is not known is refused, and the nearest one named.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from runtime.errors import BadValueError

MAX_FILE_BYTES = 256 * 1024
MAX_TEXT_CHARS = 32_000
MAX_ITEMS = 1000
MB = 1_000_000
OWN = "INFERRY_"
"""How the variables begin that Inferry sets itself."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TARGET = re.compile(r"[a-z][a-z0-9-]*")


class PythonConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What runs the script. ``interpreter``: on the target; "": the one that runs Inferry on
    ``local``, python3 elsewhere. ``requirements``: a file in the folder, whose packages are
    installed into a virtual environment on the target, once for the same text."""

    interpreter: str = ""
    requirements: str = ""


class DockerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For a target of kind docker. ``image``: one that the engine has; nothing is pulled.
    ``gpus``: "" for none, "all" or their number."""

    image: str = ""
    memory_mb: int = 0
    cpus: float = 0
    processes: int = 4096
    shared_memory_mb: int = 64
    network: bool = True
    gpus: str = ""


class SparkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For a target of kind spark. ``conf``: what spark-submit gets as --conf; ``packages``: Maven
    coordinates; ``driver_memory`` and ``executor_memory``: such as 2g."""

    conf: Mapping[str, str] = {}
    packages: tuple[str, ...] = ()
    driver_memory: str = ""
    executor_memory: str = ""


class SnapshotConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is taken of the folder. ``ignore``: lines as of an ignore file, beside that."""

    ignore: tuple[str, ...] = ()
    max_mb: int = 300
    max_files: int = 2000


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one script is run. ``script``: its path in the folder. ``environment``: variables, which
    are kept with the run; ``pass_environment``: names of variables of this process, whose values
    are not. ``max_duration_s``: the script is ended after that; 0: never. ``grace_s``: between
    asking it to end and ending it. ``patience_s``: so long it goes on on another machine while the
    connection is lost."""

    script: str
    arguments: tuple[str, ...] = ()
    target: str = "local"
    environment: Mapping[str, str] = {}
    pass_environment: tuple[str, ...] = ()
    python: PythonConfig = PythonConfig()
    docker: DockerConfig = DockerConfig()
    spark: SparkConfig = SparkConfig()
    snapshot: SnapshotConfig = SnapshotConfig()
    max_duration_s: float = 0
    grace_s: float = 1.0
    patience_s: float = 600.0

    def check(self) -> RunConfig:
        """Itself. Raises BadValueError."""
        _check_path(self.script, "script")
        if not self.script.endswith(".py"):
            raise BadValueError(f"script: {_shown(self.script)} is no .py file")
        if self.python.requirements:
            _check_path(self.python.requirements, "python.requirements")
        if not _TARGET.fullmatch(self.target) or len(self.target) > 63:
            raise BadValueError(f"target: {_shown(self.target)} is no name of a target")
        _check_texts(self.arguments, "arguments", breaks=True)
        _check_texts((self.python.interpreter, self.docker.image), "python and docker")
        _check_texts((*self.spark.packages, self.spark.driver_memory), "spark")
        _check_texts(
            (self.spark.executor_memory, *self.spark.conf, *self.spark.conf.values()), "spark"
        )
        for name in (*self.environment, *self.pass_environment):
            if not _VARIABLE.fullmatch(name) or len(name) > 200:
                raise BadValueError(f"environment: {_shown(name)} is no name of a variable")
            if name.startswith(OWN):
                raise BadValueError(f"environment: {name} is Inferry's own to set")
        _check_texts(tuple(self.environment.values()), "environment", breaks=True)
        _check_texts(self.snapshot.ignore, "snapshot.ignore")
        if not re.fullmatch(r"|all|[1-9][0-9]{0,2}", self.docker.gpus):
            raise BadValueError("docker.gpus must be all, or how many")
        _check_numbers(self)
        return self

    def document(self) -> str:
        """As JSON, from which ``from_document`` makes the same one."""
        return msgspec.json.encode(self, order="deterministic").decode()


def from_document(document: str) -> RunConfig:
    """Of ``document()``. Raises BadValueError."""
    try:
        return msgspec.json.decode(document, type=RunConfig).check()
    except msgspec.DecodeError as error:
        raise BadValueError(f"the run's configuration cannot be read: {error}") from error


def config_again(document: str, target: str | None) -> RunConfig:
    """What a run was submitted with, on another target if one is named. Raises BadValueError."""
    config = from_document(document)
    return config if target is None else msgspec.structs.replace(config, target=target).check()


def read_config(path: Path | str) -> RunConfig:
    """Of a YAML or JSON file. Raises BadValueError, naming the key and the nearest known one."""
    return make_config(read_pairs(Path(path)), str(Path(path).name))


def make_config(pairs: Mapping[str, Any], where: str = "the run configuration") -> RunConfig:
    """Of a dictionary whose values may be text, as a file has them. Raises BadValueError."""
    if "script" not in pairs:
        raise BadValueError(f"{where}: script is missing")
    _check_keys(pairs, RunConfig, where)
    for key, kind in _PARTS.items():
        part = pairs.get(key)
        if isinstance(part, Mapping):
            _check_keys(part, kind, f"{where}: {key}")
    try:
        made = msgspec.convert(pairs, RunConfig, strict=False)
        return made.check()
    except msgspec.ValidationError as error:
        raise BadValueError(f"{where}: {_said(error)}") from error
    except BadValueError as error:
        raise BadValueError(f"{where}: {error}") from error


def read_pairs(path: Path) -> dict[str, Any]:
    """The file as text, lists and dictionaries. Raises BadValueError."""
    name = _shown(path.name)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise BadValueError(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadValueError(f"{name} is no text in UTF-8") from error
    if len(data) > MAX_FILE_BYTES:
        raise BadValueError(f"{name} is larger than {MAX_FILE_BYTES} bytes")
    found = _json(text, name) if path.suffix == ".json" else _yaml(text, name)
    if not isinstance(found, dict):
        raise BadValueError(f"{name} must have keys and values, such as script: train.py")
    return found


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, name))
    except (ValueError, RecursionError) as error:
        raise BadValueError(f"{name} is no JSON: {error}") from error


def _once(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadValueError(f"{name}: {_shown(twice)} is there twice")
    return found


def _yaml(text: str, name: str) -> Any:
    from registry.dependencies.yaml_tree import Tree, read_yaml  # only a file needs it
    from registry.errors import RequirementsError

    def plain(tree: Tree) -> Any:
        if isinstance(tree.value, str):
            return tree.value
        if tree.is_map:
            return {key: plain(value) for key, value in tree.pairs(name)}
        return [plain(item) for item in tree.items(name)]

    try:
        return plain(read_yaml(text, "it"))
    except RequirementsError as error:
        raise BadValueError(f"{name}: {error}") from error


_PARTS: Mapping[str, type[msgspec.Struct]] = {
    "python": PythonConfig,
    "docker": DockerConfig,
    "spark": SparkConfig,
    "snapshot": SnapshotConfig,
}


def _check_keys(pairs: Mapping[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    known = kind.__struct_fields__
    for key in pairs:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.5)
            advice = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise BadValueError(f"{where}: {_shown(key)} is not known; {advice}")


def _check_numbers(config: RunConfig) -> None:
    limits: tuple[tuple[str, float, float], ...] = (
        ("max_duration_s", config.max_duration_s, 10 * 365 * 86_400),
        ("grace_s", config.grace_s, 3600),
        ("patience_s", config.patience_s, 30 * 86_400),
        ("docker.memory_mb", config.docker.memory_mb, 1 << 40),
        ("docker.cpus", config.docker.cpus, 10_000),
        ("docker.processes", config.docker.processes, 1 << 22),
        ("docker.shared_memory_mb", config.docker.shared_memory_mb, 1 << 40),
        ("snapshot.max_mb", config.snapshot.max_mb, 1 << 40),
        ("snapshot.max_files", config.snapshot.max_files, 100_000),
    )
    for name, value, most in limits:
        if not 0 <= value <= most:  # NaN is neither
            raise BadValueError(f"{name} must be 0 to {most:g}")


def _check_path(path: str, what: str) -> None:
    _check_texts((path,), what)
    pure = PurePosixPath(path)
    is_plain = path and not pure.is_absolute() and ".." not in pure.parts and str(pure) == path
    if not is_plain or "\\" in path:
        raise BadValueError(
            f"{what}: {_shown(path)} must be a path in the folder, like src/train.py"
        )


def _check_texts(texts: Sequence[str], what: str, *, breaks: bool = False) -> None:
    """Raises BadValueError for what no program can be given, or should be; ``breaks``: line breaks
    and the like are allowed."""
    if len(texts) > MAX_ITEMS:
        raise BadValueError(f"{what} has {len(texts)} entries, more than {MAX_ITEMS}")
    for text in texts:
        if len(text) > MAX_TEXT_CHARS:
            raise BadValueError(f"{what} has a value of more than {MAX_TEXT_CHARS} characters")
        if "\0" in text or any(unicodedata.category(char) == "Cs" for char in text):
            raise BadValueError(f"{what}: {_shown(text)} is no valid text")
        if not breaks and any(unicodedata.category(char) == "Cc" for char in text):
            raise BadValueError(f"{what}: {_shown(text)} has a control character")


def _said(error: msgspec.ValidationError) -> str:
    text, _, place = str(error).partition(" - at `")
    where = place.removesuffix("`").removeprefix("$").removeprefix(".")
    return f"{where}: {text}" if where else text


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}...'"
