"""Who may calibrate: drawn parts that were confirmed, rejects that a draw took too, and only once all were seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from calibration.lottery import drawn
from edge.archive.index import ArchiveIndex
from edge.archive.part import Kept
from edge.archive.store import ArchiveStore, Entry
from edge.feedback.book import FeedbackBook
from edge.feedback.opinion import FeedbackError, Says, Statement
from edge.feedback.review import Review, review
from edge.verdict import Evaluation
from tests.edge.archive.parts import bare, entry

SHARE = 0.5


def passed(second: float, kept: Kept = Kept.SAMPLE) -> Entry:
    return replace(bare(second), kept=kept)


def say(folder: Path, key: int, says: Says) -> None:
    with ArchiveIndex.open(folder) as index, FeedbackBook.open(folder) as book:
        part = index.part(key)
        assert part is not None
        book.add(part, Statement(says, "looked at it", "Ada"))


def reviewed(folder: Path, share: float = SHARE, product: str | None = None) -> Review:
    with ArchiveIndex.open(folder) as index, FeedbackBook.open(folder) as book:
        return review(book, index, share, product)


def line(folder: Path) -> tuple[list[int], list[int]]:
    """Keys of drawn parts that passed, seconds 0 to 40, and of rejects and parts to be reviewed between them."""
    with ArchiveStore(folder) as store:
        sample = store.add([passed(second) for second in range(0, 41, 10)])
        certain = store.add([entry(second) for second in range(1, 31)])
        certain += store.add([passed(second + 0.5, Kept.REVIEW) for second in range(1, 11)])
        store.add([entry(50), passed(51)])
        store.add([bare(second + 0.25) for second in range(10)])
    return sample, certain


def test_the_sample_is_drawn_parts_and_a_share_of_those_kept_for_certain(tmp_path: Path) -> None:
    sample, certain = line(tmp_path)
    for key in (*sample, *certain):
        say(tmp_path, key, Says.GOOD)
    found = reviewed(tmp_path)
    lucky = {key for key in certain if drawn(key, SHARE)}
    assert 0 < len(lucky) < len(certain)
    assert {each.key for each in found.sample} == {*sample[1:-1], *lucky}
    assert found.unseen == ()
    assert {each.key for each in reviewed(tmp_path, 1.0).sample} == {*sample[1:-1], *certain}
    assert {each.key for each in reviewed(tmp_path, 0.0).sample} == {*sample[1:-1]}


def test_parts_of_the_sample_that_nobody_has_looked_at_are_named(tmp_path: Path) -> None:
    sample, certain = line(tmp_path)
    for key in (sample[0], sample[1], sample[-1]):
        say(tmp_path, key, Says.GOOD)
    found = reviewed(tmp_path)
    assert {part.key for part in found.unseen} == {*sample[2:-1], *(key for key in certain if drawn(key, SHARE))}
    say(tmp_path, sample[2], Says.DEFECT)
    found = reviewed(tmp_path)
    assert sample[2] not in {part.key for part in found.unseen} | {each.key for each in found.sample}
    assert [each.key for each in found.missed] == [sample[2]]


def test_a_drawn_part_that_the_archive_has_removed_counts_no_more(tmp_path: Path) -> None:
    sample, _ = line(tmp_path)
    for key in sample:
        say(tmp_path, key, Says.GOOD)
    with ArchiveStore(tmp_path) as store:
        store.remove(sample[:1])
    found = reviewed(tmp_path, 0.0)
    assert {each.key for each in found.sample} == {sample[2], sample[3]}
    assert len(found.opinions) == len(sample)


def test_opinions_alone_are_no_sample(tmp_path: Path) -> None:
    sample, certain = line(tmp_path)
    for key in certain[:5]:
        say(tmp_path, key, Says.GOOD)
    say(tmp_path, certain[5], Says.DEFECT)
    say(tmp_path, sample[0], Says.GOOD)
    found = reviewed(tmp_path)
    assert (found.sample, found.unseen, found.since) == ((), (), None)
    assert len(found.disputed) == 5
    assert [each.key for each in found.caught] == [certain[5]]


def test_products_are_not_mixed(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        keys = store.add([entry(0, product="Flange"), entry(1, product="Gasket")])
    with pytest.raises(FeedbackError, match="found no feedback yet"):
        reviewed(tmp_path)
    for key in keys:
        say(tmp_path, key, Says.GOOD)
    with pytest.raises(FeedbackError, match="feedback on Flange, Gasket; name one with --product"):
        reviewed(tmp_path)
    assert [each.key for each in reviewed(tmp_path, product="Gasket").disputed] == keys[1:]


def test_a_part_that_could_not_be_decided_has_no_score_to_count(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        (key,) = store.add([entry(0, evaluation=Evaluation.NOT_DECIDABLE, score=None, margin=None)])
    say(tmp_path, key, Says.GOOD)
    found = reviewed(tmp_path)
    assert (len(found.opinions), found.disputed) == (1, ())
