"""Log records as entries of systemd's journal, with fields that `journalctl` can filter by (its native protocol)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

_SOCKET = "/run/systemd/journal/socket"
_IDENTIFIER = "edge-inspect"
# syslog's numbers.
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


class JournalHandler(logging.Handler):
    """Sends records to the journal. What a record holds in `fields`, by upper-case name, becomes fields of the entry.

    `logging` must not fail over a journal that is away: then an entry goes to stderr.
    """

    def __init__(self, address: str = _SOCKET) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._address = address
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": str(_PRIORITIES.get(record.levelno, 6)),
            "SYSLOG_IDENTIFIER": _IDENTIFIER,
            "LOGGER": record.name,
            **getattr(record, "fields", {}),
        }
        try:
            self._socket.sendto(entry(fields), self._address)
        except OSError:
            self.handleError(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


class TerminalFormatter(logging.Formatter):
    """One line a record, but for a traceback: names of files must neither steer a terminal nor forge a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The record's line."""
        return "".join(letter if letter.isprintable() else "?" for letter in super().formatMessage(record))


def entry(fields: Mapping[str, str]) -> bytes:
    """One journal entry. A value of several lines is preceded by its length instead of an equals sign."""
    return b"".join(_field(name, value.encode("utf-8", "replace")) for name, value in fields.items())


def under_journal(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether stderr goes to the journal, so that records should go there with their fields."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    status = os.fstat(2)
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def set_up_logging() -> None:
    """Log to the journal where stderr goes there, else to stderr with the time in front."""
    if under_journal():
        logging.basicConfig(level=logging.INFO, handlers=[JournalHandler()])
    else:
        terminal = logging.StreamHandler()
        terminal.setFormatter(TerminalFormatter("%(asctime)s %(levelname)s %(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[terminal])


def _field(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
