from __future__ import annotations

from pathlib import Path

import pytest

from edge.web.sessions import LIFETIME_S, Sessions, same
from edge.web.users import Role, UserFile
from tests.edge.clock import Clock
from tests.edge.web.conftest import PASSWORD


def test_a_session_lasts_for_a_shift(users_file: Path, clock: Clock) -> None:
    users = UserFile(users_file)
    sessions = Sessions(users, clock)
    token = sessions.begin(users.users()["oleg"])
    visitor = sessions.visitor(token)
    assert visitor is not None
    assert (visitor.name, visitor.may_write) == ("oleg", True)
    clock.now += LIFETIME_S - 1
    assert sessions.visitor(token) == visitor
    clock.now += 1
    assert sessions.visitor(token) is None


def test_a_session_ends_with_its_user_and_when_the_password_changes(tmp_path: Path) -> None:
    users = UserFile(tmp_path / "u.json")
    users.add("ana", Role.VIEWER, PASSWORD)
    sessions = Sessions(users)
    first = sessions.begin(users.users()["ana"])
    users.add("ana", Role.VIEWER, PASSWORD + "!")
    assert sessions.visitor(first) is None
    second = sessions.begin(users.users()["ana"])
    assert sessions.visitor(second)
    users.remove("ana")
    assert sessions.visitor(second) is None


@pytest.mark.parametrize("token", ["", "x", "x" * 10_000, "\N{SNOWMAN}"])
def test_no_token_of_ours_opens_nothing(users_file: Path, token: str) -> None:
    sessions = Sessions(UserFile(users_file))
    sessions.begin(UserFile(users_file).users()["vera"])
    assert sessions.visitor(token) is None


def test_every_session_has_its_own_secrets(users_file: Path) -> None:
    users = UserFile(users_file)
    sessions = Sessions(users)
    tokens = [sessions.begin(users.users()["vera"]) for _ in range(3)]
    visitors = [sessions.visitor(token) for token in tokens]
    assert len({*tokens, *(visitor.csrf for visitor in visitors if visitor)}) == 6
    sessions.end(tokens[0])
    assert [sessions.visitor(token) is not None for token in tokens] == [False, True, True]


def test_an_empty_secret_is_the_same_as_nothing() -> None:
    assert same("a", "a")
    assert not same("a", "b")
    assert not same("", "")
