"""Writes server_pins.json from requirements/serve.txt: ``python -m registry.dependencies.pins``.

scripts/lock calls it, so that images have the versions that were tested.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from registry.dependencies.server import PINS_FILE

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s\\;]+)", re.MULTILINE)


def pins_json(requirements: str) -> str:
    """The text of server_pins.json for the text of a locked requirements file."""
    pins = {name.lower(): version for name, version in _PIN.findall(requirements)}
    return json.dumps(pins, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Reads the file that the first argument names, or requirements/serve.txt."""
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "requirements/serve.txt")
    (Path(__file__).parent / PINS_FILE).write_text(pins_json(source.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
