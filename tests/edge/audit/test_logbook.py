from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.ports import free_port
from edge.asker import Asker
from edge.audit.trail import Entry, read_trail
from edge.keys import KeyFolder, Role
from edge.requests import Done, RecipeRequest, Refused
from engines.bundle import Bundle, update_bundle


def test_a_real_daemon_writes_down_who_did_what(
    start_daemon, listener, cli: tuple[str, ...], tmp_path: Path, calibrated_bundle, bundle_copy
) -> None:
    keys = KeyFolder(tmp_path / "keys")
    for name, role in (("panel", Role.CONTROL), ("viewer", Role.READ)):
        keys.new_client(name, role, tmp_path / f"{name}.key")
    bundle: Bundle = bundle_copy(calibrated_bundle)
    address = f"tcp://127.0.0.1:{free_port()}"
    trail = tmp_path / "audit" / "trail.jsonl"
    tables = (
        f'[recipes.plate]\nbundle = "{calibrated_bundle.path}"\n[control]\nbind = "{address}"\n'
        f'[audit]\nfile = "{trail}"\n[security]\nkeys = "{keys.path}"'
    )
    daemon = start_daemon(f'recipe = "flange"\nkind = "folder"\npath = "{tmp_path}"', tables, bundle=bundle.path)
    wait_for(daemon, trail, lambda entries: len(entries) == 1)

    def ask(name: str, **wish: str) -> object:
        with Asker(address, tmp_path / f"{name}.key") as asker:
            return asker.ask(RecipeRequest(**wish), 60)

    assert isinstance(ask("viewer", recipe="plate", asked_by="eve"), Refused)
    assert isinstance(ask("panel", recipe="plate", asked_by="alice"), Done)
    calibration = msgspec.structs.replace(bundle.latest_calibration, threshold=123.0)
    update_bundle(bundle, msgspec.structs.replace(bundle.info, calibrations=(calibration,)))
    assert isinstance(ask("panel", recipe="flange", asked_by="alice"), Done)
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(daemon, trail, lambda entries: entries[-1].what == "reload")
    assert daemon.end() == 0

    entries = read_trail(trail).entries
    assert [(entry.what, entry.key) for entry in entries] == [
        ("armed", None),
        ("recipe", "viewer"),
        ("recipe", "panel"),
        ("recipe", "panel"),
        ("threshold", "panel"),
        ("reload", None),
        ("stopped", None),
    ]
    assert [entry.who for entry in entries[1:6]] == ["eve", "alice", "alice", "alice", "SIGHUP"]
    assert "does not allow" in entries[1].details["refused"]
    assert entries[0].details["cameras"]["top"]["bundle_digest"] == bundle.digest
    moved = entries[4].details
    assert moved["before"]["threshold"] == bundle.latest_calibration.threshold
    assert moved["after"]["threshold"] == 123.0
    done = subprocess.run([*cli, "audit-log", str(trail), "--verify"], capture_output=True, text=True, check=True)
    assert "7 entries hold" in done.stdout


def wait_for(daemon, trail: Path, enough: Callable[[list[Entry]], object]) -> None:
    import time

    deadline = time.monotonic() + 60
    while not (trail.exists() and enough(read_trail(trail).entries)):
        assert time.monotonic() < deadline, daemon.errors
        time.sleep(0.05)
