"""`edge-inspect web-user`: who may log in to the page."""

from __future__ import annotations

import argparse
import getpass
import sys

from edge.web.users import Role, UserFile
from engines.errors import UsageError


def manage_users(options: argparse.Namespace) -> None:
    """Add a user, list all, or remove one. Raises UsageError or ConfigError."""
    file = UserFile(options.users)
    if options.action == "list":
        for user in file.users().values():
            print(f"{user.name:<20}  {user.role.value:<10}since {user.created}")
        return
    if options.name is None:
        raise UsageError(f"expected a name: edge-inspect web-user {options.action} NAME --users FILE")
    if options.action == "add":
        file.add(options.name, Role(options.role), _password())
        print(f"{options.name} may log in as {options.role}")
    else:
        file.remove(options.name)
        print(f"{options.name} is removed, and logged out at the next click")


def _password() -> str:
    """From the keyboard, twice; or one line from a pipe. Never from the command line, which every process can read."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("password: ")
    if getpass.getpass("once more: ") != password:
        raise UsageError("the two passwords differ")
    return password
