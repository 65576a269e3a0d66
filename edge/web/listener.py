"""The thread that listens to the daemon, and tells the scene what it hears."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from edge.client import GapError, SilenceError, Subscriber
from edge.verdict import MessageError
from edge.web.scene import Scene
from edge.worker import Job

_log = logging.getLogger(__name__)
_PATIENCE_S = 0.1


class Listener(Job):
    """Subscribes to one station. Whatever comes, it goes on listening."""

    def __init__(self, scene: Scene, address: str, station: str, control: str | None, key: Path | None) -> None:
        self._scene = scene
        self._subscriber = Subscriber(address, station=station, control=control, key=key)

    def setup(self) -> None:
        """Connect. Raises UsageError and ConfigError."""
        self._subscriber.__enter__()

    def step(self, stopping: threading.Event) -> bool:
        """Take in the next message. It never ends by itself."""
        try:
            message = self._subscriber.receive(_PATIENCE_S)
            if message is not None:
                self._scene.hear(message)
        except SilenceError as error:
            self._scene.lack(str(error))
        except GapError as error:
            self._scene.miss(error.gap.last - error.gap.first + 1)
        except MessageError as error:
            _log.warning("not understood: %s", error)
            self._scene.lack(str(error))
        return True

    def teardown(self) -> None:
        """Close the sockets."""
        self._subscriber.close()
