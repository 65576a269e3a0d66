"""What a service tells systemd about itself (`man sd_notify`), without its library."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells systemd that the service is ready, alive, stopping or what it is doing; silent where nobody asked for it.

    `watchdog_s` is how often systemd expects a sign of life, in seconds; 0 where it expects none.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract address.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_s(environment)

    def ready(self, status: str = "") -> None:
        """The service has started: what waits for it may go on."""
        self._tell(f"READY=1\nSTATUS={_line(status)}")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._tell(f"STATUS={_line(text)}")

    def alive(self) -> None:
        """Give the sign of life that the watchdog waits for."""
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The service has begun to end."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            # systemd that does not listen is a matter for systemd; it must not stop an inspection.
            sock.settimeout(1.0)
            try:
                sock.sendto(text.encode("utf-8", "replace"), self._address)
            except OSError:
                return


def _watchdog_s(environment: Mapping[str, str]) -> float:
    # The variables are inherited by children, for whom they are not meant: hence WATCHDOG_PID.
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    microseconds = environment.get("WATCHDOG_USEC", "0")
    return int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0


def _line(text: str) -> str:
    return " ".join(text.split())
