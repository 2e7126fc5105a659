"""What needs none of the extra packages, and what says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
for name in ("fsspec", "sshfs", "asyncssh", "s3fs", "botocore", "aiobotocore", "aiohttp"):
    sys.modules[name] = None  # an import of it fails
from registry import Workspace
from runtime.datastores import Datastore, MissingExtraError
workspace = Workspace.init("ws", base="none")
Path("f").write_bytes(b"1")
Path("store").mkdir()
with Datastore.get_default(workspace) as datastore:
    datastore.upload("f")
    datastore.download("down")
Datastore.attach(workspace, "disk", "file", {"path": str(Path("store").resolve())}).upload("f")
for kind, settings in (("s3", {"bucket": "abc"}), ("sftp", {"host": "h", "user": "u"})):
    try:
        secrets = {"password": b"x"} if kind == "sftp" else {}
        Datastore.attach(workspace, "d", kind, settings, secrets)
    except MissingExtraError as error:
        print(error)
"""


@pytest.mark.slow
def test_folders_need_no_fsspec_and_other_kinds_say_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("pip install 'inferry[datastores]'") == 2
    assert (tmp_path / "down/f").read_bytes() == (tmp_path / "store/f").read_bytes() == b"1"
