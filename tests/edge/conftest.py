"""Real daemons for the tests: a process, a folder of photographs, a socket on loopback."""

from __future__ import annotations

import dataclasses
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.plc_program import PlcError, PlcProgram, build
from edge.client import GapError, SilenceError, Subscriber
from edge.config import EngineTable
from edge.product import Product, Recipe, Shelf
from edge.sequence import Gap
from edge.turnstile import Turnstile
from edge.verdict import Heartbeat, MessageError, Verdict
from engines.bundle import Bundle
from engines.errors import InspectError
from tests.conftest import missing
from tests.edge.clock import Clock

CLI = (sys.executable, "-c", "import sys; from engines.cli import main; sys.exit(main())")
PATIENCE_S = 60.0


class Daemon:
    """`edge-inspect run` on a station file in `folder`."""

    def __init__(self, folder: Path, settings: str) -> None:
        self._stderr = folder / "stderr.txt"
        station_file = folder / "station.toml"
        station_file.write_text(settings)
        with self._stderr.open("wb") as log:
            self.process = subprocess.Popen([*CLI, "run", "--config", str(station_file)], stderr=log)

    def wait(self) -> int:
        """Wait for the end of the process, and return its exit code."""
        return self.process.wait(PATIENCE_S)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    @property
    def errors(self) -> list[str]:
        """Lines it has written to stderr so far."""
        return self._stderr.read_text().splitlines()

    def kill(self) -> None:
        """Make sure that nothing is left behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@dataclass
class Heard:
    """What a subscriber has received so far."""

    events: list[Verdict | Heartbeat | InspectError] = field(default_factory=list)

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts, in the order they came."""
        return [e for e in self.events if isinstance(e, Verdict)]

    @property
    def heartbeats(self) -> list[Heartbeat]:
        """The heartbeats, in the order they came."""
        return [e for e in self.events if isinstance(e, Heartbeat)]

    @property
    def gaps(self) -> list[Gap]:
        """The gaps that were noticed."""
        return [e.gap for e in self.events if isinstance(e, GapError)]

    @property
    def states(self) -> list[str]:
        """The states of the station, each change once."""
        states = [beat.state.value for beat in self.heartbeats]
        return [state for i, state in enumerate(states) if i == 0 or state != states[i - 1]]


class Listener:
    """A subscriber that collects everything."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.heard = Heard()
        self._subscriber = subscriber

    def until(self, enough: Callable[[Heard], object]) -> Heard:
        """Listen until there is enough; fail the test where that does not come."""
        deadline = time.monotonic() + PATIENCE_S
        while not enough(self.heard):
            if time.monotonic() > deadline:
                pytest.fail(f"not heard within {PATIENCE_S:g} s; the last events: {self.heard.events[-3:]}")
            try:
                message = self._subscriber.receive(0.2)
            except (GapError, SilenceError, MessageError) as error:
                self.heard.events.append(error)
            else:
                self.heard.events.extend([] if message is None else [message])
        return self.heard


StartDaemon = Callable[..., Daemon]


@pytest.fixture(scope="session")
def recipe(calibrated_bundle: Bundle) -> Recipe:
    """The recipe `flange` of the calibrated bundle."""
    return Recipe("flange", calibrated_bundle, calibrated_bundle.latest_calibration)


@pytest.fixture(scope="session")
def shelf() -> Iterator[Shelf]:
    """Engines that the tests share."""
    with Shelf(EngineTable(in_flight=1)) as shelf:
        yield shelf


@pytest.fixture
def product(shelf: Shelf, recipe: Recipe) -> Iterator[Product]:
    """That recipe with its engine. A test that keeps one of its requests fails, not the next one that waits for it."""
    product = shelf.take(recipe)
    product = dataclasses.replace(product, turnstile=Turnstile(product.engine.in_flight + 1))
    yield product
    assert product.turnstile.wait_until_empty(PATIENCE_S), "the test left a frame in the shared engine"


@pytest.fixture
def cli() -> tuple[str, ...]:
    """The command line that runs `edge-inspect` with this interpreter."""
    return CLI


@pytest.fixture
def clock() -> Clock:
    """A clock that the test turns."""
    return Clock()


@pytest.fixture
def endpoint() -> str:
    """An address on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def free_address() -> str:
    """Another one, without `tcp://`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def promtool(peer: Callable[[str], Path]) -> Path:
    """Prometheus's own checker."""
    return peer("promtool")


@pytest.fixture
def listener(endpoint: str) -> Iterator[Listener]:
    """A subscriber to `endpoint` that collects everything."""
    with Subscriber(endpoint) as subscriber:
        yield Listener(subscriber)


@pytest.fixture
def start_daemon(tmp_path: Path, endpoint: str, calibrated_bundle: Bundle) -> Iterator[StartDaemon]:
    """`start_daemon(camera, more="", bundle=...)`: a daemon with that table as its only camera, `top`.

    It publishes on `endpoint`, and has one recipe, `flange`.

    It takes no part before somebody has subscribed.
    """
    started: list[Daemon] = []

    def start(camera: str, more: str = "", bundle: Path = calibrated_bundle.path) -> Daemon:
        settings = (
            f'station = "cell-7"\n[recipes.flange]\nbundle = "{bundle}"\n[cameras.top]\n{camera}\n{more}\n'
            f'[publish]\nbind = "{endpoint}"\nheartbeat_s = 0.2\nwait_for_subscriber_s = 20\n'
        )
        folder = tmp_path / f"daemon-{len(started)}"
        folder.mkdir()
        started.append(Daemon(folder, settings))
        return started[-1]

    yield start
    for daemon in started:
        daemon.kill()


@pytest.fixture(scope="session")
def plc_binary(tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path]) -> Path:
    """The compiled PLC program."""
    peer("gcc")
    try:
        return build(tmp_path_factory.mktemp("plc"))
    except PlcError as error:
        missing(str(error))


@pytest.fixture
def plc(plc_binary: Path, tmp_path: Path) -> Iterator[PlcProgram]:
    """A PLC that runs."""
    with PlcProgram(plc_binary, tmp_path) as program:
        yield program
