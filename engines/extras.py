"""Libraries that only some installations have: imported when they are needed, missed in one clear line."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from engines.errors import UsageError


def import_extra(module: str, extra: str) -> Any:
    """Import a module that the named extra of setup.cfg installs. Raises UsageError that names the extra."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f"this needs {module.partition('.')[0]}, which cannot be imported here ({error}); "
            f"install it with: pip install 'edge-inspect[{extra}]'"
        ) from error
