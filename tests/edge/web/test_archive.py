"""What the page says where it runs as a user who may not read the archive."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.archive.store import ArchiveStore
from tests.edge.archive.parts import entry

# Everything is loaded before, since that user may not even read Python's library.
READ = """
import os, sys
from pathlib import Path
import anyio, anyio._backends._asyncio
from edge.archive.part import ArchiveError
from edge.web.archive import Archive

async def read():
    try:
        print([part.verdict.part_id for part in await Archive(Path(sys.argv[1])).rejects(3)])
    except ArchiveError as error:
        print(error)

os.setuid(65534)
anyio.run(read)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users can reach: pytest's own is for one user alone."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (0o755, "cannot be read by who may not write there; run the page as the daemon's user"),
        (0o700, "the user 65534 may not look into .*: read as the user of the daemon"),
    ],
    ids=["readable to others", "closed to others"],
)
def test_another_user_is_told_what_to_do(place: Path, mode: int, said: str) -> None:
    (place / "archive").mkdir()
    with ArchiveStore(place / "archive") as store:
        store.add([entry(1, 1, part_id="4711")])
    place.chmod(mode)
    command = [sys.executable, "-c", READ, str(place / "archive")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert re.search(said, done.stdout)
