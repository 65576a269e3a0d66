"""The bindings of GStreamer and Aravis, which their packages describe to Python at run time (GObject introspection)."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from importlib import import_module
from typing import Any

from engines.errors import CameraError


def load(namespace: str, version: str, package: str) -> Any:
    """Import a library's bindings, e.g. `Aravis` `0.8`. Raises CameraError that names Debian's `package` for it."""
    try:
        gi = import_module("gi")
    except ImportError:
        raise CameraError(
            f"{namespace} needs PyGObject: pip install 'edge-inspect[genicam]' (and apt install {package})"
        ) from None
    try:
        gi.require_version(namespace, version)
        return import_module(f"gi.repository.{namespace}")
    except (ValueError, ImportError):
        raise CameraError(f"{namespace} {version} is not on this machine: apt install {package}") from None


def load_gstreamer() -> Any:
    """GStreamer's bindings, ready for use. Raises CameraError where they are missing."""
    _keep_exceptions_working()
    gst = load("Gst", "1.0", "gir1.2-gstreamer-1.0 gstreamer1.0-plugins-good gstreamer1.0-libav")
    # Without the bindings of appsink its element is a plain one, without the calls that take frames.
    load("GstApp", "1.0", "gir1.2-gst-plugins-base-1.0")
    gst.init(None)
    return gst


def load_aravis() -> Any:
    """Aravis's bindings. Raises CameraError where they are missing."""
    return load("Aravis", "0.8", "gir1.2-aravis-0.8")


def _keep_exceptions_working() -> None:
    # GStreamer brings libunwind, whose functions have the names of the compiler's own. Where they come first, an
    # exception inside OpenVINO finds no handler, and the process is aborted when it opens an engine afterwards.
    with suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
