"""What a client wants an FPGA image to be made of: a model, uploaded files, and which engine.

The files are read by the compiler's process alone (runtime/fpga_compiler), never by the service's
own: what is wrong with them, or too large, is the order's end and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry import Workspace
from registry.activities import OnChange
from registry.blobs import BlobStore
from registry.build_log import CompilerLog
from registry.errors import InvalidSourceError
from registry.fpga_artifact import BITSTREAM, HARDWARE, FpgaContents
from registry.golden import MAX_BYTES, read_golden
from registry.paths import WorkspacePaths
from registry.records import Image, Model
from runtime.errors import BadValueError
from runtime.fpga_compiler import CompileLimits, CompileOrder, Compiler, check_installed
from runtime.fpga_compiler.order import PROOF
from runtime.serving import locked_folder
from runtime.workspace_service.image_orders import check_singles, write_sent
from runtime.workspace_service.sent_file import SentFile

MIB = 1024 * 1024
MOST_INPUTS = 1024 * MIB + MIB
"""What one array may have, and its header."""
MOST_BYTES = {
    "calibration": MOST_INPUTS,
    "held_out": MOST_INPUTS,
    "bitstream": BITSTREAM.max_bytes,
    "hwh": HARDWARE.max_bytes,
    "golden": MAX_BYTES,
}
MOST_BATCH = 1024


@dataclass(frozen=True, slots=True)
class FpgaOrder:
    """As of ``inferry image create --kind fpga``; ``files`` by what they are, of MOST_BYTES."""

    files: Mapping[str, SentFile]
    lanes: int
    board: str
    is_tail_on_host: bool
    provenance: str | None
    max_batch: int | None


def check_fpga_order(order: FpgaOrder, size: Callable[[str], int | None]) -> None:
    """``size``: bytes by digest. Raises InvalidSourceError, BadValueError."""
    check_singles(order.files.values())
    for name, file in order.files.items():
        if (size(file.digest) or 0) > MOST_BYTES[name]:
            raise InvalidSourceError(
                f"{file.path!a} is larger than {MOST_BYTES[name] // MIB} MiB, the most of a"
                f" {name.replace('_', ' ')} file"
            )
    given = [order.provenance, order.files.get("bitstream"), order.files.get("hwh")]
    if 0 < sum(each is not None for each in given) < len(given):
        raise BadValueError("a bitstream, its hwh and its provenance belong together")
    if order.max_batch is not None and not 1 <= order.max_batch <= MOST_BATCH:
        raise BadValueError(f"an FPGA image's max_batch is 1 to {MOST_BATCH}")


def made_fpga(
    workspace: Workspace,
    order: FpgaOrder,
    limits: CompileLimits,
    check: Callable[[], None],
    on_change: OnChange,
    *,
    name: str,
    models: Sequence[str],
    tags: Mapping[str, str],
    description: str,
) -> Image:
    """The image; what is wrong with its files is refused before anything is recorded, as beside the
    workspace. ``check`` raises CancelledError when the service ends."""
    check_installed()
    model = _model(workspace, models)
    with locked_folder(workspace.root / "making") as folder:
        paths = _written(workspace, order.files, folder / "files")
        golden = read_golden(paths.pop("golden")) if "golden" in paths else None
        compiler = Compiler(limits, folder)

        def compile_order(source: Path) -> CompileOrder:
            return CompileOrder(
                model=str(source),
                lanes=order.lanes,
                board=order.board,
                is_tail_on_host=order.is_tail_on_host,
                max_batch=order.max_batch,
                provenance=order.provenance,
                **{each: str(path) for each, path in paths.items()},
            )

        def make(source: Path, log: CompilerLog) -> FpgaContents:
            compiler.build(compile_order(source), folder / "fpga", log, log.check)
            return FpgaContents(folder / "fpga", golden, PROOF)

        compiler.check(compile_order(folder), _input_name(model), check)
        return workspace.images.create_fpga(
            name,
            models=models,
            make=make,
            tags=tags,
            description=description,
            on_change=on_change,
        )


def _model(workspace: Workspace, models: Sequence[str]) -> Model:
    if len(models) != 1:
        raise InvalidSourceError(f"an FPGA image has exactly one model, not {len(models)}")
    model = workspace.models.get(models[0])
    if model.entry is None:
        raise BadValueError(f"model {model.reference} has not just one .onnx file to compile")
    return model


def _input_name(model: Model) -> str:
    signature = model.signature
    return signature.inputs[0].name if signature is not None and signature.inputs else ""


def _written(workspace: Workspace, files: Mapping[str, SentFile], folder: Path) -> dict[str, Path]:
    store = BlobStore(WorkspacePaths(workspace.root))
    paths = {}
    for name, file in files.items():
        paths[name] = folder / name / file.path
        write_sent(store, paths[name], file)
    return paths
