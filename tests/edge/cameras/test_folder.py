from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras.camera import Frame
from edge.cameras.folder import Folder
from engines.errors import CameraError

WATCHES = ["inotify", "poll"]
SETTLE_S = 0.15


def png(grey: int) -> bytes:
    """A photograph of 8 x 6 pixels that can be told by its grey."""
    return cv2.imencode(".png", np.full((6, 8, 3), grey, np.uint8))[1].tobytes()


@contextmanager
def opened(folder: Path, watch: str, settle_s: float = SETTLE_S) -> Iterator[Folder]:
    camera = Folder(folder, watch, settle_s)
    camera.open()
    try:
        yield camera
    finally:
        camera.close()


def take(camera: Folder, number: int, patience_s: float = 20.0) -> list[Frame]:
    """Read so many frames, then make sure that no further one follows."""
    frames: list[Frame] = []
    deadline = time.monotonic() + patience_s
    while len(frames) < number and time.monotonic() < deadline:
        frame = camera.read(0.1)
        if frame is not None:
            frames.append(frame)
    assert len(frames) == number
    assert camera.read(2 * SETTLE_S) is None
    return frames


def names(frames: list[Frame]) -> list[str | None]:
    return [frame.part_id for frame in frames]


def age(path: Path, seconds: float) -> None:
    past = time.time() - seconds
    os.utime(path, (past, past))


@pytest.mark.parametrize("watch", WATCHES)
def test_files_already_there_come_first_by_name_then_those_that_arrive(tmp_path: Path, watch: str) -> None:
    for number in (3, 1, 2):
        (tmp_path / f"{number}.png").write_bytes(png(number))
        age(tmp_path / f"{number}.png", 60)
    with opened(tmp_path, watch) as camera:
        (tmp_path / "0.png").write_bytes(png(0))
        frames = take(camera, 4)
    assert names(frames) == ["1.png", "2.png", "3.png", "0.png"]
    assert [frame.frame_id for frame in frames] == [1, 2, 3, 4]
    assert [int(frame.image[0, 0, 0]) for frame in frames if frame.image is not None] == [1, 2, 3, 0]


@pytest.mark.parametrize("watch", WATCHES)
def test_a_file_counts_when_it_is_closed_not_when_it_appears(tmp_path: Path, watch: str) -> None:
    data = png(7)
    # When polling, a writer that pauses for longer than this counts as done; a loaded test machine may pause, too.
    with opened(tmp_path, watch, settle_s=1.0) as camera:
        with (tmp_path / "slow.png").open("wb") as file:
            for piece in range(0, len(data), 30):
                file.write(data[piece : piece + 30])
                file.flush()
                assert camera.read(0.02) is None
        (frame,) = take(camera, 1)
    assert frame.fault == ""
    assert frame.image is not None
    assert frame.image.shape == (6, 8, 3)


def test_inotify_waits_for_the_close_however_long_the_writer_pauses(tmp_path: Path) -> None:
    data = png(7)
    with opened(tmp_path, "inotify") as camera:
        with (tmp_path / "slow.png").open("wb") as file:
            file.write(data[:40])
            file.flush()
            assert camera.read(5 * SETTLE_S) is None
            file.write(data[40:])
        (frame,) = take(camera, 1)
    assert frame.fault == ""


@pytest.mark.parametrize("watch", WATCHES)
def test_a_file_being_written_at_the_start_is_awaited(tmp_path: Path, watch: str) -> None:
    data = png(7)
    with (tmp_path / "slow.png").open("wb") as file:
        file.write(data[:40])
        file.flush()
        with opened(tmp_path, watch) as camera:
            assert camera.read(SETTLE_S / 4) is None
            file.write(data[40:])
            file.close()
            (frame,) = take(camera, 1)
    assert frame.fault == ""


@pytest.mark.parametrize("watch", WATCHES)
def test_a_file_moved_in_counts(tmp_path: Path, watch: str) -> None:
    inbox, elsewhere = tmp_path / "inbox", tmp_path / "elsewhere.png"
    inbox.mkdir()
    with opened(inbox, watch) as camera:
        elsewhere.write_bytes(png(1))
        elsewhere.rename(inbox / "moved.png")
        (inbox / "hidden.tmp").write_bytes(png(2))
        (inbox / "hidden.tmp").rename(inbox / "renamed.png")
        assert names(take(camera, 2)) == ["moved.png", "renamed.png"]


@pytest.mark.parametrize("watch", WATCHES)
def test_what_is_no_image_file_is_left_alone(tmp_path: Path, watch: str) -> None:
    (tmp_path / "sub.png").mkdir()
    with opened(tmp_path, watch) as camera:
        (tmp_path / "notes.txt").write_text("x")
        os.mkfifo(tmp_path / "pipe.tmp")
        (tmp_path / "pipe.tmp").rename(tmp_path / "pipe.png")
        (tmp_path / ".part.png").write_bytes(png(1))
        (tmp_path / "sub.png" / "inner.png").write_bytes(png(1))
        (tmp_path / "A.PNG").write_bytes(png(1))
        assert names(take(camera, 1)) == ["A.PNG"]


@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "bad.png: the file is empty"),
        (b"hello", "bad.png: no image that can be decoded"),
        (png(1)[:60], "bad.png: the image is truncated"),
    ],
)
def test_an_unreadable_file_is_a_frame_with_the_reason(tmp_path: Path, watch: str, content: bytes, fault: str) -> None:
    with opened(tmp_path, watch) as camera:
        (tmp_path / "bad.png").write_bytes(content)
        bad = take(camera, 1)[0]
        (tmp_path / "good.png").write_bytes(png(5))
        good = take(camera, 1)[0]
    assert bad.part_id == "bad.png"
    assert bad.image is None
    assert bad.fault.startswith(fault)
    assert (good.frame_id, good.fault) == (2, "")


@pytest.mark.parametrize("watch", WATCHES)
def test_a_name_written_anew_is_a_new_part_and_a_mere_touch_is_none(tmp_path: Path, watch: str) -> None:
    path = tmp_path / "latest.png"
    with opened(tmp_path, watch) as camera:
        for grey in (10, 20, 30):
            path.write_bytes(png(grey))
            (frame,) = take(camera, 1)
            assert frame.image is not None
            assert frame.image[0, 0, 0] == grey
        path.open("r+b").close()
        assert camera.read(2 * SETTLE_S) is None


@pytest.mark.parametrize("watch", WATCHES)
def test_a_burst_is_taken_completely_and_once(tmp_path: Path, watch: str) -> None:
    expected = [f"{number:04d}.png" for number in range(300)]
    with opened(tmp_path, watch) as camera:
        for name in expected:
            (tmp_path / name).write_bytes(png(3))
        assert sorted(map(str, names(take(camera, 300)))) == expected


@pytest.mark.parametrize("watch", WATCHES)
def test_a_lost_folder_is_a_camera_error_and_its_return_repeats_nothing(tmp_path: Path, watch: str) -> None:
    inbox, away = tmp_path / "inbox", tmp_path / "away"
    inbox.mkdir()
    (inbox / "1.png").write_bytes(png(1))
    with opened(inbox, watch) as camera:
        assert names(take(camera, 1)) == ["1.png"]
        inbox.rename(away)
        with pytest.raises(CameraError, match="inbox"):
            take(camera, 1)
        camera.close()
        with pytest.raises(CameraError, match=r"expected a folder of images at .*inbox, found none"):
            camera.open()
        away.rename(inbox)
        (inbox / "2.png").write_bytes(png(2))
        camera.open()
        assert names(take(camera, 1)) == ["2.png"]


def test_more_events_than_the_kernel_keeps_lose_no_file(tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 70_000:
        pytest.skip(f"this kernel queues {limit} events, too many to overflow in a test")
    noise = [tmp_path / "a.txt", tmp_path / "b.txt"]
    with opened(tmp_path, "inotify") as camera:
        for turn in range(limit + 1000):
            # Two names in turns: the kernel merges equal events that follow each other.
            os.close(os.open(noise[turn % 2], os.O_WRONLY | os.O_CREAT))
        (tmp_path / "lost.png").write_bytes(png(1))
        assert names(take(camera, 1)) == ["lost.png"]


def test_a_part_that_vanishes_before_it_is_read_still_has_its_frame(tmp_path: Path) -> None:
    with opened(tmp_path, "inotify") as camera:
        (tmp_path / "gone.png").write_bytes(png(1))
        (tmp_path / "gone.png").unlink()
        (frame,) = take(camera, 1)
    assert (frame.part_id, frame.image) == ("gone.png", None)
    assert "vanished" in frame.fault


@pytest.mark.parametrize("watch", WATCHES)
def test_a_file_that_leaves_is_forgotten_so_that_its_return_is_a_new_part(tmp_path: Path, watch: str) -> None:
    inbox, away = tmp_path / "inbox", tmp_path / "away.png"
    inbox.mkdir()
    (inbox / "1.png").write_bytes(png(1))
    with opened(inbox, watch) as camera:
        take(camera, 1)
        (inbox / "1.png").rename(away)
        assert camera.read(2 * SETTLE_S) is None
        away.rename(inbox / "1.png")
        assert names(take(camera, 1)) == ["1.png"]


def test_a_name_that_is_no_utf8_is_kept_as_the_file_system_has_it(tmp_path: Path) -> None:
    with opened(tmp_path, "inotify") as camera:
        path = os.path.join(os.fsencode(tmp_path), b"\xff.png")  # noqa: PTH118
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(png(9))
        (frame,) = take(camera, 1)
    assert frame.fault == ""
    assert os.fsencode(frame.part_id or "") == b"\xff.png"
