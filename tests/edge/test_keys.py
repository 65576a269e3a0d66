from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
import zmq

from edge.keys import Client, ClientKey, KeyFolder, Role, read_client_key
from engines.errors import ConfigError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_client_gets_a_working_pair_and_the_station_knows_its_public_half(folder: KeyFolder, tmp_path: Path) -> None:
    out = tmp_path / "gateway.key"
    key = folder.new_client("gateway", Role.CONTROL, out)
    assert read_client_key(out) == key
    assert zmq.curve_public(key.secret.encode()).decode() == key.public
    station = folder.station_key()
    assert key.station == station.public == zmq.curve_public(station.secret.encode()).decode()
    (client,) = folder.clients()
    assert (client.name, client.public, client.role, client.revoked) == ("gateway", key.public, Role.CONTROL, None)
    assert key.secret not in (folder.path / "clients" / "gateway.json").read_text()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_secrets_are_readable_by_the_owner_only_and_the_list_by_all(
    folder: KeyFolder, tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        folder.new_client("a", Role.READ, tmp_path / "a.key")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a.key") == mode(folder.path / "station.key") == 0o600
    assert mode(folder.path / "clients" / "a.json") == 0o644


def test_all_clients_know_the_same_station(folder: KeyFolder, tmp_path: Path) -> None:
    first = folder.new_client("a", Role.READ, tmp_path / "a.key")
    second = folder.new_client("b", Role.READ, tmp_path / "b.key")
    assert first.station == second.station
    assert first.public != second.public
    assert [client.name for client in folder.clients()] == ["a", "b"]


def test_a_revoked_client_stays_in_the_list_and_its_name_is_not_given_again(folder: KeyFolder, tmp_path: Path) -> None:
    folder.new_client("a", Role.READ, tmp_path / "a.key")
    folder.revoke("a")
    (client,) = folder.clients()
    assert client.revoked is not None
    folder.revoke("a")
    assert folder.clients() == [client]
    with pytest.raises(UsageError, match="there has been a client 'a'"):
        folder.new_client("a", Role.READ, tmp_path / "again.key")


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "a b", "x" * 65, "a\n"])
def test_a_name_that_is_no_name_is_refused(folder: KeyFolder, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="expected a name of letters"):
        folder.new_client(name, Role.READ, tmp_path / "a.key")
    with pytest.raises(UsageError, match="expected a name of letters"):
        folder.revoke(name)


def test_no_key_is_overwritten(folder: KeyFolder, tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        folder.new_client("a", Role.READ, tmp_path / "a.key")
    assert (tmp_path / "a.key").read_text() == "precious"
    assert folder.clients() == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_revoking_nobody_names_those_there_are(folder: KeyFolder, tmp_path: Path) -> None:
    folder.new_client("a", Role.READ, tmp_path / "a.key")
    with pytest.raises(UsageError, match=r"no client 'b' .*; known: a"):
        folder.revoke("b")


def test_a_secret_that_others_can_read_is_refused(folder: KeyFolder, tmp_path: Path) -> None:
    folder.new_client("a", Role.READ, tmp_path / "a.key")
    (tmp_path / "a.key").chmod(0o640)
    with pytest.raises(ConfigError, match=r"others can read it \(mode 0640\): chmod 600"):
        read_client_key(tmp_path / "a.key")
    (folder.path / "station.key").chmod(0o604)
    with pytest.raises(ConfigError, match="chmod 600"):
        folder.station_key()


def test_a_credential_of_systemd_goes_before_the_file_whatever_its_mode(
    folder: KeyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.new_client("a", Role.READ, tmp_path / "a.key")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (folder.path / "station.key").rename(credentials / "station.key")
    (tmp_path / "a.key").rename(credentials / "a.key")
    for file in credentials.iterdir():
        file.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert read_client_key(tmp_path / "a.key").station == folder.station_key().public


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"null", b'{"public":"x","secret":"y"}', b"[" * 5000])
def test_what_is_no_key_is_refused_by_name(folder: KeyFolder, tmp_path: Path, content: bytes) -> None:
    folder.new_client("a", Role.READ, tmp_path / "a.key")
    for path in (folder.path / "station.key", folder.path / "clients" / "a.json", tmp_path / "a.key"):
        path.write_bytes(content)
        path.chmod(0o600)
    for read in (folder.station_key, folder.clients, lambda: read_client_key(tmp_path / "a.key")):
        with pytest.raises(ConfigError, match="is no file that `edge-inspect keys` wrote"):
            read()


def test_an_absent_key_says_how_to_make_one(folder: KeyFolder) -> None:
    with pytest.raises(ConfigError, match="make one with `edge-inspect keys new`"):
        folder.station_key()


def test_the_commands_make_list_and_revoke(cli: tuple[str, ...], tmp_path: Path) -> None:
    def keys(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*cli, "keys", *arguments, "--keys", "keys"]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)

    made = keys("new", "gateway", "--role", "control")
    assert (made.returncode, made.stdout.split(":")[0]) == (0, "gateway.key")
    assert mode(tmp_path / "gateway.key") == 0o600
    assert keys("new", "panel", "--out", "panel.secret").returncode == 0
    assert keys("revoke", "panel").returncode == 0
    station, gateway, panel = keys("list").stdout.splitlines()
    assert station.split()[0] == "station"
    assert gateway.split()[:2] == ["gateway", "control"]
    assert panel.split()[:2] == ["panel", "read"]
    assert " revoked " in panel
    failed = keys("new")
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)


def test_structs_have_nothing_that_a_list_must_not_show() -> None:
    assert "secret" in ClientKey.__struct_fields__
    assert "secret" not in Client.__struct_fields__
