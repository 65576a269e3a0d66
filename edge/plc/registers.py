"""The PLC map: what each Modbus register and bit means, and how actions become words. `docs/plc-map.md` shows it.

Offsets count from the first address of their block (`[plc.modbus]`). Words are unsigned, 16 bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

from edge.plc.conveyor import Ruling
from edge.plc.signals import Inputs, Status
from edge.verdict import Evaluation

_WORD = 0xFFFF


class StatusBit(IntFlag):
    """Bits of the word Status."""

    READY = 1 << 0
    BUSY = 1 << 1
    RESULT_VALID = 1 << 2
    OK = 1 << 3
    NOT_OK = 1 << 4
    STOP = 1 << 5
    LOCKOUT = 1 << 6
    RATE_ALARM = 1 << 7


class ResultBit(IntFlag):
    """Bits of the word Result."""

    VALID = 1 << 0
    OK = 1 << 1
    NOT_OK = 1 << 2
    NOT_DECIDABLE = 1 << 3


class CommandBit(IntFlag):
    """Bits of the word Command."""

    RESET = 1 << 0


@dataclass(frozen=True)
class Word:
    """One register of a block."""

    name: str
    meaning: str


STATUS_BLOCK = (
    Word("Heartbeat", "goes up by one with every writing of this block; it wraps around"),
    Word("Status", "bits, below"),
    Word("ErrorCode", "the gravest fault, below; 0 for none"),
    Word("JobActive", "job number of the recipe in use, 0 where it is not known"),
    Word("TriggerAck", "number of the latest part that the gateway has taken"),
    Word("ResultNumber", "number of the part that ResultValid, OK and NotOK speak of"),
)
RESULT_SLOT = (
    Word("Number", "number of the part"),
    Word("Result", "bits, below"),
    Word("NumberAgain", "the same number; where the two differ, the slot is being written"),
)
INPUT_BLOCK = (
    Word("Heartbeat", "must change with every cycle of the PLC's program"),
    Word("Command", "bits, below"),
    Word("TriggerNumber", "goes up by one with every part at the sensor; it wraps around"),
    Word("TriggerEncoderHigh", "the encoder's count when that part was at the sensor, upper word"),
    Word("TriggerEncoderLow", "lower word"),
    Word("EncoderHigh", "the encoder's count now, upper word"),
    Word("EncoderLow", "lower word"),
    Word("JobRequested", "job number of the recipe that is wanted; 0: leave it as it is"),
    Word("Ack", "number of the latest part whose result the PLC has taken"),
)

_RESULTS = {
    Evaluation.OK: ResultBit.OK,
    Evaluation.NOT_OK: ResultBit.NOT_OK,
    Evaluation.NOT_DECIDABLE: ResultBit.NOT_DECIDABLE,
}


def encode_status(heartbeat: int, status: Status, latest: Ruling | None) -> list[int]:
    """The words of the status block. `latest` is the result that the PLC has not acknowledged yet, if there is one."""
    bits = StatusBit(0)
    for on, bit in (
        (status.ready, StatusBit.READY),
        (status.busy, StatusBit.BUSY),
        (status.stop, StatusBit.STOP),
        (status.lockout, StatusBit.LOCKOUT),
        (status.rate_alarm, StatusBit.RATE_ALARM),
    ):
        bits |= bit if on else StatusBit(0)
    if latest is not None:
        bits |= StatusBit.RESULT_VALID | (StatusBit.OK if latest.released else StatusBit.NOT_OK)
    number = latest.number if latest is not None else 0
    return [heartbeat & _WORD, int(bits), status.error, status.job, status.trigger & _WORD, number & _WORD]


def encode_result(ruling: Ruling) -> list[int]:
    """The words of a part's slot, written in one piece."""
    number = ruling.number & _WORD
    return [number, int(ResultBit.VALID | _RESULTS[ruling.evaluation]), number]


def decode_inputs(words: Sequence[int]) -> Inputs:
    """What the PLC says in its block, of as many words as `INPUT_BLOCK`."""
    heartbeat, command, trigger, at_high, at_low, high, low, job, ack = words
    return Inputs(
        heartbeat=heartbeat,
        reset=bool(command & CommandBit.RESET),
        trigger=trigger,
        trigger_encoder=(at_high << 16) | at_low,
        encoder=(high << 16) | low,
        job=job,
        ack=ack,
    )
