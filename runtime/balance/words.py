"""Which words may reach HAProxy's configuration and its command socket: no others do.

Every value of a description passes one of these functions when it is made, so no text that is
written from it can hold a line's end, a quote, a space or a command of its own. Each returns its
value, or raises InvalidBalanceError.
"""

from __future__ import annotations

import ipaddress
import re

from runtime.balance.errors import InvalidBalanceError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,254}", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", re.ASCII)
_PATH = re.compile(r"/[A-Za-z0-9/._~-]{0,255}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
SHOWN_CHARACTERS = 60


def service_name(text: str) -> str:
    """A label of DNS: lower-case letters, digits and hyphens inside, 63 characters at most."""
    return _match(_NAME, text, "name", "use a-z, 0-9 and inner hyphens, at most 63 characters")


def version_name(text: str) -> str:
    """Never written into a configuration; shown to people and kept on disk."""
    return _match(_VERSION, text, "version", "use letters, digits and . _ : @ + -")


def header_name(text: str) -> str:
    """Letters, digits and hyphens."""
    return _match(_HEADER, text, "header name", "use letters, digits and hyphens")


def url_path(text: str) -> str:
    """Without a query."""
    return _match(_PATH, text, "path", "begin with / and use letters, digits and / . _ ~ -")


def key_digest(text: str) -> str:
    """SHA-256, in lower-case hexadecimal digits. The refusal does not show what was given: it may
    be the key itself."""
    if not isinstance(text, str) or _DIGEST.fullmatch(text) is None:
        raise InvalidBalanceError("a key is given as its digest; use key_digest_of(key)")
    return text


def ip_address(text: str) -> str:
    """Of a replica or a listener, in the usual form; names are resolved by who describes."""
    try:
        address = ipaddress.ip_address(text if isinstance(text, str) else "")
        if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
            raise ValueError("a scope")
    except ValueError:
        raise InvalidBalanceError(f"{shown(text)} is no IP address; resolve names first") from None
    return str(address)


def port(number: int) -> int:
    """1 to 65535."""
    return whole(number, 1, 65535, "port")


def whole(number: int, least: int, most: int, what: str) -> int:
    """A whole number between the two, both included."""
    if type(number) is not int or not least <= number <= most:
        raise InvalidBalanceError(f"{what} {shown(number)}: use a whole number {least} to {most}")
    return number


def seconds(number: float, least: float, most: float, what: str) -> float:
    """A finite number between the two, both included."""
    if type(number) not in (int, float) or not least <= number <= most:
        raise InvalidBalanceError(f"{what} {shown(number)}: use {least:g} to {most:g} seconds")
    return number


def flag(value: bool, what: str) -> bool:
    """True or False and nothing that only looks like it."""
    if type(value) is not bool:
        raise InvalidBalanceError(f"{what} {shown(value)}: use true or false")
    return value


def shown(value: object) -> str:
    """On one line, and short, whatever it is."""
    text = ascii(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _match(pattern: re.Pattern[str], text: str, what: str, rule: str) -> str:
    if not isinstance(text, str) or pattern.fullmatch(text) is None:
        raise InvalidBalanceError(f"{what} {shown(text)} is not allowed: {rule}")
    return text
