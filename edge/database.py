"""What our SQLite files have in common: how they are opened, and that nothing is written by halves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# How long a writer waits for another one.
_BUSY_S = 5.0


def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """Open a file for one thread at a time, or make it where it is not `read_only`. Raises sqlite3.Error."""
    mode = "ro" if read_only else "rwc"
    # Transactions are begun by name, so that none begins unseen.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside, or nothing where it raises. Waits for the lock that all writers share."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
