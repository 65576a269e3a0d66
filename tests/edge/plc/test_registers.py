from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.plc.conveyor import Ruling
from edge.plc.registers import (
    INPUT_BLOCK,
    RESULT_SLOT,
    STATUS_BLOCK,
    ResultBit,
    StatusBit,
    decode_inputs,
    encode_result,
    encode_status,
)
from edge.plc.signals import Inputs, Status
from edge.verdict import Evaluation

words = st.integers(0, 0xFFFF)


@pytest.mark.parametrize(
    ("status", "bits"),
    [
        (Status(), StatusBit(0)),
        (Status(ready=True), StatusBit.READY),
        (Status(busy=True, stop=True), StatusBit.BUSY | StatusBit.STOP),
        (Status(lockout=True, rate_alarm=True), StatusBit.LOCKOUT | StatusBit.RATE_ALARM),
    ],
)
def test_each_bit_of_the_status_has_its_place(status: Status, bits: StatusBit) -> None:
    assert encode_status(5, status, None) == [5, int(bits), 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("evaluation", "status_bit", "result_bit"),
    [
        (Evaluation.OK, StatusBit.OK, ResultBit.OK),
        (Evaluation.NOT_OK, StatusBit.NOT_OK, ResultBit.NOT_OK),
        (Evaluation.NOT_DECIDABLE, StatusBit.NOT_OK, ResultBit.NOT_DECIDABLE),
    ],
)
def test_a_result_says_its_number_twice(evaluation: Evaluation, status_bit: StatusBit, result_bit: ResultBit) -> None:
    ruling = Ruling(70_000, evaluation)
    assert encode_result(ruling) == [70_000 - 65_536, int(ResultBit.VALID | result_bit), 70_000 - 65_536]
    assert encode_status(0, Status(), ruling)[1] == int(StatusBit.RESULT_VALID | status_bit)


@given(st.integers(0, 2**40), words, words, words, st.sampled_from(list(Evaluation)))
def test_every_block_fits_its_words(beat: int, error: int, job: int, number: int, evaluation: Evaluation) -> None:
    ruling = Ruling(number, evaluation)
    blocks = [encode_status(beat, Status(error=error, job=job, trigger=number), ruling), encode_result(ruling)]
    assert [len(block) for block in blocks] == [len(STATUS_BLOCK), len(RESULT_SLOT)]
    assert all(0 <= word <= 0xFFFF for block in blocks for word in block)


@given(st.lists(words, min_size=len(INPUT_BLOCK), max_size=len(INPUT_BLOCK)))
def test_any_words_of_a_plc_are_inputs(block: list[int]) -> None:
    inputs = decode_inputs(block)
    assert isinstance(inputs, Inputs)
    assert inputs.encoder == block[5] * 65_536 + block[6]
