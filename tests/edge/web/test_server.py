from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from tests.edge.web.conftest import PATIENCE_S, settings_of

# The page as its command runs it, and how many threads OpenCV may use in that process.
SERVE = """
import sys
from pathlib import Path
import cv2
from edge.config import load_config
from edge.service.journal import set_up_logging
from edge.web.server import serve_page

set_up_logging()
# Also on a machine of one core.
cv2.setNumThreads(4)
serve_page(load_config(Path(sys.argv[1])))
print(cv2.getNumThreads())
"""


def test_opencv_leaves_the_cores_to_the_engine(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text(settings_of())
    log = tmp_path / "log"
    command = [sys.executable, "-c", SERVE, str(tmp_path / "station.toml")]
    with log.open("wb") as sink, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, text=True) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not re.search("is shown on", log.read_text()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        assert process.communicate(timeout=PATIENCE_S)[0] == "1\n"
