"""How a webhook is signed: https://www.standardwebhooks.com, for which there are libraries in many
languages. The signature is over the id, the time of the sending and the whole body.

headers("whsec_...", id="c1.after", at_unix_s=1614265330, body=b"{}")
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

PREFIX = b"whsec_"


def headers(secret: bytes | None, *, id: str, at_unix_s: int, body: bytes) -> dict[str, str]:
    """``id`` is the same each time it is tried. Without a secret nothing is signed."""
    found = {"Webhook-Id": id, "Webhook-Timestamp": str(at_unix_s)}
    if secret is not None:
        signed = signature(secret, id=id, at_unix_s=at_unix_s, body=body)
        found["Webhook-Signature"] = signed
    return found


def signature(secret: bytes, *, id: str, at_unix_s: int, body: bytes) -> str:
    """``v1,`` and the HMAC-SHA256 in base64."""
    said = f"{id}.{at_unix_s}.".encode() + body
    digest = hmac.digest(_key(secret), said, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: bytes) -> bytes:
    """A secret that begins with ``whsec_`` is base64 behind it, as the libraries have it; any other
    is its bytes. The line feed that editors write at the end of a file belongs to neither."""
    secret = secret.rstrip(b"\r\n")
    if secret.startswith(PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret
