"""The workspace's store as a registry of the OCI distribution specification, without HTTP.

distribution = Distribution.open(workspace.root)
manifest = distribution.manifests.get("digits", "latest")
"""

from registry.distribution.distribution import Distribution
from registry.distribution.errors import Code, DistributionError
from registry.distribution.manifest_rows import add_manifest, remove_manifests_of

__all__ = ["Code", "Distribution", "DistributionError", "add_manifest", "remove_manifests_of"]
