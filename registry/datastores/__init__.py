"""Which datastores a workspace has: named places for files, with their secrets sealed.

workspace.datastores.attach("lab", "file", {"path": "/srv/lab"})
workspace.datastores.set_default("lab")
"""

from registry.datastores.datastores import Datastores
from registry.datastores.records import Datastore
from registry.datastores.settings import WORKSPACE, Kind

__all__ = ["WORKSPACE", "Datastore", "Datastores", "Kind"]
