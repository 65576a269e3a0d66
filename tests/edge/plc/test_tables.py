from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.config import parse_config
from engines.errors import ConfigError

MODBUS = {"host": "10.0.0.5"}


def parse(plc: dict[str, Any], cameras: int = 1) -> None:
    folder = {"kind": "folder", "path": "in"}
    tables = {f"camera-{number}": folder for number in range(cameras)}
    data = {"station": "s", "recipes": {"r": {"bundle": "b"}}, "cameras": tables}
    parse_config({**data, "plc": {"travel": 1.0, "margin": 0.1, **plc}}, Path("/plant"), "station.toml")


@pytest.mark.parametrize(
    "plc", [{"modbus": MODBUS}, {"modbus": MODBUS, "track": "encoder"}, {"parts": "verdict", "fire": "release"}]
)
def test_what_can_be_safe_is_taken(plc: dict[str, Any]) -> None:
    parse(plc)


@pytest.mark.parametrize(
    ("plc", "cameras", "problem"),
    [
        ({}, 1, r"plc\.parts.*needs `\[plc\.modbus\]`"),
        ({"modbus": MODBUS, "margin": 1.0}, 1, r"plc\.margin.*leaves nothing"),
        ({"modbus": MODBUS, "cameras": ["rear"]}, 1, r"no camera 'rear'; choose from camera-0"),
        ({"modbus": MODBUS, "fire": "release"}, 1, r"plc\.fire.*not for Modbus"),
        ({"parts": "verdict"}, 1, r"plc\.fire.*would pass"),
        ({"parts": "verdict", "fire": "release", "track": "encoder"}, 1, r"plc\.track"),
        ({"parts": "verdict", "fire": "release"}, 2, r"plc\.cameras.*one camera"),
        ({"modbus": MODBUS, "trigger_cameras": True}, 1, r"plc\.trigger_cameras.*\[control\] bind"),
        ({"modbus": {"host": "h", "prot": 1}}, 1, r"plc\.modbus\.prot`; did you mean `port`"),
    ],
)
def test_what_cannot_be_safe_is_refused(plc: dict[str, Any], cameras: int, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse(plc, cameras)
