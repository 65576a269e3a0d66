from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge.config import load_config
from edge.service.units import ServiceOptions, gateway_unit, page_unit, vision_unit
from engines.errors import ConfigError

PLC = '[plc]\ntravel = 1.0\nmargin = 0.1\n[plc.modbus]\nhost = "10.0.0.2"\n[plc.log]\npath = "/var/log/edge/plc.jsonl"'
Unit = Callable[..., list[str]]


@pytest.fixture
def unit(station_file) -> Unit:
    def make(more: str = "", options: ServiceOptions | None = None, gateway: bool = False, **table: str) -> list[str]:
        path = station_file(more, **table)
        write = gateway_unit if gateway else vision_unit
        return write(path, load_config(path), options or ServiceOptions()).splitlines()

    return make


@pytest.fixture
def page(station_file) -> Unit:
    def make(more: str = "", options: ServiceOptions | None = None) -> list[str]:
        path = station_file(more)
        return page_unit(path, load_config(path), options or ServiceOptions()).splitlines()

    return make


def test_all_are_watched_and_started_again_within_limits(unit: Unit, page: Unit) -> None:
    for lines in (unit(), unit(PLC, gateway=True), page()):
        assert {"Type=notify", "WatchdogSec=30", "Restart=on-failure", "StartLimitBurst=10"} <= set(lines)
        assert "RestartPreventExitStatus=2" in lines
        assert "ProtectSystem=strict" in lines
        assert not any(line.startswith("MemoryDenyWriteExecute") for line in lines)


def test_only_the_daemon_can_read_its_station_file_again(unit: Unit) -> None:
    assert "ExecReload=/bin/kill -HUP $MAINPID" in unit()
    assert not any(line.startswith("ExecReload") for line in unit(PLC, gateway=True))


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/data/archive", "ReadWritePaths=-/data/archive"),
        ("/home/line/archive", "BindPaths=-/home/line/archive"),
    ],
)
def test_the_daemon_may_write_its_archive_and_the_gateway_may_not(unit: Unit, folder: str, expected: str) -> None:
    archive = f'[archive]\nfolder = "{folder}"\n'
    assert [line for line in unit(archive) if folder in line] == [expected]
    assert not any(folder in line for line in unit(archive + PLC, gateway=True))


def test_the_gateway_outlives_the_daemon(unit: Unit) -> None:
    bound = ("Requires", "BindsTo", "PartOf", "After=edge-inspect", "Wants")
    assert [line for line in unit(PLC, gateway=True) if line.startswith(bound)] == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ServiceOptions(), "DynamicUser=yes"),
        (ServiceOptions(user="vision"), "User=vision"),
        (ServiceOptions(realtime=20), "CPUSchedulingPriority=20"),
        (ServiceOptions(realtime=20), "CPUSchedulingPolicy=fifo"),
        (ServiceOptions(realtime=20), "LimitRTPRIO=20"),
        (ServiceOptions(), "RestrictRealtime=yes"),
        (ServiceOptions(cpus="2-3"), "CPUAffinity=2-3"),
        (ServiceOptions(watchdog_s=9), "WatchdogSec=9"),
    ],
)
def test_options_are_in_both_units(unit: Unit, options: ServiceOptions, expected: str) -> None:
    assert expected in unit("", options)
    assert expected in unit(PLC, options, gateway=True)


@pytest.mark.parametrize(
    ("more", "table", "expected"),
    [
        ("", {}, "PrivateDevices=yes"),
        ("", {"camera": 'kind = "opencv"\ndevice = 0'}, "DeviceAllow=char-video4linux rw"),
        ('[engine]\nbackend = "tensorrt"', {}, "PrivateDevices=no"),
        ("", {"camera": 'kind = "synthetic"'}, "PrivateDevices=yes"),
        ("", {"camera": 'kind = "csi"'}, "PrivateDevices=no"),
        ('[security]\nkeys = "/etc/k"', {}, "LoadCredential=station.key:/etc/k/station.key"),
        ("[publish]\nwait_for_subscriber_s = 3000", {}, "TimeoutStartSec=3600"),
        ("[pipeline]\ndrain_s = 100", {}, "TimeoutStopSec=115"),
        ("", {"bundle": "/home/op/b"}, "BindReadOnlyPaths=-/home/op/b"),
        ("", {"bundle": "/home/op/b"}, "BindReadOnlyPaths=-/home/op/b.engines"),
        ("", {"bundle": "/home/op/a b%c"}, 'BindReadOnlyPaths=-"/home/op/a b%%c"'),
        ("", {"bundle": "/home/op/a:b"}, "BindReadOnlyPaths=-/home/op/a\\:b"),
    ],
)
def test_what_the_station_file_names_can_be_reached(
    unit: Unit, more: str, table: dict[str, str], expected: str
) -> None:
    assert expected in unit(more, **table)


def test_only_the_gateway_writes_its_log(unit: Unit) -> None:
    assert "ReadWritePaths=-/var/log/edge" in unit(PLC, gateway=True)
    assert [line for line in unit(PLC) if line.startswith("ReadWritePaths")] == []


def test_the_gateway_takes_its_key_as_a_credential(unit: Unit) -> None:
    keyed = PLC.replace("margin", 'key = "/etc/k/gateway.key"\nmargin')
    assert "LoadCredential=gateway.key:/etc/k/gateway.key" in unit(keyed, gateway=True)
    assert [line for line in unit(keyed) if "gateway.key" in line] == []


def test_a_gateway_that_publishes_takes_the_key_of_the_station(unit: Unit) -> None:
    keys, key = '[security]\nkeys = "/etc/k"\n', "LoadCredential=station.key:/etc/k/station.key"
    publish = '\n[plc.publish]\nbind = "tcp://127.0.0.1:5557"\n'
    assert key not in unit(keys + PLC, gateway=True)
    assert key in unit(keys + PLC + publish, gateway=True)


def test_the_page_is_the_daemons_user_and_gives_way_to_it(unit: Unit, page: Unit) -> None:
    daemon = {line for line in unit() if line.startswith(("User=", "DynamicUser=", "StateDirectory="))}
    assert daemon == {"User=edge-inspect", "DynamicUser=yes", "StateDirectory=edge-inspect"}
    lines = page("", ServiceOptions(realtime=20, cpus="2-3"))
    assert daemon | {"CPUWeight=10", "RestrictRealtime=yes"} <= set(lines)
    assert not any(line.startswith(("CPUScheduling", "CPUAffinity", "LimitRTPRIO")) for line in lines)
    assert "User=vision" in page("", ServiceOptions(user="vision"))


def test_the_page_writes_in_the_archive_alone_and_takes_its_secrets_as_credentials(page: Unit) -> None:
    audit = '[audit]\nfile = "/data/audit/a.jsonl"\n'
    secrets = '[web]\nkey = "/etc/k/page.key"\ncertificate = "/etc/k/page.pem"\nprivate_key = "/etc/k/tls.pem"\n'
    lines = page(f'[archive]\nfolder = "/data/archive"\n{audit}{secrets}{PLC}')
    assert [line for line in lines if line.startswith(("ReadWritePaths", "BindPaths"))] == [
        "ReadWritePaths=-/data/archive"
    ]
    assert [line for line in lines if line.startswith("LoadCredential")] == [
        "LoadCredential=page.key:/etc/k/page.key",
        "LoadCredential=tls.pem:/etc/k/tls.pem",
    ]


def test_a_path_cannot_add_a_line(unit: Unit) -> None:
    with pytest.raises(ConfigError, match="without control characters"):
        unit(bundle="/home/op/a\\nExecStartPre=/bin/evil")


def test_the_command_names_the_station_file(unit: Unit, tmp_path: Path) -> None:
    (command,) = [line for line in unit() if line.startswith("ExecStart=")]
    assert command.endswith(f"edge-inspect run --config {tmp_path}/station.toml")
    (command,) = [line for line in unit(PLC, gateway=True) if line.startswith("ExecStart=")]
    assert " plc --config " in command


def test_the_gateway_reaches_its_outputs_and_no_other_device(unit: Unit) -> None:
    with_outputs = PLC + "\n[plc.gpio]\nejector = 3\n"
    assert "PrivateDevices=yes" in unit(PLC, gateway=True)
    assert "DeviceAllow=/dev/gpiochip0 rw" in unit(with_outputs, gateway=True)
    assert "PrivateDevices=yes" not in unit(with_outputs, gateway=True)
