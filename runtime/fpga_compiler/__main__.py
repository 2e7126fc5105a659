"""``python -m runtime.fpga_compiler TASK``: what process.py starts; TASK is a file with a Task.

On stderr are the phases, a line each, and nothing else: what libraries print there may name files
of this machine, and goes nowhere. On stdout is one document, a Result.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

import msgspec

from runtime.fpga_compiler.process import Result, Task
from runtime.submitted.processes import die_with_parent


def main() -> None:
    """Do what the task says, and say how it went."""
    said = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    task = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Task)
    die_with_parent()
    if os.getppid() != task.parent:  # it has ended meanwhile
        sys.exit(1)
    result = _done(task, said)
    sys.stdout.write(msgspec.json.encode(result).decode())
    sys.stdout.flush()


def _done(task: Task, said: TextIO) -> Result:
    try:
        from fpga.errors import FpgaError
    except MemoryError:
        return Result(lacks_memory=True)
    try:
        _do(task, said)
    except FpgaError as error:
        return Result(lacks_memory=True) if _is_about_memory(error) else Result(refusal=str(error))
    except Exception as error:
        if _is_about_memory(error):
            return Result(lacks_memory=True)
        return Result(defect=type(error).__name__)
    return Result()


def _do(task: Task, said: TextIO) -> None:
    from fpga.build import build, onnx_file
    from runtime.fpga_compiler.order import check_files

    if task.out is None:
        check_files(task.order.order(Path()), task.input_name)
        return

    def say(line: str) -> None:
        print(" ".join(line.split()), file=said)

    build(task.order.order(onnx_file(Path(task.order.model))), Path(task.out), say)


def _is_about_memory(error: BaseException) -> bool:
    """Also where a library's error for it was caught and said in other words."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or "bad_alloc" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return "MemoryError" in str(error)


if __name__ == "__main__":
    main()
