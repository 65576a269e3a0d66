from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.cameras.camera import Shutter
from edge.cameras.software_triggers import SoftwareTriggers


@given(st.lists(st.sampled_from(["trigger", "frame", "read"]), max_size=60))
def test_every_trigger_comes_out_once_in_order_and_no_frame_goes_to_another(events: list[str]) -> None:
    triggers, shutter = SoftwareTriggers(), Shutter()
    asked: list[int] = []
    exposing: list[int] = []  # what the camera works on, which is one picture at most
    out: list[int | None] = []

    def read_overruns() -> None:
        while (overrun := triggers.overrun(shutter)) is not None:
            out.append(overrun.trigger_id)

    for event in events:
        if event == "trigger":
            asked.append(len(asked) + 1)
            if triggers.accept(asked[-1]):
                assert not exposing
                exposing.append(asked[-1])
        elif event == "frame" and exposing:
            read_overruns()
            assert triggers.settle() == exposing[0]
            out.append(exposing.pop())
        else:
            read_overruns()
    read_overruns()
    assert out == asked[: len(out)]
    assert len(out) == len(asked) or exposing


def test_a_frame_that_nobody_asked_for_belongs_to_none() -> None:
    triggers = SoftwareTriggers()
    assert triggers.settle() is None
    assert triggers.accept(1)
    triggers.clear()
    assert triggers.settle() is None
