from __future__ import annotations

import pytest

from edge.plc.alarms import Lockout, RateAlarm
from edge.verdict import Evaluation

OK, BAD, UNKNOWN = Evaluation


@pytest.mark.parametrize(
    ("parts", "locked"),
    [
        ([BAD, BAD], False),
        ([BAD, BAD, BAD], True),
        ([BAD, BAD, OK, BAD], False),
        ([BAD, UNKNOWN, BAD, BAD], True),
        ([UNKNOWN] * 9, False),
        ([BAD, BAD, BAD, OK], True),
    ],
)
def test_defective_parts_in_a_row_lock_until_the_reset(parts: list[Evaluation], locked: bool) -> None:
    lockout = Lockout(3)
    for part in parts:
        lockout.note(part)
    assert lockout.locked is locked
    lockout.reset()
    lockout.note(BAD)
    assert not lockout.locked


def test_a_limit_of_zero_never_locks() -> None:
    lockout = Lockout(0)
    for _ in range(100):
        lockout.note(BAD)
    assert not lockout.locked


def test_the_rate_alarm_rings_above_its_share_of_a_full_window() -> None:
    alarm = RateAlarm(0.2, window=10)
    rings = []
    for part in [BAD, BAD, BAD] + [OK] * 9:
        alarm.note(part)
        rings.append(alarm.rings)
    assert rings == [False] * 9 + [True, False, False]
