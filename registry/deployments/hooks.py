"""Whom a deployment tells of changes of its scale, and whom it asks: as it is declared.

Anybody who can declare a command can run programs as the controller's user.
"""

from __future__ import annotations

import math
from urllib.parse import urlsplit

import msgspec

from registry.errors import InvalidNameError

SECRET = "hook-secret"
"""The deployment's secret that signs webhooks. No revision names it, so no replica has it."""
MAX_URL_CHARS = 2048
MAX_ARGUMENTS = 64
MAX_ARGUMENT_CHARS = 4096
LONGEST_S = 300.0


class Hooks(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Run before and after each change of scale. A command is a program, with its whole path, and
    its arguments. ``timeout_s``: of a ``before`` hook in all, of an ``after`` hook each time it is
    tried."""

    before_webhook: str | None = None
    before_command: tuple[str, ...] = ()
    after_webhook: str | None = None
    after_command: tuple[str, ...] = ()
    timeout_s: float = 5.0

    @property
    def has_before(self) -> bool:
        """Whether anybody is asked."""
        return bool(self.before_webhook or self.before_command)

    @property
    def has_after(self) -> bool:
        """Whether anybody is told."""
        return bool(self.after_webhook or self.after_command)


def check_hooks(hooks: Hooks) -> Hooks:
    """``hooks`` themselves. Raises InvalidNameError, saying which is wrong."""
    for moment, url in (("before", hooks.before_webhook), ("after", hooks.after_webhook)):
        if url is not None:
            check_url(url, f"the webhook {moment} a change of scale")
    for moment, command in (("before", hooks.before_command), ("after", hooks.after_command)):
        if command:
            _check_command(command, f"the command {moment} a change of scale")
    if not math.isfinite(hooks.timeout_s) or not 0.1 <= hooks.timeout_s <= LONGEST_S:
        raise InvalidNameError(
            f"the time for a hook must lie between 0.1 and {LONGEST_S:g} s, not {hooks.timeout_s:g}"
        )
    return hooks


def check_url(url: str, what: str) -> str:
    """``url`` itself: of http or https, with a host, without anything secret that ``show`` would
    print. Raises InvalidNameError."""
    shown = f"{what}, {ascii(url)[:80]},"
    if len(url) > MAX_URL_CHARS or not (url.isascii() and url.isprintable()) or " " in url:
        raise InvalidNameError(
            f"{shown} must be ASCII without spaces, of at most {MAX_URL_CHARS} characters"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidNameError(f"{shown} is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InvalidNameError(f"{shown} is no http:// or https:// URL")
    if parts.username is not None or parts.password is not None:
        raise InvalidNameError(
            f"{what} must have no user and password in its URL, which everybody sees;"
            " a receiver knows Inferry by the signature"
        )
    if parts.fragment:
        raise InvalidNameError(f"{shown} has a fragment (#...), which no server gets")
    return url


def _check_command(command: tuple[str, ...], what: str) -> None:
    if len(command) > MAX_ARGUMENTS:
        raise InvalidNameError(f"{what} has more than {MAX_ARGUMENTS} arguments")
    for argument in command:
        if len(argument) > MAX_ARGUMENT_CHARS or "\0" in argument or not _is_text(argument):
            raise InvalidNameError(
                f"{what} has an argument that is no text, has NUL or is longer than"
                f" {MAX_ARGUMENT_CHARS} characters"
            )
    if not command[0].startswith("/"):
        raise InvalidNameError(
            f"{what} must begin with the whole path of a program, not {ascii(command[0])[:60]}"
        )


def _is_text(argument: str) -> bool:
    """Bytes of a command line that are no UTF-8 cannot be kept."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
