"""`edge-inspect install-service`: writes the units of a station, after systemd itself has found nothing wrong."""

from __future__ import annotations

import argparse
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edge.config import load_config
from edge.service.units import GATEWAY, PAGE, VISION, ServiceOptions, gateway_unit, page_unit, vision_unit
from engines.errors import InspectError, UsageError

# Tenths of systemd's exposure level: 2.0, "OK".
_WORST_EXPOSURE = 20
_LIMIT_S = 60


class ServiceError(InspectError):
    """Units that systemd does not take, or a place where they cannot be written."""


def install_service(options: argparse.Namespace) -> int:
    """Write the units, say how to start them. Raises UsageError, ConfigError, or ServiceError in systemd's words."""
    units = _units(options)
    verify(units)
    for name, text in units.items():
        try:
            (options.directory / name).write_text(text, encoding="utf-8")
        except OSError as error:
            remedy = "run it as root" if options.directory.is_dir() else "make that folder first"
            raise ServiceError(f"cannot write {options.directory / name}: {error.strerror}; {remedy}") from None
        print(f"wrote {options.directory / name}")
    print(f"next: systemctl daemon-reload && systemctl enable --now {' '.join(units)}")
    return 0


def verify(units: Mapping[str, str]) -> None:
    """Have systemd check units, by file name, and how much they expose. Raises ServiceError with what it says."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        raise ServiceError("expected systemd on this machine, found no systemd-analyze; install where the service runs")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in units.items():
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            # It ends with 0 over an unknown key, too: whatever it says is a fault.
            if said := _run(analyze, "verify", str(path))[1]:
                raise ServiceError(f"systemd does not take {name}: {said}")
            code, said = _run(analyze, "security", "--offline=yes", f"--threshold={_WORST_EXPOSURE}", str(path))
            if code:
                raise ServiceError(f"{name} exposes more than {_WORST_EXPOSURE / 10}: {said.splitlines()[-1]}")


def _units(options: argparse.Namespace) -> dict[str, str]:
    station_file = options.config.resolve()
    config = load_config(station_file)
    choices = _choices(options)
    units = {VISION: vision_unit(station_file, config, choices)}
    if config.plc is not None:
        units[GATEWAY] = gateway_unit(station_file, config, choices)
    if options.web:
        units[PAGE] = page_unit(station_file, config, choices)
    return units


def _choices(options: argparse.Namespace) -> ServiceOptions:
    if options.user is not None:
        try:
            pwd.getpwnam(options.user)
        except KeyError:
            raise UsageError(f"there is no user {options.user!r}; make one, or leave --user out") from None
    if options.realtime is not None and not 1 <= options.realtime <= 99:
        raise UsageError(f"expected --realtime from 1 to 99, found {options.realtime}")
    if options.cpus is not None and not re.fullmatch(r"[0-9]+([,-][0-9]+)*", options.cpus):
        raise UsageError(f"expected --cpus like 2-3 or 0,2, found {options.cpus!r}")
    if options.watchdog < 2:
        raise UsageError(f"expected --watchdog of at least 2 seconds, found {options.watchdog}")
    return ServiceOptions(options.user, options.realtime, options.cpus, options.watchdog)


def _run(*command: str) -> tuple[int, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError(f"{command[0]} does not work here: {error}") from None
    return done.returncode, (done.stdout + done.stderr).strip()
