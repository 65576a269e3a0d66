"""`edge-inspect audit-log`: shows trails, and verifies them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge.audit.trail import NOTHING_BEFORE, AuditError, Entry, Reading, read_trail
from edge.config import load_config
from engines.errors import UsageError


def show_trails(options: argparse.Namespace) -> int:
    """Print the entries of all trails in the order of their times, or with `verify` what each trail comes to.

    Raises AuditError for one that does not hold.
    """
    readings = {path: read_trail(path) for path in _paths(options)}
    if options.verify:
        _find(readings, options.expect)
        for path, reading in readings.items():
            print(_verdict(path, reading))
        return 0
    for entry in sorted((entry for reading in readings.values() for entry in reading.entries), key=lambda e: e.at):
        print(msgspec.json.encode(entry).decode() if options.json else _line(entry))
    return 0


def _paths(options: argparse.Namespace) -> Iterator[Path]:
    yield from options.files
    if options.config is not None:
        table = load_config(options.config).audit
        if table is None:
            raise UsageError(f"{options.config} has no table [audit]; name the trails themselves")
        yield table.file
        if table.gateway is not None:
            yield table.gateway
    elif not options.files:
        raise UsageError("expected the files of trails, or --config with a station file that names them")


def _find(readings: dict[Path, Reading], expected: str | None) -> None:
    if expected is None or any(expected in _heads(reading) for reading in readings.values()):
        return
    raise AuditError(
        f"tampered with: no entry of {', '.join(map(str, readings))} has the sha256 {expected}; what was last has been "
        "removed, or the chain was computed anew"
    )


def _heads(reading: Reading) -> set[str]:
    # Each entry but the last says in the next one what its sha256 is.
    return {entry.previous for entry in reading.entries} - {NOTHING_BEFORE} | {reading.head.sha256}


def _verdict(path: Path, reading: Reading) -> str:
    said = [f"{path}: {len(reading.entries)} entries hold", f"the last one's sha256 is {reading.head.sha256}"]
    if reading.torn_bytes:
        said.append(f"a last line of {reading.torn_bytes} bytes is torn, as a power cut leaves it")
    before = sum(entry.torn is not None for entry in reading.entries)
    if before:
        said.append(f"{before} torn further up, explained by the entry after")
    return "; ".join(said)


def _line(entry: Entry) -> str:
    # As JSON: what somebody says of themselves must neither break the line nor reach the terminal's controls.
    who = _json(entry.who)
    proven = f" with the key {entry.key}" if entry.key is not None else ""
    said = {name: value for name, value in entry.details.items() if name != "cameras"}
    return f"{entry.at} {entry.station} #{entry.number} {entry.what} by {who}{proven} {_json(said)}"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
