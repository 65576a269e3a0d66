from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from edge.web.users import Role, UserFile
from engines.errors import ConfigError, UsageError
from tests.edge.web.conftest import PASSWORD


def test_only_the_right_password_opens(users_file: Path) -> None:
    users = UserFile(users_file)
    assert users.check("vera", PASSWORD) == users.users()["vera"]
    assert users.check("vera", PASSWORD + "r") is None
    assert users.check("vera", "") is None
    assert users.check("nobody", PASSWORD) is None


def test_the_file_holds_no_password_and_is_for_its_owner_alone(users_file: Path) -> None:
    text = users_file.read_text()
    assert PASSWORD not in text
    assert text.count("$argon2id$") == 2
    assert stat.S_IMODE(users_file.stat().st_mode) == 0o600


def test_a_change_counts_at_once(tmp_path: Path) -> None:
    writer, reader = UserFile(tmp_path / "u.json"), UserFile(tmp_path / "u.json")
    writer.add("ana", Role.VIEWER, PASSWORD)
    assert reader.users()["ana"].role is Role.VIEWER
    writer.add("ana", Role.OPERATOR, PASSWORD)
    assert reader.users()["ana"].role is Role.OPERATOR
    writer.remove("ana")
    assert reader.users() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_who_reads_it(tmp_path: Path) -> None:
    os.chown(tmp_path, 4711, 4712)
    users = UserFile(tmp_path / "u.json")
    users.add("ana", Role.VIEWER, PASSWORD)
    assert (users.path.stat().st_uid, users.path.stat().st_gid) == (4711, 4712)
    os.chown(tmp_path, 0, 0)
    users.add("oleg", Role.VIEWER, PASSWORD)
    assert (users.path.stat().st_uid, users.path.stat().st_mode & 0o777) == (4711, 0o600)


@pytest.mark.parametrize(
    ("name", "password", "message"),
    [
        ("ana", "short", "10 to 256"),
        ("ana", "x" * 257, "10 to 256"),
        ("../ana", PASSWORD, "expected a name"),
        ("", PASSWORD, "expected a name"),
        ("ana\n", PASSWORD, "expected a name"),
    ],
)
def test_what_is_no_name_or_password_is_refused(tmp_path: Path, name: str, password: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        UserFile(tmp_path / "u.json").add(name, Role.VIEWER, password)


@pytest.mark.parametrize("content", [b"", b"{}", b"[{}]", b"\xff", b"[" * 9000])
def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "u.json").write_bytes(content)
    with pytest.raises(ConfigError, match="no file that `edge-inspect web-user` wrote"):
        UserFile(tmp_path / "u.json").users()


def test_the_command_adds_lists_and_removes(tmp_path: Path, cli: tuple[str, ...]) -> None:
    def run(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [*cli, "web-user", *arguments, "--users", str(tmp_path / "u.json")]
        return subprocess.run(command, input=typed, capture_output=True, text=True, check=False)

    assert run("add", "ana", "--role", "operator", typed=f"{PASSWORD}\n").returncode == 0
    assert UserFile(tmp_path / "u.json").check("ana", PASSWORD)
    assert run("list").stdout.split()[:2] == ["ana", "operator"]
    assert run("remove", "ana").returncode == 0
    refused = run("remove", "ana")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert run("add").returncode == 2
