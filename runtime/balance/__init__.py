"""HAProxy in front of the replicas: described, configured, kept running, changed while it runs.

declared -> layout -> configuration, maps, plan   decide; pure
runtime_api, handover, process, keeper            act, on one HAProxy in one folder
balancer                                          both: apply what is declared, tell what is seen
"""

from runtime.balance.balancer import (
    Applied,
    Balancer,
    ReplicaState,
    ServiceState,
    VersionState,
)
from runtime.balance.declared import (
    Balance,
    Health,
    Keys,
    Limits,
    Replica,
    Service,
    Version,
    key_digest_of,
)
from runtime.balance.errors import BalanceError

__all__ = [
    "Applied",
    "Balance",
    "BalanceError",
    "Balancer",
    "Health",
    "Keys",
    "Limits",
    "Replica",
    "ReplicaState",
    "Service",
    "ServiceState",
    "Version",
    "VersionState",
    "key_digest_of",
]
