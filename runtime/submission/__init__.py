"""Scripts as runs: a folder is snapshotted, copied to a target and run there.

config = read_config(Path("run.yaml"))
record = submit(workspace, config, Path("."), experiment="digits")
"""

from runtime.submission.config import RunConfig, make_config, read_config
from runtime.submission.rerunning import rerun
from runtime.submission.submission import submit

__all__ = ["RunConfig", "make_config", "read_config", "rerun", "submit"]
