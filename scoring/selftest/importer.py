"""The process of an import check: ``python -m scoring.selftest.importer FD NAME...`` writes a line
``NAME\\tWHY`` to the descriptor for each; WHY is empty for one that imports."""

from __future__ import annotations

import importlib
import os
import sys
import traceback


def main() -> int:
    """Import the names in turn."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    for name in sys.argv[2:]:
        why = ""
        try:
            importlib.import_module(name)
        except BaseException as error:  # SystemExit too
            traceback.print_exception(error)
            why = " ".join(traceback.format_exception_only(error)[-1].split()) or repr(error)
        os.write(descriptor, f"{name}\t{why[:500]}\n".encode(errors="replace"))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # what was imported may hang at exit


if __name__ == "__main__":
    main()
