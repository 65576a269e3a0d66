"""Defects for those who have none: a patch of a good part pasted where it does not belong (after CutPaste, CVPR 2021).

They stand in for defects where two engines are compared on the same pictures. They say nothing of the rate at which
real defects are found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.scoring import Parts

# The paper's: 2 to 15 % of the picture, sides in a ratio of 0.3 to 3.3.
_AREA = (0.02, 0.15)
_ASPECT = (0.3, 3.3)


@dataclass(frozen=True)
class PastedDefects:
    """Good parts, each with one of its own patches pasted somewhere else; the same ones every time."""

    parts: Parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        frame = self.parts[index].copy()
        rng = np.random.default_rng(index)
        sides = frame.shape[:2]
        area, aspect = rng.uniform(*_AREA) * math.prod(sides), np.exp(rng.uniform(*np.log(_ASPECT)))
        wanted = zip((area * aspect, area / aspect), sides, strict=True)
        height, width = (int(np.clip(np.sqrt(x), 2, side // 2)) for x, side in wanted)
        (top, to_top), (left, to_left) = rng.integers(0, sides[0] - height, 2), rng.integers(0, sides[1] - width, 2)
        frame[to_top : to_top + height, to_left : to_left + width] = self.parts[index][
            top : top + height, left : left + width
        ]
        return frame
