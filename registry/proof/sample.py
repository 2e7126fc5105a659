"""The sample that someone gives to be scored."""

from __future__ import annotations

import json
from pathlib import Path

from registry import tree
from registry.errors import InvalidSourceError

MAX_SAMPLE_BYTES = 16 * 1024 * 1024


def read_sample(path: Path) -> bytes:
    """The JSON document in the file. Raises InvalidSourceError."""
    if path.is_dir():
        raise InvalidSourceError(f"the sample '{path}' is a folder, not a file")
    [file] = tree.walk(path)
    if file.size_bytes > MAX_SAMPLE_BYTES:
        raise InvalidSourceError(f"the sample '{path}' is larger than {MAX_SAMPLE_BYTES} bytes")
    with file.open() as opened:
        data = opened.read()
    try:
        json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidSourceError(f"the sample '{path}' is no JSON: {error}") from error
    return data
