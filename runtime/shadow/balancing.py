"""A balancer that keeps a mirror beside HAProxy for each service that has a shadow.

    with MirroredBalancer(folder, told=print) as balancer:
        balancer.apply(balance)         # again and again: a mirror that ended is started again here

HAProxy is told first. A mirror that is not there yet costs nobody anything, and one that is not
wanted any more gets nothing when it is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any

from runtime.balance.balancer import Applied, Balancer
from runtime.balance.declared import Balance
from runtime.shadow.mirrors import Mirrors


class MirroredBalancer(Balancer):
    """See Balancer; ``options`` are its own."""

    def __init__(
        self, folder: Path, *, told: Callable[[str], None] = lambda line: None, **options: Any
    ) -> None:
        super().__init__(folder, told=told, **options)
        self.mirrors = Mirrors(folder, account=options.get("account"), told=told)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """HAProxy and the mirrors go on."""
        self.mirrors.close()
        super().__exit__(kind, error, trace)

    def apply(self, balance: Balance, *, keep_certificates: Collection[str] = ()) -> Applied:
        """As Balancer; where that raises, mirrors are as what is in force wants them."""
        try:
            return super().apply(balance, keep_certificates=keep_certificates)
        finally:
            services = self.declared.services
            mirrored = {service.name for service in services if service.has_shadow}
            self.mirrors.keep(mirrored)
            self.mirrors.end_others(mirrored)

    def stop(self, grace_s: float = 30) -> None:
        """Of HAProxy itself, and of the mirrors."""
        super().stop(grace_s)
        self.mirrors.end_others(())
