"""`edge-inspect plc`: builds the gateway that a station file describes, and runs it until a signal."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType

from edge.client import Subscriber
from edge.config import StationConfig
from edge.metrics.server import MetricsServer
from edge.plc.announcer import Announcer
from edge.plc.audit import Audit
from edge.plc.background import Background
from edge.plc.caller import Caller
from edge.plc.controller import Controller
from edge.plc.exposition import GatewayCollector
from edge.plc.figures import Figures
from edge.plc.gateway import Gateway
from edge.plc.gpio import Gpio
from edge.plc.log import Log
from edge.plc.modbus import Modbus
from edge.plc.mqtt import Mqtt
from edge.plc.opcua import OpcUa
from edge.plc.output import Output
from edge.plc.tables import PlcTable
from edge.service.notifier import Notifier
from edge.service.watchdog import Watchdog
from edge.sockets import local_address
from edge.stop import StopRequest
from edge.worker import Worker
from engines.errors import ConfigError

_log = logging.getLogger(__name__)
_STOP_S = 5.0


def run_gateway(config: StationConfig) -> int:
    """Run one station's gateway until SIGTERM or SIGINT; SIGUSR1 is the operator's reset. Exit code 0.

    Raises ConfigError where the station file has no `[plc]`, and OutputError for an output that cannot work.
    """
    table = config.plc
    if table is None:
        raise ConfigError("expected a table [plc] in the station file, found none; docs/plc-map.md shows one")
    jobs = {recipe.job: name for name, recipe in config.recipes.items() if recipe.job is not None}
    controller = Controller(table, table.cameras or tuple(config.cameras), jobs)
    address = table.connect or local_address(config.publish.bind)
    control = table.control or (local_address(config.control.bind) if config.control.bind else None)
    subscriber = Subscriber(address, station=config.station, control=control, key=table.key)
    notifier = Notifier()
    # The gateway is one thread: while it turns, everything in it moves.
    watchdog = Watchdog(notifier, lambda: ())
    figures = Figures(has_plc=table.modbus is not None)
    with StopRequest() as stop, OperatorReset() as reset, subscriber, _shown(config, table, figures):
        gateway = Gateway(
            controller,
            subscriber,
            Modbus(table.modbus) if table.modbus else None,
            [*_listeners(table, config), figures],
            table.poll_s,
            Caller(control, table.key) if control else None,
        )
        _log.info("the gateway of station %s listens to %s", config.station, address)

        def turned() -> None:
            reset.pass_on(controller)
            figures.turned()
            watchdog.feed()

        gateway.run(lambda: notifier.ready(f"listens to {address}"), lambda: stop.made, turned)
        notifier.stopping()
    _log.info("the gateway of station %s stopped", config.station)
    return 0


class OperatorReset:
    """SIGUSR1 while it is entered, as `systemctl kill --signal=USR1` sends it: the reset of a lockout by hand."""

    def __init__(self) -> None:
        self._wanted = False
        self._previous: object = None

    def __enter__(self) -> OperatorReset:
        self._previous = signal.signal(signal.SIGUSR1, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGUSR1, self._previous)  # type: ignore[arg-type]

    def pass_on(self, controller: Controller) -> None:
        """Reset the controller where it was asked for."""
        if self._wanted:
            self._wanted = False
            controller.reset("SIGUSR1")

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._wanted = True


@contextmanager
def _shown(config: StationConfig, table: PlcTable, figures: Figures) -> Iterator[None]:
    """Show the figures to others, as far as the station file says so. Raises ConfigError for an impossible address."""
    with ExitStack() as stack:
        if table.publish is not None:
            worker = Worker("announcer", Announcer(config.station, table.publish, config.security, figures))
            worker.start()
            stack.callback(worker.stop, _STOP_S)
        if table.metrics is not None:
            subject = GatewayCollector(config.station, figures, config.pipeline.hang_s)
            served = stack.enter_context(MetricsServer("plc.metrics", table.metrics, subject))
            _log.info("metrics of the gateway are at http://%s/metrics", served.address)
        yield


def _listeners(table: PlcTable, config: StationConfig) -> list[Output]:
    """What carries out actions besides the PLC, in this order: what must be in time first."""
    station = config.station
    listeners: list[Output] = []
    if table.gpio is not None:
        listeners.append(Gpio(table.gpio))
    if table.log is not None:
        listeners.append(Log(table.log))
    if config.audit is not None and config.audit.gateway is not None:
        listeners.append(Audit(config.audit.gateway, station))
    if table.opcua is not None:
        listeners.append(Background("opcua", OpcUa(table.opcua, station)))
    if table.mqtt is not None:
        listeners.append(Background("mqtt", Mqtt(table.mqtt, station)))
    return listeners
