"""Digital outputs of the machine itself, such as a Jetson's header: the ejector, and Ready if a line is free for it."""

from __future__ import annotations

from typing import Any

from edge.plc.output import Output, OutputError
from edge.plc.signals import Action, Status, Switch
from edge.plc.tables import GpioTable
from engines.extras import import_extra


class Gpio(Output):
    """Lines of one chip, inactive from `open` on and after `close`. A process that dies lets go of them."""

    def __init__(self, table: GpioTable) -> None:
        self._table = table
        self._library: Any = None
        self._lines: Any = None

    def open(self) -> None:
        """Take the lines. Raises UsageError without gpiod, OutputError that names the chip."""
        self._library = import_extra("gpiod", "plc")
        line = import_extra("gpiod.line", "plc")
        settings = self._library.LineSettings(
            direction=line.Direction.OUTPUT, output_value=line.Value.INACTIVE, active_low=self._table.active_low
        )
        try:
            self._lines = self._library.request_lines(
                str(self._table.chip), consumer="edge-inspect", config=dict.fromkeys(self._numbers(), settings)
            )
        except (OSError, ValueError) as error:
            raise OutputError(
                f"plc.gpio: cannot take lines {self._numbers()} of {self._table.chip}: {error}; see `gpioinfo`"
            ) from None

    def carry_out(self, action: Action) -> None:
        """Set the line that the action is about. Raises OutputError."""
        if isinstance(action, Switch):
            self._set(self._table.ejector, action.on)
        elif isinstance(action, Status) and self._table.ready is not None:
            self._set(self._table.ready, action.ready)

    def close(self) -> None:
        """Make every line inactive and let go of them."""
        lines, self._lines = self._lines, None
        if lines is None:
            return
        value = import_extra("gpiod.line", "plc").Value
        lines.set_values(dict.fromkeys(self._numbers(), value.INACTIVE))
        lines.release()

    def _numbers(self) -> list[int]:
        return [line for line in (self._table.ejector, self._table.ready) if line is not None]

    def _set(self, number: int, on: bool) -> None:
        value = import_extra("gpiod.line", "plc").Value
        try:
            self._lines.set_value(number, value.ACTIVE if on else value.INACTIVE)
        except OSError as error:
            raise OutputError(f"plc.gpio: line {number} of {self._table.chip} cannot be set: {error}") from None
