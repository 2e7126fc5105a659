"""How aiohttp, on which aiobotocore stands, connects to public addresses only: aiohttp is named
here only."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from runtime.datastores.reach import PublicOnly


def connector_args(public: PublicOnly) -> dict[str, Any]:
    """For AioConfig. An endpoint that is an address itself is never looked up: what is about to be
    connected to is checked once more, whatever led there."""

    def open_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        public.check(str(address[0]))
        return socket.socket(family, kind, protocol)

    return {"resolver": _Resolver(public), "socket_factory": open_socket}


class _Resolver(AbstractResolver):
    def __init__(self, public: PublicOnly) -> None:
        self._public = public

    async def resolve(
        self, host: str, port: int = 0, family: int = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.to_thread(self._public.lookup, host, port)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is kept."""
