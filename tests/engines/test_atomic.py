"""Replacing a directory: durable, cleaned up, and never fewer than one whole version. Kills: see test_bundle."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines import atomic

LOCKED = """
import sys
from pathlib import Path
from engines import atomic
with atomic.locked(Path(sys.argv[1])):
    print("mine")
"""


def replace(path: Path, text: str) -> None:
    with atomic.replacing(path) as fresh:
        atomic.write_durably(fresh / "file", text.encode())


def fail(path: Path) -> None:
    with atomic.replacing(path) as fresh:
        (fresh / "file").write_text("half")
        raise InterruptedError("before the end")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["exchange", "two renames"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to replace, with and without a kernel that exchanges names."""
    if request.param == "two renames":
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    return tmp_path / "folder" / "place"


def test_a_directory_is_created_and_replaced(place: Path) -> None:
    for text in ("one", "two"):
        replace(place, text)
        assert (place / "file").read_text() == text
        assert names(place.parent) == ["place"]


def test_an_error_leaves_everything_as_it_was(place: Path) -> None:
    replace(place, "one")
    with pytest.raises(InterruptedError):
        fail(place)
    assert (place / "file").read_text() == "one"
    assert names(place.parent) == ["place"]


def test_an_error_on_creation_leaves_nothing(place: Path) -> None:
    with pytest.raises(InterruptedError):
        fail(place)
    assert names(place.parent) == []


def test_a_failed_second_rename_puts_the_old_one_back(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(place, "one")
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if ".new-" in self.name:
            raise OSError(errno.EIO, "no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no"):
        replace(place, "two")
    assert (place / "file").read_text() == "one"
    assert names(place.parent) == ["place"]


def test_temporaries_of_killed_writers_go_and_others_stay(place: Path) -> None:
    replace(place, "one")
    for name in (".place.new-0123456789ab", ".other.new-0123456789ab", ".placebo"):
        (place.parent / name).mkdir()
        (place.parent / name / "file").write_text("half")
    replace(place, "two")
    assert names(place.parent) == [".other.new-0123456789ab", ".placebo", "place"]


def test_what_a_killed_writer_moved_aside_comes_back(place: Path) -> None:
    replace(place, "one")
    place.rename(place.with_name(".place.previous"))
    atomic.recover(place)
    assert (place / "file").read_text() == "one"
    assert names(place.parent) == ["place"]


def test_an_error_after_a_kill_still_leaves_the_old_one(place: Path) -> None:
    replace(place, "one")
    place.rename(place.with_name(".place.previous"))
    with pytest.raises(InterruptedError):
        fail(place)
    assert (place / "file").read_text() == "one"


def test_recovering_nothing_does_nothing(place: Path) -> None:
    place.parent.mkdir()
    atomic.recover(place)
    assert names(place.parent) == []


def test_this_kernel_exchanges_two_directories(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not atomic._exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this file system has no RENAME_EXCHANGE")
    assert names(tmp_path / "one") == ["other"]


def test_an_exchange_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic._exchange(tmp_path / "one", tmp_path / "other")


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    with atomic.locked(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", LOCKED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1)
    assert other.communicate(timeout=30)[0] == "mine\n"


def test_readers_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with atomic.locked(tmp_path, shared=True):
        descriptor = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    atomic.write_durably(tmp_path / "file", b"one")
    with pytest.raises(FileExistsError):
        atomic.write_durably(tmp_path / "file", b"two")
