"""What our sockets have in common."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from pathlib import Path

import zmq

from edge.keys import use_key
from engines.errors import ConfigError, UsageError

LONGEST_MESSAGE = 1 << 20


def connect(socket: zmq.Socket[bytes], endpoints: Sequence[str], key: Path | None) -> None:
    """Connect a client's socket, encrypted with the key in a file where one is given.

    Raises UsageError for what is no address, ConfigError for what is no key.
    """
    if key is not None:
        use_key(socket, key)
    for endpoint in endpoints:
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise UsageError(
                f"cannot connect to {endpoint!r}: {error.strerror}; expected an address like tcp://127.0.0.1:5555"
            ) from None


def local_address(bind: str) -> str:
    """The address to connect to where a daemon of this machine listens on `bind`."""
    return re.sub(r"^tcp://(\*|0\.0\.0\.0|\[::\])(?=:)", "tcp://127.0.0.1", bind)


def listen(socket: zmq.Socket[bytes], key: str, address: str) -> str:
    """Bind a socket to the address that the station file's `key` names, and return that where it listens.

    Raises ConfigError that names the address when it is taken or impossible.
    """
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        raise ConfigError(_bind_problem(key, address, error)) from None
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def _bind_problem(key: str, address: str, error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{key}: {address} is in use already; stop the other program or choose another port"
    return f"{key}: cannot listen on {address}: {error.strerror}; name an address of this machine"
