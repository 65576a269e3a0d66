"""The daemon's subcommands of `edge-inspect`: run, watch, web, plc, control, keys, audit-log, doctor and more."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from engines.cli import Command

_MOST_PIXELS = 1 << 28


def _configure_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="station file in TOML")


def _run(options: argparse.Namespace) -> int:
    from edge.config import load_config
    from edge.service.journal import set_up_logging

    set_up_logging()
    # OpenCV reads it when it is loaded. Its own limit lets a small file of zeros take gigabytes.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(_MOST_PIXELS))
    config = load_config(options.config)
    # After the check of the station file: it takes milliseconds, the engine's library much longer.
    from edge.daemon import run_station

    return run_station(config, read_again=lambda: load_config(options.config))


def _configure_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--connect",
        action="append",
        metavar="ADDRESS",
        help="address of a daemon (default tcp://127.0.0.1:5555); may be given several times",
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="key of this client, where the daemon wants one")
    parser.add_argument("--station", default="", metavar="NAME", help="listen to this station only")
    parser.add_argument("--json", action="store_true", help="print each verdict as it came, one JSON object a line")
    parser.add_argument("--heartbeats", action="store_true", help="print heartbeats too")
    parser.add_argument("--count", type=int, metavar="N", help="end after N verdicts")
    parser.add_argument("--timeout", type=float, metavar="S", help="give up when nothing is heard for S seconds")


def _watch(options: argparse.Namespace) -> int:
    from edge.watch import watch_stations

    return watch_stations(options)


def _web(options: argparse.Namespace) -> int:
    from edge.config import load_config
    from edge.service.journal import set_up_logging

    set_up_logging()
    config = load_config(options.config)
    from edge.web.server import serve_page

    return serve_page(config)


def _configure_web_user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("add", "list", "remove"), help="add or change a user, list all, remove one")
    parser.add_argument("name", nargs="?", help="name of the user: letters, digits, dash, underscore")
    parser.add_argument("--users", required=True, type=Path, metavar="FILE", help="file that `[web] users` names")
    parser.add_argument(
        "--role", choices=("viewer", "operator"), default="viewer", help="an `operator` may also say what a part was"
    )


def _web_user(options: argparse.Namespace) -> None:
    from edge.web.user_commands import manage_users

    manage_users(options)


def _plc(options: argparse.Namespace) -> int:
    from edge.config import load_config
    from edge.service.journal import set_up_logging

    set_up_logging()
    config = load_config(options.config)
    from edge.plc.station import run_gateway

    return run_gateway(config)


def _configure_keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("new", "list", "revoke"), help="make a client's key, list all, revoke one")
    parser.add_argument("name", nargs="?", help="name of the client: letters, digits, dot, dash, underscore")
    parser.add_argument("--keys", required=True, type=Path, metavar="DIR", help="folder that `[security] keys` names")
    parser.add_argument(
        "--role", choices=("read", "control"), default="read", help="`control` may also switch recipes and trigger"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="key file of the client (default NAME.key)")


def _keys(options: argparse.Namespace) -> int:
    from edge.key_commands import manage_keys

    return manage_keys(options)


def _configure_install_service(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="station file in TOML")
    parser.add_argument("--web", action="store_true", help="a service for the live page, too")
    parser.add_argument("--user", metavar="U", help="user that the services run as (default: dynamic ones)")
    parser.add_argument("--realtime", type=int, metavar="N", help="real-time priority, 1 to 99 (default: none)")
    parser.add_argument("--cpus", metavar="LIST", help="CPUs to run on, such as 2-3 (default: all)")
    parser.add_argument(
        "--watchdog", type=int, default=30, metavar="S", help="a worker may be stuck for half of this (default: 30)"
    )
    parser.add_argument(
        "--directory", type=Path, default=Path("/etc/systemd/system"), metavar="DIR", help="(default: %(default)s)"
    )


def _install_service(options: argparse.Namespace) -> int:
    from edge.service.install import install_service

    return install_service(options)


def _configure_audit_log(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="trails: what `[audit]` names")
    parser.add_argument("--config", type=Path, metavar="FILE", help="take the trails that this station file names")
    parser.add_argument("--verify", action="store_true", help="check that nobody has changed them; exit code 1 if so")
    parser.add_argument("--expect", metavar="SHA256", help="with --verify: an entry that must be there, from the log")
    parser.add_argument("--json", action="store_true", help="print each entry whole, one JSON object a line")


def _audit_log(options: argparse.Namespace) -> int:
    from edge.audit.listing import show_trails

    return show_trails(options)


def _configure_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def _doctor(options: argparse.Namespace) -> int:
    from edge.doctor import can_inspect, examine, report

    findings = examine()
    print(report(findings, as_json=options.json))
    return 0 if can_inspect(findings) else 1


def _configure_control(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--connect",
        default="tcp://127.0.0.1:5556",
        metavar="ADDRESS",
        help="the daemon's [control] bind (default: %(default)s)",
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="key of this client, where the daemon wants one")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="wait so long for the answer")
    asked = parser.add_subparsers(dest="request", required=True, metavar="REQUEST")
    asked.add_parser("status", help="print how the station and its cameras are, as JSON")
    asked.add_parser("self-test", help="replay the golden parts through the engines that judge now")
    asked.add_parser("reload", help="have the station file read again, and print what changed and what needs a restart")
    recipe = asked.add_parser("recipe", help="judge the parts to come by another recipe")
    which = recipe.add_mutually_exclusive_group(required=True)
    which.add_argument("recipe", nargs="?", metavar="NAME", help="name of the recipe in the station file")
    which.add_argument("--job", type=int, metavar="N", help="or its job number")
    recipe.add_argument("--camera", metavar="NAME", help="of this camera only (default: of every camera)")
    trigger = asked.add_parser("trigger", help="have a camera with software triggers take a picture of the part there")
    trigger.add_argument("camera", help="name of the camera in the station file")
    trigger.add_argument("--part-id", metavar="TEXT", help="what the verdict will call the part")
    trigger.add_argument("--encoder", type=int, metavar="N", help="encoder count that the verdict will repeat")


def _control(options: argparse.Namespace) -> int:
    from edge.asker import ask_station

    return ask_station(options)


run = Command(
    summary="judge every part that a camera sees and publish the verdicts",
    example="edge-inspect run --config station.toml",
    configure=_configure_run,
    run=_run,
)


def _check_config(options: argparse.Namespace) -> None:
    from edge.check import check_station

    print("\n".join(check_station(options.config)))


check_config = Command(
    summary="check a station file, its bundles and keys, without starting anything",
    example="edge-inspect check-config --config station.toml",
    configure=_configure_run,
    run=_check_config,
)

watch = Command(
    summary="print the verdicts of a running daemon as they come",
    example="edge-inspect watch --connect tcp://127.0.0.1:5555 --count 10",
    configure=_configure_watch,
    run=_watch,
)

web = Command(
    summary="show a running daemon and its archive on a page",
    example="edge-inspect web --config station.toml",
    configure=_configure_run,
    run=_web,
)

web_user = Command(
    summary="add, list and remove those who may log in to the page; asks for the password",
    example="edge-inspect web-user add ana --role operator --users /etc/edge-inspect/web-users.json",
    configure=_configure_web_user,
    run=_web_user,
)

control = Command(
    summary="ask a running daemon something",
    example="edge-inspect control --connect tcp://127.0.0.1:5556 status",
    configure=_configure_control,
    run=_control,
)

plc = Command(
    summary="drive the reject: take verdicts to the PLC, and reject whatever nobody vouches for",
    example="edge-inspect plc --config station.toml",
    configure=_configure_run,
    run=_plc,
)

keys = Command(
    summary="make, list and revoke the keys by which clients may connect to a station",
    example="edge-inspect keys new gateway --role control --keys /etc/edge-inspect/keys",
    configure=_configure_keys,
    run=_keys,
)

audit_log = Command(
    summary="show who changed what on a station, or verify that nobody has changed the record of it",
    example="edge-inspect audit-log --config station.toml --verify",
    configure=_configure_audit_log,
    run=_audit_log,
)

install_service = Command(
    summary="write the systemd units of a station, watched, hardened and checked",
    example="edge-inspect install-service --config /etc/edge-inspect/station.toml",
    configure=_configure_install_service,
    run=_install_service,
)

doctor = Command(
    summary="tell what this machine can run and what is missing",
    example="edge-inspect doctor",
    configure=_configure_doctor,
    run=_doctor,
)
