"""Sockets that connect, and negotiate TLS, without being deaf to an end that is wanted meanwhile.

socket.create_connection and do_handshake block for the whole timeout: a device whose network
swallows packets could not end its link in time. A name that is looked up cannot be interrupted.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import time
from collections.abc import Callable

LOOK_S = 0.1
"""So often it is asked whether an end is wanted."""
IsOver = Callable[[], bool]


class OverError(OSError):
    """An end was wanted meanwhile."""


def connect(host: str, port: int, timeout_s: float, is_over: IsOver) -> socket.socket:
    """To the first address of the host that answers; those before it leave it its share of the
    time. Raises OSError."""
    deadline = time.monotonic() + timeout_s
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = OSError(f"{host} has no address")
    for number, (family, kind, protocol, _, address) in enumerate(found):
        share_s = (deadline - time.monotonic()) / (len(found) - number)
        made = socket.socket(family, kind, protocol)
        try:
            _connect(made, address, time.monotonic() + share_s, is_over)
        except OverError:
            made.close()
            raise
        except OSError as error:
            made.close()
            failure = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise failure


def negotiate(
    context: ssl.SSLContext,
    connected: socket.socket,
    server_name: str,
    timeout_s: float,
    is_over: IsOver,
) -> ssl.SSLSocket:
    """TLS on it; the given socket is used up, also by a failure. Raises OSError."""
    connected.settimeout(timeout_s)  # that wrap_socket takes it as it is
    wrapped = context.wrap_socket(
        connected, server_hostname=server_name, do_handshake_on_connect=False
    )
    deadline = time.monotonic() + timeout_s
    try:
        wrapped.setblocking(False)
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                _wait(wrapped, select.POLLIN, deadline, is_over)
            except ssl.SSLWantWriteError:
                _wait(wrapped, select.POLLOUT, deadline, is_over)
            else:
                return wrapped
    except BaseException:
        wrapped.close()
        raise


def _connect(made: socket.socket, address: object, deadline: float, is_over: IsOver) -> None:
    made.setblocking(False)
    code = made.connect_ex(address)  # type: ignore[arg-type]  # of getaddrinfo
    if code == errno.EINPROGRESS:
        _wait(made, select.POLLOUT, deadline, is_over)
        code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _wait(made: socket.socket, event: int, deadline: float, is_over: IsOver) -> None:
    """Until it happens. Raises OverError, TimeoutError."""
    poll = select.poll()
    poll.register(made, event)
    while not poll.poll(LOOK_S * 1000):
        if is_over():
            raise OverError(errno.ECANCELED, "the link was ended")
        if time.monotonic() >= deadline:
            raise TimeoutError(errno.ETIMEDOUT, "timed out")
