"""Writes the tables of the PLC map from the code: `python -m edge.plc.map docs/plc-map.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.plc.failsafe import Fault
from edge.plc.registers import INPUT_BLOCK, RESULT_SLOT, STATUS_BLOCK, CommandBit, ResultBit, StatusBit, Word

_FAULTS = {
    Fault.STARTING: "nothing has been heard from vision since the gateway started",
    Fault.PLC_LOST: "the PLC does not answer, refuses, or reads back otherwise",
    Fault.PLC_FROZEN: "the PLC answers, but its Heartbeat stands still",
    Fault.SILENCE: "vision has missed three heartbeats",
    Fault.NOT_RUNNING: "vision is there and says that it cannot judge every part",
    Fault.LOCKOUT: "too many NotOK parts in a row; an operator has to reset",
    Fault.POSITION_LOST: "TriggerNumber jumped: the PLC counts anew",
    Fault.GAP: "a verdict was sent and never came, or was no message of ours",
    Fault.LATE: "a part came within the margin of the ejector without its verdicts",
    Fault.NOT_DECIDABLE: "vision could not judge a part",
    Fault.MISSED_TRIGGER: "several parts passed the sensor between two looks at the PLC",
    Fault.OVERLOAD: "too many verdicts wait for parts that the PLC has not told of",
    Fault.RECIPE: "vision does not judge by the recipe of JobRequested, not yet or not at all",
    Fault.PULSE: "the coil was on for more than half a pulse too long, and may have pushed out the next part",
    Fault.NO_PICTURE: "a camera was not triggered for a part, or not in time",
}
_STATUS_BITS = {
    StatusBit.READY: "nothing speaks against judging and sorting parts",
    StatusBit.BUSY: "at least one part is between the sensor and the ejector",
    StatusBit.RESULT_VALID: "OK, NotOK and ResultNumber hold a result that the PLC has not acknowledged",
    StatusBit.OK: "that part may pass",
    StatusBit.NOT_OK: "that part must go, because it is NotOK or NotDecidable",
    StatusBit.STOP: 'the line should halt (`on_fault = "stop"`, and not Ready)',
    StatusBit.LOCKOUT: "too many NotOK parts in a row; everything is rejected until a reset",
    StatusBit.RATE_ALARM: "too many of the latest parts were rejected",
}
_RESULT_BITS = {
    ResultBit.VALID: "the slot has been written",
    ResultBit.OK: "the part may pass",
    ResultBit.NOT_OK: "defective",
    ResultBit.NOT_DECIDABLE: "not judged, or not in time",
}
_COMMAND_BITS = {CommandBit.RESET: "a rising edge ends a lockout"}


def tables() -> dict[str, str]:
    """Every table of the page in Markdown, under the name that marks its place there."""
    return {
        "status block": _words(STATUS_BLOCK),
        "status bits": _bits(_STATUS_BITS),
        "result slot": _words(RESULT_SLOT),
        "result bits": _bits(_RESULT_BITS),
        "input block": _words(INPUT_BLOCK),
        "command bits": _bits(_COMMAND_BITS),
        "error codes": _table(("code", "name", "meaning"), ((f, f"`{f.word}`", _FAULTS[f]) for f in Fault)),
    }


def filled(page: str) -> str:
    """The page with each table brought up to date between its marks, `<!-- NAME -->` and `<!-- end -->`."""
    for name, table in tables().items():
        page = re.sub(f"(<!-- {name} -->\n).*?(<!-- end -->)", rf"\g<1>{table}\g<2>", page, flags=re.DOTALL)
    return page


def _words(block: Sequence[Word]) -> str:
    return _table(("offset", "name", "meaning"), ((i, word.name, word.meaning) for i, word in enumerate(block)))


def _bits(meanings: Mapping[Any, str]) -> str:
    rows = ((bit.bit_length() - 1, _camel(bit.name), meaning) for bit, meaning in meanings.items())
    return _table(("bit", "name", "meaning"), rows)


def _camel(name: str) -> str:
    return "OK" if name == "OK" else "NotOK" if name == "NOT_OK" else name.title().replace("_", "")


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(str(int(c) if isinstance(c, int) else c) for c in line) + " |\n" for line in lines)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
