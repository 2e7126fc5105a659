"""Activities: operations that take long, seen from outside: phase, progress, log, cause, cancel.

    with activities.start(kind="image", subject="digits:3") as activity:
        activity.phase("Packing", total=size_bytes)
        write_layer(store, entries, activity.advance)

Any process of the workspace lists and follows them, and asks for their end. One whose process died
is shown as failed: each holds a locked file, and the lock goes with the process.
"""

from registry.activities.activities import Activities
from registry.activities.record import Activity, State
from registry.activities.running import OnChange, RunningActivity

__all__ = ["Activities", "Activity", "OnChange", "RunningActivity", "State"]
