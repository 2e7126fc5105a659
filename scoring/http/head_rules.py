"""What a request's head must say before anybody looks at its body. Pure.

The parser accepts more than a server may: what two servers in a row could read in two ways is
refused here (RFC 9112, sections 2.3, 3.2 and 6.1), since that is how requests are smuggled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from scoring.http.wire import declared_size

_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
CONTINUE = b"100-continue"


def fault(
    version: str, pairs: list[tuple[bytes, bytes]], named: Mapping[bytes, bytes]
) -> tuple[int, str] | None:
    """Status and message with which the request is refused and the connection ended."""
    host = named.get(b"host")
    if version == "1.1" and host is None:
        return 400, "a request must have a Host header"
    if version in ("1.1", "1.0"):
        if host is not None and host not in _GOOD_HOSTS:
            several = len(named) != len(pairs) and sum(name == b"host" for name, _ in pairs) > 1
            if several or _HOST.fullmatch(host) is None:
                return 400, "a request must have one valid Host header"
            if len(_GOOD_HOSTS) < 1000 and len(host) < 100 and b"," not in host:
                _GOOD_HOSTS.add(host)
    else:
        return 505, "this server speaks HTTP/1.0 and HTTP/1.1"
    coding = named.get(b"transfer-encoding")
    if coding is not None and coding.lower() != b"chunked":
        return 501, "Transfer-Encoding must be chunked and nothing else"
    return None


def waits_for_100(version: str, named: Mapping[bytes, bytes]) -> bool:
    """Whether the client sends its body only once it is told to (RFC 9110, section 10.1.1)."""
    if named[b"expect"].lower() != CONTINUE or version != "1.1":
        return False
    return declared_size(named.get(b"content-length")) > 0 or b"transfer-encoding" in named


_GOOD_HOSTS: set[bytes] = set()
"""Those that were found valid, so that each is looked at once."""
