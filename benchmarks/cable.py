"""A network of its own for one process, and the cable to it, which can be pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
from types import TracebackType

from engines.errors import InspectError

_SUBNET = "10.231.77"


class CableError(InspectError):
    """The system does not let us lay a cable."""

    exit_code = 1


class Cable:
    """A pair of virtual interfaces between here and a network namespace. Needs root. Use it as a context manager.

    A process that is started with `prefix` lives at `there`.
    """

    there = f"{_SUBNET}.2"

    def __init__(self) -> None:
        self._name = f"plc{os.getpid()}"
        self.prefix = ("ip", "netns", "exec", self._name)

    @staticmethod
    def possible() -> bool:
        """Whether cables can be laid here."""
        return os.geteuid() == 0 and shutil.which("ip") is not None

    def __enter__(self) -> Cable:
        near, far, inside = f"{self._name}a", f"{self._name}b", ("ip", "-n", self._name)
        try:
            _run("ip", "netns", "add", self._name)
            _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", self._name)
            _run("ip", "addr", "add", f"{_SUBNET}.1/30", "dev", near)
            _run("ip", "link", "set", near, "up")
            _run(*inside, "addr", "add", f"{self.there}/30", "dev", far)
            _run(*inside, "link", "set", far, "up")
        except CableError:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def pull(self) -> None:
        """Take the cable out."""
        _run("ip", "link", "set", f"{self._name}a", "down")

    def plug(self) -> None:
        """Put it back in."""
        _run("ip", "link", "set", f"{self._name}a", "up")

    def remove(self) -> None:
        """Take cable and network away. Harmless where there are none."""
        subprocess.run(["ip", "link", "del", f"{self._name}a"], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self._name], capture_output=True, check=False)


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CableError(f"{' '.join(command)}: {result.stderr.strip()}")
