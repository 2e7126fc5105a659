"""What goes wrong in front of the replicas. Every message is one line that says what to do.

BalanceError
├── InvalidBalanceError    a description that cannot be: a name, address, share or limit
├── CertificateError       a certificate file that cannot be used; it says why
├── NoHaproxyError         the program is not installed, or too old
├── FolderError            the folder for its files: in use by another keeper, not reachable
├── RefusedConfigError     HAProxy refuses the configuration; its own word is in the message
├── StartError             HAProxy did not start, or did not answer once started
└── RuntimeApiError        a command over its socket
    ├── UnreachableError   nobody answers there
    ├── LateError          no whole answer within the deadline
    └── RefusedError       HAProxy says no; ``command`` is what it was told
"""

from __future__ import annotations

from runtime.errors import InferryError


class BalanceError(InferryError):
    """Anything below."""


class InvalidBalanceError(BalanceError):
    """A description that cannot be."""


class CertificateError(BalanceError):
    """A certificate file that cannot be used."""


class NoHaproxyError(BalanceError):
    """HAProxy is not installed, or too old."""


class FolderError(BalanceError):
    """The folder cannot be used: another keeper has it, or HAProxy's account cannot reach it."""


class RefusedConfigError(BalanceError):
    """HAProxy refuses the configuration."""


class StartError(BalanceError):
    """HAProxy did not start, or did not answer once started."""


class RuntimeApiError(BalanceError):
    """A command over HAProxy's socket."""


class UnreachableError(RuntimeApiError):
    """Nobody answers at the socket."""


class LateError(RuntimeApiError):
    """No whole answer came within the deadline."""


class RefusedError(RuntimeApiError):
    """HAProxy says no."""

    def __init__(self, command: str, said: str) -> None:
        super().__init__(f"HAProxy refused '{command}': {said}")
        self.command = command
