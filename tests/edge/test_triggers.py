"""Faults thrown at a simulated line: parts in are verdicts out, none twice, none for another part."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cameras.camera import Frame
from edge.cameras.frame_numbers import FrameNumbers
from edge.triggers import LATE, MOST_MISSING, REPEATED, UNASKED, Asked, Counted, Trigger

DEADLINE_NS = 100


def picture(part: int) -> Frame:
    """A frame that shows which part it is of."""
    return Frame(part, np.array([[part % 256, part // 256]], np.uint8), part, float(part), 0.1, trigger_id=part)


def shown(frame: Frame) -> int | None:
    """Which part a frame shows."""
    return None if frame.image is None else int(frame.image[0, 0]) + 256 * int(frame.image[0, 1])


@dataclass
class Line:
    """A camera with software triggers that may do anything but show another part than the one that it says."""

    now_ns: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    out: list[Frame] = field(default_factory=list)
    triggered: int = 0
    delivered: int = 0

    def __post_init__(self) -> None:
        self.ledger = Asked(DEADLINE_NS, lambda cause: self.drops.update([cause]))

    def trigger(self, fault: str) -> None:
        self.triggered += 1
        trigger = Trigger(self.triggered, self.now_ns, 0.0, f"part {self.triggered}", 10 * self.triggered)
        self.out += self.ledger.expect(trigger, fault)

    def deliver(self, number: int) -> None:
        self.delivered += 1
        self.out += self.ledger.take(picture(number))

    def wait(self, ns: int) -> None:
        self.now_ns += ns
        self.out += self.ledger.overdue(self.now_ns)

    def lose_camera(self, fault: str) -> None:
        self.out += self.ledger.give_up(fault)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("trigger"), st.sampled_from(["", "", "", "overrun"])),
        st.tuples(st.just("deliver"), st.integers(1, 40)),
        st.tuples(st.just("wait"), st.integers(1, 2 * DEADLINE_NS)),
        st.tuples(st.just("lose_camera"), st.just("camera lost")),
    ),
    max_size=120,
)


@given(EVENTS)
def test_every_trigger_comes_out_once_in_order_with_its_own_picture_or_a_reason(
    events: list[tuple[str, str | int]],
) -> None:
    line = Line()
    for name, argument in events:
        getattr(line, name)(argument)
        line.out += line.ledger.overdue(line.now_ns)
    line.lose_camera("the end")
    assert [frame.trigger_id for frame in line.out] == list(range(1, line.triggered + 1))
    assert line.ledger.owed == 0
    pictures = [frame for frame in line.out if frame.image is not None]
    assert all(shown(frame) == frame.trigger_id and not frame.fault for frame in pictures)
    assert all(frame.fault for frame in line.out if frame.image is None)
    assert all((f.part_id, f.encoder) == (f"part {f.trigger_id}", 10 * (f.trigger_id or 0)) for f in line.out)
    assert line.delivered == len(pictures) + sum(line.drops.values())


def test_a_frame_that_does_not_come_in_time_is_missing_and_its_late_arrival_is_only_counted() -> None:
    line = Line()
    line.trigger("")
    line.wait(DEADLINE_NS)
    assert line.out == []
    line.wait(1)
    assert line.out[0].fault == "missing: no frame within 1e-07 s of the trigger"
    line.trigger("")
    line.deliver(1)
    line.deliver(2)
    line.deliver(9)
    line.out += line.ledger.take(Frame(1, picture(1).image, 0, 0.0, 0.0))
    assert [shown(frame) for frame in line.out] == [None, 2]
    assert line.drops == {LATE: 1, UNASKED: 2}


def test_a_trigger_with_a_fault_waits_for_its_turn() -> None:
    line = Line()
    line.trigger("")
    line.trigger("overrun")
    assert line.out == []
    assert line.ledger.owed == 1
    line.deliver(1)
    assert [(frame.trigger_id, frame.fault) for frame in line.out] == [(1, ""), (2, "overrun")]


def test_a_frame_proves_that_those_before_it_are_missing() -> None:
    line = Line()
    for _ in range(3):
        line.trigger("")
    line.deliver(3)
    assert [frame.fault for frame in line.out] == [*["missing: the frame of trigger 3 came first"] * 2, ""]


def test_ids_of_triggers_only_grow() -> None:
    ledger = Asked(DEADLINE_NS, lambda cause: None)
    ledger.expect(Trigger(5, 0, 0.0))
    with pytest.raises(ValueError, match="expected a trigger after 5, found 5"):
        ledger.expect(Trigger(5, 0, 0.0))


@dataclass
class Hardware:
    """A camera that a light barrier triggers: part k has number `first + k`, modulo `cycle`, and is told unwrapped."""

    cycle: int
    first: int
    drops: Counter[str] = field(default_factory=Counter)
    out: list[Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = Counted(lambda cause: self.drops.update([cause]))
        self.numbers = FrameNumbers(self.cycle)

    def deliver(self, part: int) -> None:
        frame = picture(part)
        number, _ = self.numbers.unwrap(self.number(part))
        self.out += self.ledger.take(Frame(part, frame.image, 1, 1.0, 0.1, trigger_id=number))

    def number(self, part: int) -> int:
        number = self.first + part
        return (number - 1) % self.cycle + 1 if self.cycle else number


# For every part: lost, delivered, delivered twice, or delivered too late, after so many others.
FATES = st.lists(st.one_of(st.just(0), st.just(0), st.just("lost"), st.just("twice"), st.integers(1, 3)), min_size=1)


@given(FATES, st.sampled_from([0, 31, 65_535]), st.integers(0, 70_000))
def test_every_part_a_light_barrier_sees_comes_out_once_and_in_order(
    fates: list[int | str], cycle: int, first: int
) -> None:
    camera = Hardware(cycle, first)
    if cycle == 31:  # more than half the cycle lost in a row cannot be told from a step back
        fates = [fate if index % 8 else 0 for index, fate in enumerate(fates)]
    late = []
    delivered = []
    for part, fate in enumerate(fates, start=1):
        if fate != "lost" and not (isinstance(fate, int) and fate):
            camera.deliver(part)
            delivered.append(part)
        if fate == "twice":
            camera.deliver(part)
        if isinstance(fate, int) and fate:
            late.append((part + fate, part))
        for _, other in [each for each in late if each[0] == part and delivered and other_is_late(each[1], delivered)]:
            camera.deliver(other)
    seen = range(delivered[0], delivered[-1] + 1) if delivered else range(0)
    assert [frame.trigger_id for frame in camera.out] == list(range(1, len(seen) + 1))
    assert [shown(frame) for frame in camera.out] == [part if part in delivered else None for part in seen]
    assert all(bool(frame.fault) == (frame.image is None) for frame in camera.out)
    assert set(camera.drops) <= {LATE, REPEATED}


def other_is_late(part: int, delivered: list[int]) -> bool:
    """Whether the part was noticed as missing before: one before the first frame, or after the last, never is."""
    return delivered[0] < part < delivered[-1]


def test_a_camera_that_was_opened_again_may_count_anew() -> None:
    camera = Hardware(65_535, first=500)
    camera.deliver(1)
    camera.ledger.resume()
    camera.first, camera.numbers = 0, FrameNumbers(camera.cycle)
    camera.deliver(2)
    assert [(frame.trigger_id, shown(frame)) for frame in camera.out] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("number", [3, 10**12])
def test_a_leap_is_no_loss_but_a_camera_that_counts_anew(number: int) -> None:
    ledger = Counted(lambda cause: None)
    image = picture(1).image
    for each in (900_000, number):
        settled = ledger.take(Frame(1, image, 1, 1.0, 0.1, trigger_id=each))
    assert len(settled) == 1
    assert len(ledger.take(Frame(1, image, 1, 1.0, 0.1, trigger_id=number + MOST_MISSING))) == MOST_MISSING


def test_a_frame_without_a_number_belongs_to_no_part() -> None:
    camera = Hardware(0, 0)
    assert camera.ledger.take(Frame(1, picture(1).image, 1, 1.0, 0.1)) == []
    assert camera.drops == {UNASKED: 1}
