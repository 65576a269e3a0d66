"""The `edge-inspect` command: finds a subcommand by its name, runs it, turns errors into exit codes.

Packages register subcommands as entry points of the group `edge_inspect.commands` (see setup.cfg); each one is a
`Command`. Only the module of the subcommand that was called is imported.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from engines import __version__
from engines.errors import InspectError

GROUP = "edge_inspect.commands"


@dataclass(frozen=True)
class Command:
    """One subcommand: what `--help` says of it, its options, and what it does.

    `run` returns the exit code, or None for 0. Heavy imports belong inside `run`.
    """

    summary: str
    example: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]


def invoke(name: str, arguments: Sequence[str]) -> int:
    """Run one subcommand by name, as the shell would, and return its exit code.

    Errors are left to the caller. One package reaches another's command this way without importing it.
    """
    command = _load(_registered()[name])
    parser = argparse.ArgumentParser(
        prog=f"edge-inspect {name}",
        description=command.summary,
        epilog=f"example:\n  {command.example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.configure(parser)
    return command.run(parser.parse_args(arguments)) or 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `edge-inspect`. Exit codes: 0 done, 2 wrong usage or bad input, 1 a failure of ours."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands = _registered()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview(commands))
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"edge-inspect {__version__}")
        return 0
    name, *rest = arguments
    if name not in commands:
        print(f"edge-inspect: no command {name!r}; known: {', '.join(sorted(commands))}", file=sys.stderr)
        return 2
    return _guarded(name, rest)


def _guarded(name: str, arguments: Sequence[str]) -> int:
    try:
        return invoke(name, arguments)
    except InspectError as error:
        print(f"edge-inspect {name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"edge-inspect {name}: stopped by Ctrl-C", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has gone. Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _load(entry: EntryPoint) -> Command:
    command = entry.load()
    if not isinstance(command, Command):
        raise TypeError(f"entry point {entry.value!r} is a {type(command).__name__}, expected a Command")
    return command


def _overview(commands: dict[str, EntryPoint]) -> str:
    width = max(map(len, commands), default=0)
    rows = [f"  {name:<{width}}  {_load(commands[name]).summary}" for name in sorted(commands)]
    return "\n".join(
        ["usage: edge-inspect COMMAND [options]", "", "commands:", *rows, "", "edge-inspect COMMAND --help says more."]
    )
