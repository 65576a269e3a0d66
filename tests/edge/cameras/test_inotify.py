from __future__ import annotations

from pathlib import Path

import pytest

from edge.cameras.inotify import Inotify, file_system_of, reports_all_writes
from engines.errors import CameraError

MOUNTS = """\
21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 21 0:40 / /mnt/camera rw - nfs4 server:/export rw
31 30 0:41 / /mnt/camera/local\\040disk rw - xfs /dev/sdb rw
32 21 0:42 / /data rw - ext4 /dev/sdc rw
33 21 0:43 / /data rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/parts", "ext4"),
        ("/mnt/camera", "nfs4"),
        ("/mnt/camera/line-1", "nfs4"),
        ("/mnt/camera2", "ext4"),
        ("/mnt/camera/local disk/in", "xfs"),
        ("/data/in", "cifs"),
    ],
)
def test_the_innermost_and_latest_mount_decides(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), MOUNTS) == kind


def test_this_machines_mounts_can_be_read(tmp_path: Path) -> None:
    assert reports_all_writes(tmp_path)[1] != "unknown"


def test_events_come_in_order_with_what_became_of_the_file(tmp_path: Path) -> None:
    watch = Inotify(tmp_path)
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "b").unlink()
    assert watch.wait(5.0) == [("a", True), ("a", False), ("b", True), ("b", False)]
    assert watch.wait(0.01) == []
    watch.close()
    watch.close()


def test_a_missing_folder_is_a_camera_error(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"cannot watch the folder .*nowhere: No such file"):
        Inotify(tmp_path / "nowhere")


def test_a_removed_folder_is_a_camera_error(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    watch = Inotify(folder)
    folder.rmdir()
    with pytest.raises(CameraError, match="inbox was removed, renamed or unmounted"):
        watch.wait(5.0)
    watch.close()
