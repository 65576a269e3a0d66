"""OpenVINO, NNCF and ONNX Runtime report their use to their makers by default; imported in here they do not.

A station on a plant's network sends nothing that its owner has not asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_INTEL_PACKAGE = "openvino_telemetry"
_MICROSOFT_SWITCH = "ORT_DISABLE_TELEMETRY"


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Import these libraries inside; what they decide at their first import holds for the whole process.

    OpenVINO and NNCF use stubs of their own where Intel's telemetry package is absent, so it is hidden: its import
    alone sends a report and writes to the home directory, and no environment variable prevents that. ONNX Runtime
    (from 1.29 on) stores an identifier there and uploads events unless its switch is set at its first import.
    """
    hidden = _INTEL_PACKAGE not in sys.modules
    if hidden:
        sys.modules[_INTEL_PACKAGE] = None  # type: ignore[assignment]
    os.environ.setdefault(_MICROSOFT_SWITCH, "1")
    try:
        yield
    finally:
        if hidden:
            del sys.modules[_INTEL_PACKAGE]
