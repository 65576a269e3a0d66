from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from calibration import report
from calibration.parts import GoodParts, Selection
from engines.bundle import Bundle, Parity
from engines.engine import EngineDescription
from engines.preprocess import Preprocessing

ROW = Parity("openvino", "f16", "onnxruntime f32", 0.01, 0.02, 0.5, 24, 3)


def rendered(bundle: Bundle, parity: tuple[Parity, ...]) -> list[str]:
    calibration = msgspec.structs.replace(bundle.latest_calibration, parity=parity)
    info = msgspec.structs.replace(bundle.info, calibrations=(calibration,))
    altered = Bundle(bundle.path, info, bundle.digest, bundle.files)
    parts = GoodParts((Path("a.png"),), Preprocessing())
    return report.calibration(altered, Selection(parts.paths, "in photos"), parts).splitlines()


@pytest.mark.parametrize(
    ("parity", "words"),
    [
        ((), "the only engine of this machine"),
        ((ROW,), "openvino f16 0.01 2 % 0.02 3"),
        ((msgspec.structs.replace(ROW, score_spread=0.0),), "openvino f16 0.01 - 0.02 3"),
        ((msgspec.structs.replace(ROW, max_map_error=sys.float_info.max),), "openvino f16 overflows"),
    ],
)
def test_parity_is_shown_in_shares_of_the_spread(calibrated_bundle: Bundle, parity: Any, words: str) -> None:
    assert words in " ".join(" ".join(rendered(calibrated_bundle, parity)).split())


def test_lines_fit_a_terminal_and_keep_percentages_whole(calibrated_bundle: Bundle) -> None:
    lines = rendered(calibrated_bundle, (ROW,))
    lengths = [len(line) for line in lines if str(calibrated_bundle.path) not in line]
    assert max(lengths) <= 100
    assert not any(line.split()[0] == "%" for line in lines)
    assert "\N{NO-BREAK SPACE}" not in "".join(lines)


def test_the_engine_is_named_with_the_reason() -> None:
    line = report.engine(EngineDescription("openvino", "a CPU", "bf16", {}, "it is the fastest"))
    assert " ".join(line.split()) == "engine openvino bf16 on a CPU (it is the fastest)"
