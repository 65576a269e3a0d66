from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from edge.verdict import (
    SCHEMA,
    CameraStatus,
    Counters,
    DriftStatus,
    Evaluation,
    Heartbeat,
    Message,
    Region,
    Severity,
    StageTimes,
    State,
    Verdict,
    decode,
    heartbeat_topic,
    verdict_topic,
)

PAGE = (Path(__file__).parents[2] / "docs" / "verdict-protocol.md").read_text()


def documented(heading: str, column: int = 0) -> list[str]:
    """Names in back-ticks of one column in the tables below a heading."""
    section = re.split(r"\n#+ ", PAGE.split(f"# {heading}\n")[1])[0]
    rows = [line.split("|")[column + 1] for line in section.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize(
    ("heading", "fields"),
    [
        ("Every message", ("type", *Message.__struct_fields__)),
        ("Verdict", Verdict.__struct_fields__[len(Message.__struct_fields__) :]),
        ("`regions`", Region.__struct_fields__),
        ("`severity`", Severity.__struct_fields__),
        ("`stage_ms`", StageTimes.__struct_fields__),
        ("Heartbeat", (*Heartbeat.__struct_fields__[len(Message.__struct_fields__) :], *(s.value for s in State))),
        ("`cameras`", CameraStatus.__struct_fields__),
        ("`drift`", DriftStatus.__struct_fields__),
        ("`counters`", Counters.__struct_fields__),
    ],
)
def test_the_page_names_every_field_and_no_other(heading: str, fields: tuple[str, ...]) -> None:
    assert sorted(documented(heading)) == sorted(fields)


def test_the_page_names_topics_words_and_schema() -> None:
    assert documented("Transport") == [verdict_topic("STATION"), heartbeat_topic("STATION")]
    assert ", ".join(f"`{word.value}`" for word in Evaluation).replace(", `NotD", " or `NotD") in PAGE
    assert f"| `schema` | integer | {SCHEMA} |" in PAGE


def test_the_example_is_a_verdict() -> None:
    example = PAGE.split("```json\n")[1].split("\n```")[0]
    verdict = decode(example.encode())
    assert isinstance(verdict, Verdict)
    assert json.loads(example).keys() == {"type", *Verdict.__struct_fields__}
    assert verdict.margin == verdict.threshold - (verdict.score or 0.0)
    assert msgspec.structs.asdict(verdict.stage_ms).keys() == set(StageTimes.__struct_fields__)
