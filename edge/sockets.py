"""What the daemon's sockets have in common."""

from __future__ import annotations

import errno

import zmq


def bind_problem(key: str, address: str, error: zmq.ZMQError) -> str:
    """One line on why the address that the station file's `key` names cannot be listened on."""
    if error.errno == errno.EADDRINUSE:
        return f"{key}: {address} is in use already; stop the other program or choose another port"
    return f"{key}: cannot listen on {address}: {error.strerror}; name an address of this machine"
