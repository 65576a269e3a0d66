"""Units of systemd for daemon, gateway and live page: what they may touch, how they are watched and started again.

Absent on purpose: MemoryDenyWriteExecute, since OpenVINO compiles its kernels at run time and fails under it ("can't
protect"); ProcSubset=pid, under which libraries miss /proc/cpuinfo; and network-online.target, since the daemon waits
for its cameras by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.cameras.tables import FolderCamera, OpenCVCamera, RTSPCamera, SyntheticCamera, VideoCamera
from edge.config import StationConfig
from engines.errors import ConfigError, UsageError

VISION = "edge-inspect.service"
GATEWAY = "edge-inspect-plc.service"
PAGE = "edge-inspect-web.service"
_STOP_MARGIN_S = 15
_ENGINE_START_S = 600
# Cameras that need no device, or one whose name is known.
_KNOWN = (FolderCamera, OpenCVCamera, RTSPCamera, SyntheticCamera, VideoCamera)
# Hidden from the services, but for what they need.
_HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))

_HARDENING = """\
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=tmpfs
PrivateTmp=yes
PrivateMounts=yes
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
KeyringMode=private
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM"""


@dataclass(frozen=True)
class ServiceOptions:
    """What a site chooses: user or a dynamic one, real-time priority (1 to 99), CPUs, the watchdog's seconds."""

    user: str | None = None
    realtime: int | None = None
    cpus: str | None = None
    watchdog_s: int = 30


def vision_unit(station_file: Path, config: StationConfig, options: ServiceOptions) -> str:
    """The unit of `edge-inspect run`."""
    start_s = round(_ENGINE_START_S + config.publish.wait_for_subscriber_s)
    return _unit(
        "Edge Inspect: judges the parts of " + config.station,
        ("run", "--config", str(station_file)),
        [
            f"TimeoutStartSec={start_s}",
            f"TimeoutStopSec={round(config.pipeline.drain_s) + _STOP_MARGIN_S}",
            "# Takes over from the station file what can change while parts are judged.",
            "ExecReload=/bin/kill -HUP $MAINPID",
            *_identity(VISION, options),
            # For sockets of ipc://, which the daemon's own user can reach.
            "RuntimeDirectory=edge-inspect",
            *_credentials(config),
            *_scheduling(options),
            *_devices(config),
            *_writable(_written(config)),
            *_visible(station_file, config),
        ],
        options,
    )


def gateway_unit(station_file: Path, config: StationConfig, options: ServiceOptions) -> str:
    """The unit of `edge-inspect plc`: not bound to the other, so that it outlives it and rejects."""
    return _unit(
        "Edge Inspect: drives the reject of " + config.station,
        ("plc", "--config", str(station_file)),
        [
            "TimeoutStartSec=60",
            f"TimeoutStopSec={_STOP_MARGIN_S}",
            *_identity(GATEWAY, options),
            *_scheduling(options),
            *_gateway_credentials(config),
            *_gateway_devices(config),
            *_writable(_written_by_gateway(config)),
            *_visible(station_file, config),
        ],
        options,
    )


def page_unit(station_file: Path, config: StationConfig, options: ServiceOptions) -> str:
    """The unit of `edge-inspect web`: the daemon's user, whose archive it reads. It gives way in everything."""
    return _unit(
        "Edge Inspect: shows " + config.station,
        ("web", "--config", str(station_file)),
        [
            "TimeoutStartSec=60",
            f"TimeoutStopSec={_STOP_MARGIN_S}",
            *_identity(VISION, options),
            "# Between services a priority counts for nothing, and their weights do.",
            "CPUWeight=10",
            "IOWeight=10",
            "OOMScoreAdjust=500",
            "RestrictRealtime=yes",
            "PrivateDevices=yes",
            *_page_credentials(config),
            *_writable(_written_by_page(config)),
            *_visible(station_file, config),
        ],
        options,
    )


def _unit(title: str, arguments: Sequence[str], settings: Sequence[str], options: ServiceOptions) -> str:
    lines = [
        "[Unit]",
        f"Description={title}",
        "After=network.target",
        "StartLimitIntervalSec=300",
        "StartLimitBurst=10",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={' '.join(_escaped(word) for word in (str(_executable()), *arguments))}",
        "Restart=on-failure",
        "RestartSec=1",
        "# A station file that is wrong stays wrong.",
        "RestartPreventExitStatus=2",
        "KillMode=mixed",
        f"WatchdogSec={options.watchdog_s}",
        *settings,
        *_HARDENING.splitlines(),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def _identity(unit: str, options: ServiceOptions) -> Iterator[str]:
    name = unit.removesuffix(".service")
    # A dynamic user's name is given, for units that share it.
    yield f"User={options.user or name}"
    if not options.user:
        yield "DynamicUser=yes"
    yield f"StateDirectory={name}"
    # Libraries look for a home of theirs; without one some of them write to the root of the file system, or fail.
    yield f"Environment=HOME=%S/{name}"
    yield f"WorkingDirectory=%S/{name}"


def _credentials(config: StationConfig) -> Iterator[str]:
    # systemd reads the key as root, so that the service's user need not be able to.
    if config.security.keys is not None:
        yield _credential(config.security.keys / "station.key")


def _gateway_credentials(config: StationConfig) -> Iterator[str]:
    if config.plc is not None and config.plc.publish is not None:
        yield from _credentials(config)
    if config.plc is not None and config.plc.key is not None:
        yield _credential(config.plc.key)


def _page_credentials(config: StationConfig) -> Iterator[str]:
    for secret in (config.web.key, config.web.private_key):
        if secret is not None:
            yield _credential(secret)


def _gateway_devices(config: StationConfig) -> Iterator[str]:
    if config.plc is None or config.plc.gpio is None:
        yield "PrivateDevices=yes"
    else:
        yield "DevicePolicy=closed"
        yield f"DeviceAllow={_path(config.plc.gpio.chip)} rw"


def _credential(path: Path) -> str:
    return f"LoadCredential={path.name}:{_path(path)}"


def _scheduling(options: ServiceOptions) -> Iterator[str]:
    if options.realtime is None:
        yield "RestrictRealtime=yes"
    else:
        # Not restricted: libzmq sets its threads' policy to that of the process anew, and aborts where it may not.
        yield "CPUSchedulingPolicy=fifo"
        yield f"CPUSchedulingPriority={options.realtime}"
        yield f"LimitRTPRIO={options.realtime}"
    if options.cpus is not None:
        yield f"CPUAffinity={options.cpus}"


def _devices(config: StationConfig) -> Iterator[str]:
    cameras = tuple(config.cameras.values())
    if config.engine.backend.startswith("tensorrt") or not all(isinstance(camera, _KNOWN) for camera in cameras):
        # A GPU's devices, a USB3 Vision camera's, or those of a pipeline: their names differ from machine to machine.
        yield "PrivateDevices=no"
    elif any(isinstance(camera, OpenCVCamera) for camera in cameras):
        yield "DevicePolicy=closed"
        yield "DeviceAllow=char-video4linux rw"
        yield "SupplementaryGroups=video"
    else:
        yield "PrivateDevices=yes"


def _visible(station_file: Path, config: StationConfig) -> Iterator[str]:
    """What lies in hidden places and is needed all the same."""
    written = {*_written(config), *_written_by_gateway(config)}
    engines = [recipe.bundle.with_name(f"{recipe.bundle.name}.engines") for recipe in config.recipes.values()]
    # The last is where the sources are, where they were not copied into the environment.
    code = {Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parents[2]}
    needed = {*code, station_file, *_paths_in(config), *engines}
    for path in sorted(needed):
        if not written & {path, path.parent} and any(hidden in path.parents for hidden in _HIDDEN):
            yield f"BindReadOnlyPaths=-{_path(path)}"


def _written(config: StationConfig) -> Iterator[Path]:
    """Folders that the daemon writes in."""
    if config.archive is not None:
        yield config.archive.folder
    if config.audit is not None:
        yield config.audit.file.parent


def _written_by_gateway(config: StationConfig) -> Iterator[Path]:
    if config.plc is not None and config.plc.log is not None and config.plc.log.path is not None:
        yield config.plc.log.path.parent
    if config.audit is not None and config.audit.gateway is not None:
        yield config.audit.gateway.parent


def _written_by_page(config: StationConfig) -> Iterator[Path]:
    # What people say of parts is kept beside them, and SQLite's readers write locks.
    if config.archive is not None:
        yield config.archive.folder


def _writable(folders: Iterable[Path]) -> Iterator[str]:
    for folder in dict.fromkeys(folders):
        hidden = any(each in folder.parents for each in _HIDDEN)
        yield f"{'BindPaths' if hidden else 'ReadWritePaths'}=-{_path(folder)}"


def _paths_in(value: object) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, msgspec.Struct):
        yield from _paths_in([getattr(value, field) for field in value.__struct_fields__])
    elif isinstance(value, Mapping):
        yield from _paths_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _paths_in(each)


def _executable() -> Path:
    script = Path(sys.executable).with_name("edge-inspect")
    if not script.exists():
        raise UsageError(f"expected the command at {script}, found none; install the package into this environment")
    return script


def _path(path: Path) -> str:
    return _escaped(str(path)).replace(":", "\\:")


def _escaped(word: str) -> str:
    """A word as a unit file takes it."""
    if not word.isprintable():
        raise ConfigError(f"expected a path without control characters for the unit, found {word!r}")
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"' if " " in plain else plain
