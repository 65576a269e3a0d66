"""Files of tensors that torch wrote, read without running anything that they contain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def load_tensors(path: Path) -> Any:
    """Read tensors and plain values onto the CPU. Raises OSError, or ValueError for anything but such a file."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # The reader meets a foreign or damaged file byte by byte and raises whatever it trips over: UnpicklingError,
        # IndexError, KeyError, EOFError, RuntimeError.
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{type(error).__name__}: {reason}") from None
