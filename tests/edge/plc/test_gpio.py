from __future__ import annotations

from pathlib import Path

import pytest

from edge.plc.gpio import Gpio
from edge.plc.output import OutputError
from edge.plc.tables import GpioTable


def test_a_chip_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot take lines \[3, 4\] of .*gpiochip9.*gpioinfo"),
        Gpio(GpioTable(chip=tmp_path / "gpiochip9", ejector=3, ready=4)),
    ):
        pass


def test_closing_what_was_never_opened_is_harmless() -> None:
    Gpio(GpioTable(ejector=3)).close()
