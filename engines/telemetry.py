"""Intel's libraries report their use to a server unless their telemetry package is absent; here it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PACKAGE = "openvino_telemetry"


@contextmanager
def telemetry_hidden() -> Iterator[None]:
    """Hide the telemetry package from what is imported inside.

    OpenVINO and NNCF then use stubs of their own. Its import alone sends a report and writes to the home directory,
    and no environment variable prevents that.
    """
    hidden = _PACKAGE not in sys.modules
    if hidden:
        sys.modules[_PACKAGE] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[_PACKAGE]
