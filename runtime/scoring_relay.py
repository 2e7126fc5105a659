"""A client's request, sent on by the service to the address that a deployment was seen at.

    post(seen_at(found), b"{}", content_type="application/json")

Whoever asks says which deployment, never where it is. A redirect is an answer and is not followed;
proxies of the environment are not used."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from registry.deployments import Deployment
from runtime.errors import InferryError, ScoringCallError
from runtime.scoring_call import pinned, score_url

PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Relayed:
    """What the deployment answered. ``is_cut``: there was more of the body."""

    status: int
    reason: str
    content_type: str
    body: bytes
    is_cut: bool = False


def seen_at(found: Deployment) -> str | None:
    """Its address. None: it has none, or one at which no deployment can be: of a cloud's own
    services (169.254.169.254), or of many. Pure."""
    url = None if found.observed is None else found.observed.url
    if url is None:
        return None
    try:
        host = ipaddress.ip_address(score_url(url).hostname or "")
    except ValueError:
        return url  # a name, which the controller's machine listens at
    except InferryError:
        return None
    return None if host.is_link_local or host.is_multicast else url


def trusted(found: Deployment) -> ssl.SSLContext | None:
    """Whom to believe there; None: whom the system does. Raises ScoringCallError."""
    certificate = found.service.tls_certificate
    is_https = found.observed is not None and str(found.observed.url).startswith("https:")
    return pinned(Path(certificate)) if is_https and certificate else None


def post(
    address: str,
    body: bytes,
    *,
    content_type: str,
    key: str | None,
    tls: ssl.SSLContext | None,
    timeout_s: float,
    most_bytes: int,
) -> Relayed:
    """One POST, which takes at most about twice ``timeout_s``, however slowly the answer drips.
    Raises ScoringCallError where there is no answer."""
    parts = score_url(address)
    headers = {"Content-Type": content_type}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    host, port = parts.hostname or "", parts.port
    link: http.client.HTTPConnection
    if parts.scheme == "https":
        link = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=tls)
    else:
        link = http.client.HTTPConnection(host, port, timeout=timeout_s)
    end = time.monotonic() + timeout_s
    try:
        link.request("POST", parts.path, body=body, headers=headers)
        answer = link.getresponse()
        data = bytearray()
        while len(data) <= most_bytes and (piece := answer.read1(PIECE_BYTES)):
            data += piece
            if time.monotonic() > end:
                raise TimeoutError
        kind = answer.headers.get("Content-Type", "")
        return Relayed(
            answer.status, answer.reason, kind, bytes(data[:most_bytes]), len(data) > most_bytes
        )
    except TimeoutError:
        raise ScoringCallError(f"no answer within {timeout_s:g} s") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise ScoringCallError(f"no answer: {said}") from None
    finally:
        link.close()
