"""`edge-inspect keys`: who may connect to a station."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.keys import KeyFolder, Role
from engines.errors import UsageError


def manage_keys(options: argparse.Namespace) -> int:
    """Make a client's key, list the clients, or revoke one. Raises UsageError or ConfigError."""
    folder = KeyFolder(options.keys)
    if options.action == "list":
        _list(folder)
        return 0
    if options.name is None:
        raise UsageError(f"expected the name of a client: edge-inspect keys {options.action} NAME --keys DIR")
    if options.action == "new":
        _make(folder, options.name, Role(options.role), options.out or Path(f"{options.name}.key"))
    else:
        folder.revoke(options.name)
        print(f"{options.name} is revoked; a running daemon cuts it off within seconds")
    return 0


def _make(folder: KeyFolder, name: str, role: Role, out: Path) -> None:
    folder.new_client(name, role, out)
    print(f"{out}: key of {name} ({role.value}), mode 0600; take it to that client and leave no copy here")


def _list(folder: KeyFolder) -> None:
    clients = folder.clients()
    print(f"station  {folder.station_key().public}")
    for client in clients:
        state = f"revoked {client.revoked}" if client.revoked else f"since {client.created}"
        print(f"{client.name:<20}  {client.role.value:<8}{client.public}  {state}")
