"""What is run on a server before the agent is there, and after: each as the text of a Python
program on one line, which any shell passes on as it is."""

from __future__ import annotations

_UNPACK = """\
import os, sys, tarfile
os.umask(0o077)
folder = os.path.realpath(os.path.expanduser(sys.argv[1]))
os.makedirs(folder)
options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
    tar.extractall(folder, **options)
print(folder)
"""
_REMOVE = """\
import fcntl, os, shutil, sys, time
folder, wait_s = sys.argv[1], float(sys.argv[2])
for name in ("run/cancel", "heard"):
    try:
        open(os.path.join(folder, name), "ab").close()
    except OSError:
        pass
end = time.monotonic() + wait_s
while time.monotonic() < end:
    try:
        with open(os.path.join(folder, "alive")) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        break
    except BlockingIOError:
        time.sleep(0.05)
    except OSError:
        break
shutil.rmtree(folder, ignore_errors=True)
"""
_IS_THERE = "import os, sys; sys.exit(not os.path.isdir(sys.argv[1]))"
_FACTS = "import os, platform; print(platform.python_version(), platform.machine(), os.cpu_count())"


def _one_line(program: str) -> str:
    return f"exec({program!r})"


UNPACK = _one_line(_UNPACK)
"""FOLDER: make it of the tar on standard input, and print its full path."""
REMOVE = _one_line(_REMOVE)
"""FOLDER SECONDS: end what runs there, and remove it."""
IS_THERE = _one_line(_IS_THERE)
"""FOLDER: exit code 1 where it is not."""
FACTS = _one_line(_FACTS)
"""Version, machine and CPUs."""
