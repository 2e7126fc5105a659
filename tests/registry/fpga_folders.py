"""Compiled ``fpga/`` folders, made by hand: as far as the registry and a device read them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from registry.records import Model

BIT = b"\x00\x09\x0f\xf0" + b"\xff" * 32 + b"\xaa\x99\x55\x66" + bytes(200)
HWH = b'<?xml version="1.0"?>\n<EDKSYSTEM><SYSTEMINFO DEVICE="7z020"/></EDKSYSTEM>\n'
BITSTREAM: dict[str, Any] = {
    "provenance": "simulation",
    "part": "xc7z020clg400-1",
    "sha256": hashlib.sha256(BIT).hexdigest(),
    "boards": ["pynq-z1", "pynq-z2"],
    "clock_mhz": 100,
}
FILES = {
    "program.json": json.dumps({"v": 1, "model": "digits", "bitstream": BITSTREAM}).encode(),
    "load.bin": bytes(range(256)),
    "stream.bin": bytes(64),
    "design.bit": BIT,
    "design.hwh": HWH,
    "report.json": b'{"cycles": 80}\n',
}
GOLDEN = b'{"v": 1, "cases": [{"input": {"data": [1]}, "output": [2]}]}'
DIGITS = Model("digits", 3, "", "2026-11-26T12:00:00Z", "sha256:" + "1" * 64, 9, entry="d.onnx")


def fpga_folder(folder: Path, **changes: bytes | None) -> Path:
    """FILES in ``folder``; ``load_bin=...`` changes one of them, None leaves it out."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {name.replace("_", "."): data for name, data in changes.items()}
    for name, data in {**FILES, **named}.items():
        if data is not None:
            (folder / name).write_bytes(data)
    return folder


def program(**changes: object) -> bytes:
    """program.json, another ``bitstream`` in it."""
    return json.dumps({"v": 1, "bitstream": {**BITSTREAM, **changes}}).encode()
