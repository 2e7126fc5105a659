"""Images. One is made in a job of the service, of files that were uploaded: its activity is the
answer. To push or export one, a client fetches its blobs: the service connects to nobody for it."""

from __future__ import annotations

from starlette.responses import Response

from registry.activities import Activity
from registry.blobs import BlobStore
from registry.errors import CancelledError, NotFoundError
from registry.lineage import Lines
from registry.pages import MAX_LIMIT, Page
from registry.paths import WorkspacePaths
from registry.records import Image
from runtime.registry_service.call import in_thread
from runtime.workspace_service.call import Call
from runtime.workspace_service.downloads import blob
from runtime.workspace_service.own_machine import allows_engine
from runtime.workspace_service.route import Route
from runtime.workspace_service.routes.uploads import incoming_of
from runtime.workspace_service.sent_file import SentFile


def list_images(
    call: Call,
    *,
    name: str | None = None,
    tags: tuple[str, ...] = (),
    latest: bool = False,
    limit: int = MAX_LIMIT,
    token: str | None = None,
) -> Page[Image]:
    """List images, the newest version last, a page at a time: ``token`` is of the page before."""
    return call.workspace.images.page(name=name, tags=tags, latest=latest, limit=limit, token=token)


def get(call: Call, *, ref: str) -> Image:
    """Show an image: NAME:VERSION, or NAME for its latest version."""
    return call.workspace.images.get(ref)


def lines(call: Call, *, ref: str) -> Lines:
    """Say what an image came from, and what uses it."""
    return call.workspace.lineage.of_image(ref)


def said(call: Call, *, ref: str) -> dict[str, str]:
    """Show what an image's manifest says to anyone, such as what an FPGA's bitstream is for."""
    return call.workspace.images.annotations(ref)


def tag(
    call: Call, *, ref: str, set: dict[str, str] | None = None, remove: tuple[str, ...] = ()
) -> Image:
    """Set and remove tags of an image."""
    return call.workspace.images.tag(ref, set=set or {}, remove=remove)


def delete(call: Call, *, ref: str) -> Image:
    """Delete a version of an image that no deployment runs."""
    return call.workspace.images.delete(ref)


def create(
    call: Call,
    *,
    name: str,
    models: tuple[str, ...],
    script: str | None = None,
    source: tuple[SentFile, ...] = (),
    requirements: SentFile | None = None,
    conda: SentFile | None = None,
    dockerfile: SentFile | None = None,
    wheelhouse: tuple[SentFile, ...] = (),
    sample: SentFile | None = None,
    golden: SentFile | None = None,
    base: str | None = None,
    base_file: SentFile | None = None,
    base_layout: tuple[SentFile, ...] = (),
    base_tag: str | None = None,
    tags: dict[str, str] | None = None,
    description: str = "",
    max_batch: int | None = None,
    platform: str | None = None,
    pull: bool = False,
    relock: bool = False,
    proof: bool = True,
    revision: str | None = None,
) -> Activity:
    """Make an image of models and uploaded files; the activity says how it goes. ``script`` is one
    of the files of ``source``; ``base_layout`` are those of an OCI image layout."""
    from runtime.workspace_service.image_orders import ImageFiles, check_base, check_order, made

    files = ImageFiles(
        script,
        source,
        requirements,
        conda,
        dockerfile,
        wheelhouse,
        sample,
        golden,
        base_file,
        base_layout,
        base_tag,
    )
    allows = allows_engine(call)
    check_order(files, base, allows_internal=call.site.allows_internal, allows_engine=allows)
    incoming, workspace, actor = incoming_of(call), call.workspace, call.actor
    for file in files.all:
        incoming.stored(actor, [(file.path, file.digest)])
    # Nothing is released: no record names these files, and another process of this client may be
    # about to make an image of the same ones. They expire.
    return call.site.jobs.start(
        lambda on_change: made(
            workspace,
            files,
            on_change,
            name=name,
            models=models,
            base=None if base is None else check_base(base, allows_engine=allows),
            tags=tags or {},
            description=description,
            max_batch=max_batch,
            platform=platform,
            pull=pull,
            relock=relock,
            proof=proof,
            revision=revision,
            only_public=not call.site.allows_internal,
        )
    )


def create_fpga(
    call: Call,
    *,
    name: str,
    models: tuple[str, ...],
    calibration: SentFile | None = None,
    held_out: SentFile | None = None,
    lanes: int = 16,
    board: str = "pynq-z2",
    tail_on_host: bool = False,
    bitstream: SentFile | None = None,
    hwh: SentFile | None = None,
    provenance: str | None = None,
    golden: SentFile | None = None,
    tags: dict[str, str] | None = None,
    description: str = "",
    max_batch: int | None = None,
) -> Activity:
    """Compile one model for an FPGA, with uploaded files, and make an image of it; the activity
    says how it goes."""
    from runtime.workspace_service.fpga_orders import FpgaOrder, check_fpga_order, made_fpga

    given = {
        "calibration": calibration,
        "held_out": held_out,
        "bitstream": bitstream,
        "hwh": hwh,
        "golden": golden,
    }
    files = {key: file for key, file in given.items() if file is not None}
    order = FpgaOrder(files, lanes, board, tail_on_host, provenance, max_batch)
    incoming, workspace, closing = incoming_of(call), call.workspace, call.site.closing
    sizes: dict[str, int] = {}
    for file in files.values():  # as for other images they are not released
        for stored in incoming.stored(call.actor, [(file.path, file.digest)]):
            sizes[stored.digest] = stored.size_bytes
    check_fpga_order(order, sizes.get)

    def check() -> None:
        if closing.is_set():
            raise CancelledError("the service ends")

    return call.site.jobs.start(
        lambda on_change: made_fpga(
            workspace,
            order,
            call.site.compile_limits,
            check,
            on_change,
            name=name,
            models=models,
            tags=tags or {},
            description=description,
        )
    )


async def download(call: Call, *, ref: str, digest: str) -> Response:
    """Download a blob of an image, or a range of its bytes."""
    name = await in_thread(_named, call, ref, digest)
    store = BlobStore(WorkspacePaths(call.workspace.root))
    return await in_thread(blob, call, store, digest, name)


def key(call: Call) -> str:
    """Give the public key that the workspace's images are signed with."""
    from registry.trust import WorkspaceKey  # 0.1 s that a client does not pay

    folder = WorkspacePaths(call.workspace.root).keys
    if not folder.exists():
        raise NotFoundError("the workspace has no key yet: it has signed nothing")
    return str(WorkspaceKey.load(folder).public)


def _named(call: Call, ref: str, digest: str) -> str:
    """A name for the file. Raises NotFoundError for what is no blob of the image."""
    image = call.workspace.images.get(ref)
    if digest not in call.workspace.images.digests(ref):
        raise NotFoundError(f"the image {image.reference} has no blob {digest!a}")
    return f"{image.name}-{image.version}-{digest[7:19]}"


ROUTES = (
    Route("GET", "/images", "images.list", "reader", list_images),
    Route("POST", "/images", "images.create", "contributor", create, status=202, is_resumable=True),
    Route(
        "POST",
        "/fpga-images",
        "images.create_fpga",
        "contributor",
        create_fpga,
        status=202,
        is_resumable=True,
    ),
    Route("GET", "/images/{ref}", "images.get", "reader", get),
    Route("GET", "/images/{ref}/lineage", "images.lineage", "reader", lines),
    Route("GET", "/images/{ref}/annotations", "images.annotations", "reader", said),
    Route("GET", "/images/{ref}/blobs/{digest}", "images.download", "reader", download),
    Route("PATCH", "/images/{ref}/tags", "images.tag", "contributor", tag),
    Route("DELETE", "/images/{ref}", "images.delete", "contributor", delete),
    Route("GET", "/key", "images.key", "reader", key),
)
