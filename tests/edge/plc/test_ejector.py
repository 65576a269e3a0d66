from __future__ import annotations

import math

import pytest

from edge.plc.conveyor import Ruling
from edge.plc.ejector import Ejector
from edge.verdict import Evaluation

GOOD, BAD, UNKNOWN = (Ruling(1, evaluation) for evaluation in Evaluation)


@pytest.mark.parametrize(
    ("fire", "ruling", "on"),
    [
        ("reject", GOOD, False),
        ("reject", BAD, True),
        ("reject", UNKNOWN, True),
        ("release", GOOD, True),
        ("release", BAD, False),
        ("release", UNKNOWN, False),
    ],
)
def test_the_pulse_is_for_one_kind_of_part(fire: str, ruling: Ruling, on: bool) -> None:
    ejector = Ejector(fire, pulse_s=0.5)  # type: ignore[arg-type]
    ejector.meet(ruling, now=1.0)
    assert ejector.level(1.0) is on
    assert ejector.next_change(1.0) == (1.5 if on else math.inf)
    assert ejector.level(1.5) is False


def test_a_reject_keeps_the_output_on_when_a_good_part_follows_within_its_pulse() -> None:
    ejector = Ejector("reject", pulse_s=0.5)
    ejector.meet(BAD, now=1.0)
    ejector.meet(GOOD, now=1.2)
    assert ejector.level(1.3)


def test_a_rejected_part_cuts_off_the_pulse_that_released_the_part_before_it() -> None:
    ejector = Ejector("release", pulse_s=0.5)
    ejector.meet(GOOD, now=1.0)
    ejector.meet(BAD, now=1.2)
    assert not ejector.level(1.2)
