"""The PLC of benchmarks and tests: `plc_program.c` compiled, run, and the process image that it shares with a line."""

from __future__ import annotations

import ctypes
import mmap
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from engines.errors import InspectError

NUMBERS = 65536
PASSES, EJECTED = 1, 2
_SOURCE = Path(__file__).with_name("plc_program.c")
_PATIENCE_S = 20.0


class PlcError(InspectError):
    """The PLC program cannot be built or does not start."""

    exit_code = 1


class Image(ctypes.Structure):
    """`struct image` of the program: the line writes the counters, the program the rest."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("sensor", "ejector", "encoder", "encoder_at_sensor", "job", "reset")),
        *((name, ctypes.c_uint32) for name in ("scan", "coil", "events", "decided")),
        ("result_ns", ctypes.c_uint64 * NUMBERS),
        ("event_ns", ctypes.c_uint64 * NUMBERS),
        ("event_coil", ctypes.c_uint8 * NUMBERS),
        ("decision", ctypes.c_uint8 * NUMBERS),
    )


class PlcProgram:
    """The program as a process that can be frozen, killed and started again. Use it as a context manager."""

    def __init__(self, binary: Path, folder: Path, prefix: tuple[str, ...] = (), port: int | None = None) -> None:
        self.port = port or free_port()
        self._binary = binary
        self._path = folder / "plc.image"
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None
        self._path.write_bytes(bytes(ctypes.sizeof(Image)))
        with self._path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)
        self.image = Image.from_buffer(self.memory)

    def __enter__(self) -> PlcProgram:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Process id of the program that runs now."""
        if self._process is None:
            raise PlcError("the PLC program does not run; start it first")
        return self._process.pid

    def start(self) -> None:
        """Start the program and wait until it answers."""
        command = [*self._prefix, str(self._binary), str(self._path), str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        if self._process.stdout is None or self._process.stdout.readline() != b"ready\n":
            raise PlcError(f"{' '.join(command)} did not start")

    def kill(self) -> None:
        """Kill the program as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, with whatever has come in meanwhile."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def scan_once(self) -> None:
        """Wait until the program has read everything that is there now."""
        before, deadline = self.image.scan, time.monotonic() + _PATIENCE_S
        while self.image.scan < before + 2:
            if time.monotonic() > deadline:
                raise PlcError("the PLC program stands still")
            time.sleep(0.0005)


def build(folder: Path) -> Path:
    """Compile the program into `folder` with gcc and libmodbus, and return its path. Raises PlcError."""
    binary = folder / "plc_program"
    gcc = shutil.which("gcc")
    if gcc is None:
        raise PlcError("gcc is not installed: make system-deps")
    command = [gcc, "-O2", "-Wall", "-I/usr/include/modbus", "-o", str(binary), str(_SOURCE), "-lmodbus"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise PlcError(f"the PLC program does not compile (make system-deps brings libmodbus): {result.stderr.strip()}")
    return binary


def free_port() -> int:
    """A TCP port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
