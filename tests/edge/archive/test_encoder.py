from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.archive.encoder import Encoder
from tests.edge.archive.parts import frame


@pytest.fixture
def encoder() -> Iterator[Encoder]:
    with Encoder() as opened:
        yield opened


def written(encoder: Encoder, path: Path, picture: np.ndarray) -> int:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        return encoder.write(picture, file)
    finally:
        os.close(file)


def process_of(encoder: Encoder) -> int:
    assert encoder._process is not None
    return encoder._process.pid


def test_pictures_of_any_size_come_back_as_they_were(encoder: Encoder, tmp_path: Path) -> None:
    shapes = [(48, 64, 3), (5, 7), (300, 200, 3), (1, 1, 3)]
    for number, shape in enumerate(shapes):
        path = tmp_path / f"{number}.png"
        size = written(encoder, path, frame(number, shape))
        assert size == path.stat().st_size
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), frame(number, shape))


def test_a_part_of_a_larger_picture_is_written_alone(encoder: Encoder, tmp_path: Path) -> None:
    picture = frame(1, (40, 60, 3))[5:25:2, ::3]
    written(encoder, tmp_path / "part.png", picture)
    assert np.array_equal(cv2.imread(str(tmp_path / "part.png")), picture)


def test_it_works_only_when_nobody_else_wants_to(encoder: Encoder, tmp_path: Path) -> None:
    written(encoder, tmp_path / "a.png", frame())
    assert os.sched_getscheduler(process_of(encoder)) == os.SCHED_IDLE


def test_a_picture_without_pixels_is_refused_and_the_next_one_written(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"shape \(0, 0\) cannot be encoded"):
        written(encoder, tmp_path / "a.png", np.zeros((0, 0), np.uint8))
    assert written(encoder, tmp_path / "b.png", frame())


def test_a_full_disk_is_named(encoder: Encoder) -> None:
    with Path("/dev/full").open("wb") as full, pytest.raises(OSError, match="No space left") as refusal:
        encoder.write(frame(), full.fileno())
    assert refusal.value.errno == errno.ENOSPC


def test_after_a_kill_the_next_picture_starts_another_process(encoder: Encoder, tmp_path: Path) -> None:
    written(encoder, tmp_path / "a.png", frame())
    first = process_of(encoder)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(OSError, match=r"killed|Broken pipe|reset by peer"):
        written(encoder, tmp_path / "b.png", frame())
    assert written(encoder, tmp_path / "c.png", frame())
    assert process_of(encoder) != first


def test_signals_that_end_the_daemon_leave_it_at_work(encoder: Encoder, tmp_path: Path) -> None:
    written(encoder, tmp_path / "a.png", frame())
    first = process_of(encoder)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(first, number)
    assert written(encoder, tmp_path / "b.png", frame())
    assert process_of(encoder) == first


def test_it_ends_with_a_daemon_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time\nimport numpy as np\n"
        "from edge.archive.encoder import Encoder\n"
        "encoder = Encoder()\n"
        "with open(sys.argv[1], 'wb') as file:\n"
        "    encoder.write(np.zeros((4, 4), np.uint8), file.fileno())\n"
        "print(encoder._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.png")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as daemon:
        assert daemon.stdout is not None
        process = Path("/proc") / daemon.stdout.readline().strip()
        assert process.exists()
        daemon.kill()
    deadline = time.monotonic() + 30
    while running(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(process)


def running(process: Path) -> bool:
    """Also a zombie has ended: it waits for whoever has taken it in."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
