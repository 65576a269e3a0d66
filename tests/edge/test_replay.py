from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.replay import ReplayRing


def filled(capacity: int, number: int) -> ReplayRing:
    ring = ReplayRing(capacity)
    for seq in range(1, number + 1):
        ring.append(seq, b"%d" % seq)
    return ring


@pytest.mark.parametrize(
    ("first", "last", "limit", "expected"),
    [
        (7, 9, 100, (7, [b"7", b"8", b"9"])),
        (7, 7, 100, (7, [b"7"])),
        (1, 7, 100, (6, [b"6", b"7"])),
        (9, 50, 100, (9, [b"9", b"10"])),
        (6, 10, 3, (6, [b"6", b"7", b"8"])),
        (6, 10, 0, (6, [b"6"])),
        (1, 3, 100, (6, [])),
        (11, 12, 100, (6, [])),
        (9, 7, 100, (6, [])),
    ],
)
def test_what_is_kept_is_returned_from_the_oldest_on(
    first: int, last: int, limit: int, expected: tuple[int, list[bytes]]
) -> None:
    assert filled(capacity=5, number=10).since(first, last, limit) == expected


def test_an_empty_ring_has_nothing() -> None:
    assert ReplayRing(5).since(1, 5, 100) == (1, [])


def test_a_number_that_does_not_follow_is_refused() -> None:
    with pytest.raises(ValueError, match="expected verdict 11 next, found 12"):
        filled(5, 10).append(12, b"")


@given(st.integers(1, 20), st.integers(0, 60), st.integers(-5, 70), st.integers(-5, 70), st.integers(0, 30))
def test_it_never_returns_another_verdict_than_the_one_numbered(
    capacity: int, number: int, first: int, last: int, limit: int
) -> None:
    start, messages = filled(capacity, number).since(first, last, limit)
    assert [int(message) for message in messages] == list(range(start, start + len(messages)))
    if messages:
        assert max(first, 1) <= start <= start + len(messages) - 1 <= min(last, number)
