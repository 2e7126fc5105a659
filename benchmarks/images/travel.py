"""How images travel: bytes on the wire after a change of the model, and blobs per second."""

from __future__ import annotations

import contextlib
import functools
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.images import registries
from benchmarks.images.counting import Wire, counting
from benchmarks.images.study import Study
from benchmarks.images.workspaces import (
    Inputs,
    Workspace,
    changed_layers,
    heavy_model,
    output_of,
    require,
)
from benchmarks.outcome import Finding, Outcome, table

REPEATS = 5
BLOB_MB = (100, 500)
REPOSITORY = "bench/heavy"


def wire(study: Study) -> Outcome:
    """Version 2 of an image has other weights than version 1, which is there already: a push by
    ours and a pull by docker, against Debian's docker-registry and our own /v2/."""
    workspace = Workspace.new(study.scratch / "wire", study.base, wheels=study.workspace)
    for version in (1, 2):
        workspace.register("heavy", heavy_model(study.scratch / "heavy/model.onnx", version))
        workspace.create("heavy", Inputs("heavy", options=("--no-proof",)))
    first, second = workspace.image("heavy:1"), workspace.image("heavy:2")
    changed = sum(layer["size_bytes"] for layer in changed_layers(first, second))
    outcome = Outcome("images")
    receiver = Workspace.new(study.scratch / "receiver", study.base)
    places: list[tuple[str, Callable[[], contextlib.AbstractContextManager[int]]]] = [
        ("docker-registry", lambda: registries.docker_registry(study.scratch / "docker-registry")),
        ("our /v2/", lambda: registries.ours(receiver)),
    ]
    for name, serve in places:
        with serve() as port, counting(("127.0.0.1", port)) as bytes_on:
            _add(
                outcome,
                f"pushed to {name}",
                changed,
                functools.partial(_pushed, workspace, bytes_on),
            )
            _add(
                outcome,
                f"pulled by docker from {name}",
                changed,
                functools.partial(_pulled, bytes_on),
            )
    for gone in (workspace, receiver):
        study.forget(gone)
    return outcome


def _add(outcome: Outcome, what: str, changed: int, measure: Callable[[], int]) -> None:
    """A figure that cannot be had leaves the others."""
    what = f"{what} after a change of the model, all bytes"
    try:
        found = measure()
    except Exception as error:
        outcome.findings.append(Finding(what, "<= changed layer + 1 %", "-", None))
        outcome.notes.append(f"{what}: {' '.join(str(error).split())[-300:]}")
        return
    more = found / changed - 1
    measured = f"{found / 1e6:.2f} MB, {more:+.3%} of the layer's {changed / 1e6:.2f}"
    outcome.findings.append(Finding(what, "<= changed layer + 1 %", measured, more <= 0.01))


def _pushed(workspace: Workspace, wire: Wire) -> int:
    """Bytes of version 2, both ways."""
    place = f"127.0.0.1:{wire.port}/{REPOSITORY}"
    workspace.inferry("image", "push", "heavy:1", f"{place}:1")
    wire.reset()
    workspace.inferry("image", "push", "heavy:2", f"{place}:2")
    return wire.to_server + wire.to_client


def _pulled(wire: Wire) -> int:
    """Bytes of version 2, both ways."""
    refs = [f"127.0.0.1:{wire.port}/{REPOSITORY}:{version}" for version in (1, 2)]
    docker = require("docker")
    try:
        output_of([docker, "pull", "--quiet", refs[0]])
        wire.reset()
        output_of([docker, "pull", "--quiet", refs[1]])
        return wire.to_server + wire.to_client
    finally:
        subprocess.run([docker, "image", "rm", "--force", *refs], capture_output=True)


def throughput(study: Study) -> Outcome:
    """curl of one blob from ours and from nginx, in turns."""
    curl = require("curl")
    outcome, rows = Outcome("images"), []
    for size_mb in BLOB_MB:
        with _blob(study, size_mb) as (workspace, digest):
            name = digest.removeprefix("sha256:")
            root = workspace.blob(digest).parent
            with (
                registries.ours(workspace) as our_port,
                registries.nginx(root, study.scratch / f"nginx-{size_mb}") as nginx_port,
            ):
                urls = {
                    "inferry": f"http://127.0.0.1:{our_port}/v2/blob/blobs/{digest}",
                    "nginx": f"http://127.0.0.1:{nginx_port}/{name}",
                }
                rates = _rates(curl, urls, workspace.blob(digest).stat().st_size)
        ratio = statistics.median(
            a / b for a, b in zip(rates["inferry"], rates["nginx"], strict=True)
        )
        what = f"blob of {size_mb} MB from /v2/ on loopback"
        outcome.findings.append(
            Finding(what, ">= 0.8x nginx", f"{ratio:.2f}x", ratio >= 0.8),
        )
        rows.append(
            [f"{size_mb} MB", *(f"{statistics.median(r) / 1e6:,.0f}" for r in rates.values())]
        )
    outcome.tables.append(table(["blob", "inferry MB/s", "nginx MB/s"], rows))
    return outcome


def _rates(curl: str, urls: dict[str, str], size_bytes: int) -> dict[str, list[float]]:
    """Bytes a second, by server; the first round warms up."""
    rates: dict[str, list[float]] = {name: [] for name in urls}
    for number in range(REPEATS + 1):
        for name, url in urls.items():
            form = "%{http_code} %{size_download} %{speed_download}"
            said = output_of([curl, "-sS", "-o", "/dev/null", "-w", form, url])
            status, size, rate = said.split()
            if (status, int(size)) != ("200", size_bytes):
                raise RuntimeError(f"{name} answered {said}")
            if number:
                rates[name].append(float(rate))
    return rates


@contextlib.contextmanager
def _blob(study: Study, size_mb: int) -> Iterator[tuple[Workspace, str]]:
    """A workspace with the image ``blob`` that has a layer of that size, and its digest."""
    workspace = Workspace.new(study.scratch / f"blob-{size_mb}", study.base, wheels=study.workspace)
    file = study.scratch / f"blob-{size_mb}.bin"
    _random_file(file, size_mb)
    workspace.register("blob", file)
    script = study.scratch / "blob-score.py"
    script.write_text("def init():\n    pass\n\n\ndef run(data):\n    return data\n")
    workspace.create("blob", Inputs("blob", script, ("--no-proof",)))
    [layer] = [x for x in workspace.image("blob")["layers"] if x["kind"] == "model"]
    try:
        yield workspace, layer["digest"]
    finally:
        study.forget(workspace)
        file.unlink()


def _random_file(path: Path, size_mb: int) -> None:
    with path.open("wb") as file, open("/dev/urandom", "rb") as source:
        for _ in range(size_mb):
            file.write(source.read(1_000_000))
