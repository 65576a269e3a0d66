from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from edge.cameras.introspection import load
from engines.bundle import Bundle
from engines.errors import CameraError

# The order of the daemon: a socket, a camera, and an engine, which a recipe may also open much later.
DAEMON = """
import sys
from pathlib import Path
import cv2, zmq
from edge.cameras.introspection import load_gstreamer
load_gstreamer()
from engines.bundle import Bundle
from engines.registry import open_engine
bundle = Bundle.open(Path(sys.argv[1]))
calibration = bundle.latest_calibration
with open_engine(bundle, calibration.backend, calibration.precision) as engine:
    print("opened")
"""


def test_an_engine_can_be_opened_after_gstreamer(
    need_gi: Callable[[str, str], None], calibrated_bundle: Bundle
) -> None:
    need_gi("GstApp", "1.0")
    command = [sys.executable, "-c", DAEMON, str(calibrated_bundle.path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout) == (0, "opened\n"), result.stderr


def test_a_missing_library_is_named_with_its_package(need_gi: Callable[[str, str], None]) -> None:
    need_gi("Gst", "1.0")
    with pytest.raises(CameraError, match=r"NoSuchThing 9\.9 is not on this machine: apt install some-package"):
        load("NoSuchThing", "9.9", "some-package")
