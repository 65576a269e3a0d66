"""Where a data set in MVTec AD's layout keeps the mask of a defect."""

from __future__ import annotations

from pathlib import Path


def mask_of(photograph: Path) -> Path | None:
    """The mask `ROOT/ground_truth/KIND/NAME_mask.png` of `ROOT/test/KIND/NAME.*`; None where there is none."""
    if len(photograph.parents) < 3:
        return None
    mask = photograph.parents[2] / "ground_truth" / photograph.parent.name / f"{photograph.stem}_mask.png"
    return mask if mask.is_file() else None
