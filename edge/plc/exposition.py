"""The gateway's figures as metrics, and whether it lives and releases parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge.metrics.families import Row, counter, gauge, info
from edge.plc.failsafe import Fault
from edge.plc.figures import Figures
from edge.plc.heartbeat import GatewayState, PlcLink

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class GatewayCollector:
    """Reads the figures anew at each scrape. A loop that has not come round for `hang_s` seconds is stuck."""

    def __init__(self, station: str, figures: Figures, hang_s: float) -> None:
        self._station = station
        self._figures = figures
        self._hang_s = hang_s

    def collect(self) -> Iterator[Metric]:
        """Every metric of the gateway."""
        condition, parts = self._figures.condition, self._figures.parts
        yield info("gateway", "The gateway's version and station.", self._station)
        ready = condition.state is GatewayState.READY
        yield gauge("gateway_ready", "Whether parts can be released.", (), [Row((), ready)])
        yield gauge("gateway_state_seconds", "How long that has lasted.", (), [Row((), self._figures.state_s)])
        yield gauge("gateway_fault", "1 for each fault that holds.", ("fault",), self._faults())
        begun = [Row((fault,), count) for fault, count in self._figures.begun.items()]
        yield counter("gateway_faults", "Beginnings of a fault.", ("fault",), begun)
        links = [Row((link.value,), link is condition.plc) for link in PlcLink]
        yield gauge("gateway_plc_link", "1 for how the PLC is reached.", ("link",), links)
        yield gauge("gateway_rate_alarm", "Whether too many parts are rejected.", (), [Row((), condition.rate_alarm)])
        outcomes = [Row(("released",), parts.released), Row(("rejected",), parts.rejected)]
        yield counter("gateway_parts", "Parts that have come to the ejector.", ("outcome",), outcomes)
        yield counter("gateway_parts_late", "Of the rejected, without verdicts in time.", (), [Row((), parts.late)])

    def stuck(self) -> str:
        """Whether the gateway's one loop stands still; empty where it does not."""
        stands_s = self._figures.stands_s
        return f"the loop has not come round for {stands_s:.0f} s" if stands_s > self._hang_s else ""

    def readiness(self) -> tuple[bool, str]:
        """Whether parts can be released, and what speaks against it."""
        condition = self._figures.condition
        if condition.state is GatewayState.READY:
            return True, condition.state.value
        return False, f"{condition.state.value}: {condition.fault}: {condition.reason}"

    def _faults(self) -> Iterator[Row]:
        held = self._figures.faults
        return (Row((fault.word,), fault in held) for fault in Fault)
