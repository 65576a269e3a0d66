from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.audit.trail import AuditError, AuditTrail, Head, read_trail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def trail(path: Path) -> AuditTrail:
    """A trail of five entries, `recipe-1` to `recipe-5`."""
    trail = AuditTrail(path, "cell-7")
    for number in range(1, 6):
        trail.append("recipe", "alice", "panel", {"recipe": f"recipe-{number}"})
    return trail


def test_entries_say_who_did_what_and_when(trail: AuditTrail, path: Path) -> None:
    reading = read_trail(path)
    first = reading.entries[0]
    assert (first.number, first.what, first.who, first.key, first.station) == (1, "recipe", "alice", "panel", "cell-7")
    assert first.details == {"recipe": "recipe-1"}
    assert [entry.number for entry in reading.entries] == [1, 2, 3, 4, 5]
    assert reading.torn_bytes == 0


def test_the_head_is_what_appending_returned(trail: AuditTrail, path: Path) -> None:
    head = trail.append("stopped", "root@cell")
    assert read_trail(path).head == head
    assert head.number == 6


def test_each_line_is_json_of_its_own(trail: AuditTrail, path: Path) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["previous"] for line in lines[1:]] == [line["sha256"] for line in lines[:-1]]


def test_text_cannot_forge_a_line(path: Path) -> None:
    trail = AuditTrail(path, "cell-7")
    trail.append("recipe", 'x"}\n{"number":2,"sha256":"' + "0" * 64 + '"}', None, {"a\nb": "\n"})
    trail.append("recipe", "bob")
    assert len(read_trail(path).entries) == 2
    assert len(path.read_bytes().splitlines()) == 2


def _change_a_letter(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b"recipe-3", b"recipe-9"), *lines[3:]]


def _change_the_first(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b"alice", b"mallo"), *lines[1:]]


def _change_the_last(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1].replace(b"alice", b"mallo")]


def _spoil_the_last(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], b"x" * 100]


def _forge(line: bytes, old: bytes, new: bytes) -> bytes:
    """Change a line and give it the sha256 that it should have."""
    import hashlib

    body = line.replace(old, new).partition(b',"sha256"')[0] + b"}"
    return body[:-1] + b',"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (_change_a_letter, "line 3: tampered with: it does not have the sha256"),
        (_change_the_first, "line 1: tampered with: it does not have the sha256"),
        (_change_the_last, "line 5: tampered with: it does not have the sha256"),
        (_spoil_the_last, "line 5: tampered with: it is a whole line and no entry"),
        (lambda lines: lines[:1] + lines[2:], "line 2: tampered with: expected entry 2, found entry 3"),
        (lambda lines: lines[1:], "line 1: tampered with: expected entry 1, found entry 2"),
        (lambda lines: [*lines[:2], lines[3], lines[2], lines[4]], "line 3: tampered with: expected entry 3"),
        (lambda lines: [*lines, lines[4]], "line 6: tampered with: expected entry 6"),
        (lambda lines: [*lines[:2], b"", *lines[2:]], "line 4: tampered with: what is before it is not"),
        (lambda lines: [*lines[:2], b"torn", *lines[2:]], "line 4: tampered with: what is before it is not"),
        (lambda lines: [*lines[:2], lines[2][:40], *lines[3:]], "line 4: tampered with: expected entry 3"),
        (
            lambda lines: [*lines[:2], _forge(lines[2], b"alice", b"mallo"), *lines[3:]],
            "line 4: tampered with: entry 4 does not continue entry 3",
        ),
        (
            lambda lines: [*lines[:2], _forge(lines[2], b'"number":3', b'"nombre":3'), *lines[3:]],
            "line 3: no entry of an audit trail of schema 1",
        ),
    ],
)
def test_tampering_is_found_and_named(
    trail: AuditTrail, path: Path, tamper: Callable[[list[bytes]], list[bytes]], message: str
) -> None:
    path.write_bytes(b"\n".join(tamper(path.read_bytes().splitlines())) + b"\n")
    with pytest.raises(AuditError) as caught:
        read_trail(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("cut", [1, 2, 50, 100, -1])
def test_a_torn_last_line_is_no_tampering_and_the_next_entry_explains_it(
    trail: AuditTrail, path: Path, cut: int
) -> None:
    last = path.read_bytes().splitlines(keepends=True)[-1]
    os.truncate(path, path.stat().st_size - (len(last) - cut if cut > 0 else 2))
    reading = read_trail(path)
    assert len(reading.entries) == 4
    assert reading.torn_bytes == (cut if cut > 0 else len(last) - 2)
    trail.append("recipe", "bob")
    trail.append("recipe", "bob")
    reading = read_trail(path)
    assert [entry.number for entry in reading.entries] == [1, 2, 3, 4, 5, 6]
    assert reading.entries[4].torn is not None
    assert reading.torn_bytes == 0


def test_a_torn_line_that_was_changed_since_is_tampering(trail: AuditTrail, path: Path) -> None:
    os.truncate(path, path.stat().st_size - 20)
    trail.append("recipe", "bob")
    path.write_bytes(path.read_bytes().replace(b"recipe-5", b"recipe-6"))
    with pytest.raises(AuditError, match="what is before it is not what entry 5 found"):
        read_trail(path)


def test_a_line_that_lacks_nothing_but_its_end_is_whole(trail: AuditTrail, path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)
    assert len(read_trail(path).entries) == 5
    trail.append("recipe", "bob")
    assert [entry.number for entry in read_trail(path).entries] == [1, 2, 3, 4, 5, 6]


def test_the_first_line_may_be_torn_and_the_next_one_again(path: Path) -> None:
    path.write_bytes(b'{"schema"')
    trail = AuditTrail(path, "cell-7")
    trail.append("armed", "root")
    os.truncate(path, path.stat().st_size - 10)
    trail.append("armed", "root")
    (entry,) = read_trail(path).entries
    assert entry.torn is not None
    assert entry.number == 1


def test_an_empty_trail_holds(path: Path) -> None:
    path.touch()
    assert read_trail(path).head == Head()


def test_nothing_is_appended_to_what_is_no_trail(path: Path) -> None:
    path.write_bytes(b'{"sha256":"' + b"0" * 64 + b'"}\n' + b'{"a":1,"sha256":"' + b"0" * 64 + b'"}\n')
    before = path.read_bytes()
    with pytest.raises(AuditError, match=r"the last line of .* tampered with"):
        AuditTrail(path, "cell-7").append("armed", "root")
    assert path.read_bytes() == before


def test_an_entry_that_is_too_long_is_refused(trail: AuditTrail, path: Path) -> None:
    with pytest.raises(AuditError, match="at most 65536 bytes"):
        trail.append("recipe", "x" * 70_000)
    assert len(read_trail(path).entries) == 5


def test_a_trail_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="cannot be written: Is a directory"):
        AuditTrail(tmp_path, "cell-7").append("armed", "root")
    with pytest.raises(AuditError, match=r"none\.jsonl cannot be read: No such file"):
        read_trail(tmp_path / "none.jsonl")


APPEND = """
import pathlib, sys
from edge.audit.trail import AuditTrail
trail = AuditTrail(pathlib.Path(sys.argv[1]), "cell-7")
number = 0
while number < int(sys.argv[2]):
    number += 1
    print(trail.append("recipe", sys.argv[3], details={"turn": number}).number, flush=True)
"""


def test_several_processes_append_in_turns(path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(path), "25", name], stdout=subprocess.DEVNULL)
        for name in ("a", "b", "c")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    entries = read_trail(path).entries
    assert [entry.number for entry in entries] == list(range(1, 76))
    for name in ("a", "b", "c"):
        assert [entry.details["turn"] for entry in entries if entry.who == name] == list(range(1, 26))


def test_what_was_acknowledged_is_there_after_a_kill(path: Path) -> None:
    acknowledged = 0
    for kill in range(3):
        command = [sys.executable, "-c", APPEND, str(path), "1000000", "a"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(10 + 7 * kill)]
            writer.kill()
            said += writer.stdout.readlines()
        acknowledged = max(int(line) for line in said if line.endswith("\n"))
        assert read_trail(path).head.number >= acknowledged
    assert acknowledged > 40
