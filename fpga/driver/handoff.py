"""A .hwh of any origin, as pynq can read it.

pynq 4.0.0 looks for the clock's frequency of a Zynq-7000 under the name that UltraScale+ has for
it, needs <EXTERNALPORTS/> and versions with a point, older ones (pynqmetadata 0.1) need IS_PL, and
they say TypeError, AttributeError or IndexError where it is missing. Each is mended here, and what
is no description of an engine is refused, before pynq sees it.
"""

from __future__ import annotations

from xml.etree import ElementTree

from fpga.errors import BitstreamError
from fpga.isa import registers

FREQUENCY = "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ"
MOST_BYTES = 16 << 20
SYSTEM = "processing_system7"
NEEDED = (registers.DMA_BASE, registers.ENGINE_BASE)


def mended(text: bytes, clock_mhz: float | None = None) -> bytes:
    """Unchanged where nothing is missing. clock_mhz: where the file does not say it.

    Raises BitstreamError for what is no .hwh.
    """
    root = _parsed(text)
    changes = [_with_ports(root), *(_with_version(each) for each in root.iter("MODULE"))]
    changes += [
        _with_system(each, clock_mhz)
        for each in root.iter("MODULE")
        if each.get("MODTYPE") == SYSTEM
    ]
    if not any(changes):
        return text
    found: bytes = ElementTree.tostring(root, "utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + found


def check(text: bytes) -> None:
    """Raises BitstreamError where no processing system is described, or where it reaches nothing
    at the addresses that the driver uses: they would not answer, which a process does not survive.
    """
    root = _parsed(text)
    if not any(each.get("MODTYPE") == SYSTEM for each in root.iter("MODULE")):
        raise BitstreamError("design.hwh describes no processing system: take Vivado's .hwh")
    bases = set()
    for found in root.iter("MEMRANGE"):
        try:
            bases.add(int(found.get("BASEVALUE") or "", 16))
        except ValueError:
            continue
    for address in NEEDED:
        if address not in bases:
            raise BitstreamError(
                f"design.hwh has nothing at {address:#x}, where an engine's design has its"
                " registers: it belongs to another design"
            )


def _parsed(text: bytes) -> ElementTree.Element:
    if len(text) > MOST_BYTES:
        raise BitstreamError(f"a .hwh of more than {MOST_BYTES >> 20} MiB")
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # Vivado writes none; they can be made to grow
        raise BitstreamError("no .hwh: it has a document type")
    try:
        text.decode("utf-8")  # as pynq reads it
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, UnicodeDecodeError, ValueError, RecursionError):
        raise BitstreamError("no .hwh: it is not XML") from None
    if root.tag != "EDKSYSTEM":
        raise BitstreamError("no .hwh: it is no EDKSYSTEM")
    return root


def _with_ports(root: ElementTree.Element) -> bool:
    if root.find("EXTERNALPORTS") is not None:
        return False
    ElementTree.SubElement(root, "EXTERNALPORTS")
    return True


def _with_version(module: ElementTree.Element) -> bool:
    parts = (module.get("VLNV") or "").split(":")
    if module.get("BDTYPE") == "BLOCK_CONTAINER":
        return False
    parts += ["unknown"] * (3 - len(parts)) + ["1.0"] * (len(parts) < 4)
    numbers = parts[3].split(".")
    if len(numbers) > 1 and numbers[0].isdigit() and numbers[1].isdigit():
        changed = ":".join(parts)
    else:
        first = numbers[0] if numbers[0].isdigit() else "1"
        changed = ":".join([*parts[:3], f"{first}.0"])
    if changed == module.get("VLNV"):
        return False
    module.set("VLNV", changed)
    return True


def _with_system(module: ElementTree.Element, clock_mhz: float | None) -> bool:
    parameters = module.find("PARAMETERS")
    if parameters is None:
        raise BitstreamError("a .hwh whose processing system has no parameters")
    named = {each.get("NAME"): each.get("VALUE") for each in parameters}
    is_marked = module.get("IS_PL") == "FALSE"
    module.set("IS_PL", "FALSE")
    if FREQUENCY in named:
        return not is_marked
    try:
        said = named.get("PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ") or named.get(
            "PCW_FPGA0_PERIPHERAL_FREQMHZ"
        )
        wanted = clock_mhz or float(said or 100.0)
    except ValueError:
        raise BitstreamError("a .hwh whose clock has no frequency") from None
    ElementTree.SubElement(parameters, "PARAMETER", {"NAME": FREQUENCY, "VALUE": f"{wanted:.6f}"})
    return True
