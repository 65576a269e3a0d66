"""Who may calibrate: parts that were drawn before their verdict was looked at, once people have judged them all."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from edge.archive.index import ArchiveIndex
from edge.archive.store import ArchiveStore, Entry
from edge.feedback.book import FeedbackBook
from edge.feedback.opinion import FeedbackError, Says, Statement
from edge.feedback.review import Review, review, unjudged
from edge.verdict import Evaluation
from tests.edge.archive.parts import entry, moment


def part(second: float, drawn: bool = True, **fields: object) -> Entry:
    return replace(entry(second, **fields), drawn=drawn)


def passed(second: float, drawn: bool = True) -> Entry:
    return part(second, drawn, evaluation=Evaluation.OK, score=0.5)


def say(folder: Path, key: int, says: Says) -> None:
    with ArchiveIndex.open(folder) as index, FeedbackBook.open(folder) as book:
        found = index.part(key)
        assert found is not None
        book.add(found, Statement(says, "looked at it", "Ada"))


def reviewed(folder: Path, product: str | None = None, since: datetime | None = None) -> Review:
    with ArchiveIndex.open(folder) as index, FeedbackBook.open(folder) as book:
        return review(book, index, product, since)


def line(folder: Path) -> tuple[list[int], list[int]]:
    """Keys of seven drawn parts, the second and the fourth rejected, and of others between them."""
    with ArchiveStore(folder) as store:
        sample = store.add([passed(second) if second not in (10, 30) else part(second) for second in range(0, 70, 10)])
        others = store.add([part(second, drawn=False) for second in range(1, 31, 3)])
        others += store.add([passed(second, drawn=False) for second in range(32, 40)])
    return sample, others


def test_the_sample_is_drawn_parts_rejects_and_all(tmp_path: Path) -> None:
    sample, others = line(tmp_path)
    for key in (*sample, *others):
        say(tmp_path, key, Says.GOOD)
    found = reviewed(tmp_path)
    assert [each.key for each in found.sample] == sample[1:-1]
    assert (found.judged, found.unseen) == (5, ())
    assert [each.key for each in reviewed(tmp_path, since=moment(15)).sample] == sample[3:-1]


def test_parts_of_the_sample_that_nobody_has_looked_at_are_named(tmp_path: Path) -> None:
    sample, _ = line(tmp_path)
    for key in (sample[0], sample[2], sample[-1]):
        say(tmp_path, key, Says.GOOD)
    found = reviewed(tmp_path)
    assert [each.key for each in found.unseen] == [sample[1], *sample[3:-1]]
    say(tmp_path, sample[4], Says.DEFECT)
    found = reviewed(tmp_path)
    assert [each.key for each in found.unseen] == [sample[1], sample[3], sample[5]]
    assert ([each.key for each in found.sample], found.judged) == ([sample[2]], 2)
    assert [each.key for each in found.missed] == [sample[4]]
    with ArchiveIndex.open(tmp_path) as index, FeedbackBook.open(tmp_path) as book:
        assert [each.key for each in unjudged(book, index, "Flange", 2)] == [sample[5], sample[3]]


def test_the_span_begins_and_ends_with_parts_that_passed(tmp_path: Path) -> None:
    sample, _ = line(tmp_path)
    for key in sample[1:4]:
        say(tmp_path, key, Says.GOOD)
    assert (reviewed(tmp_path).sample, reviewed(tmp_path).unseen) == ((), ())
    say(tmp_path, sample[4], Says.GOOD)
    assert [each.key for each in reviewed(tmp_path).sample] == [sample[3]]


def test_a_drawn_part_that_the_archive_has_removed_counts_no_more(tmp_path: Path) -> None:
    sample, _ = line(tmp_path)
    for key in sample:
        say(tmp_path, key, Says.GOOD)
    with ArchiveStore(tmp_path) as store:
        store.remove(sample[:1])
    found = reviewed(tmp_path)
    assert [each.key for each in found.sample] == sample[3:-1]
    assert len(found.opinions) == len(sample)


def test_opinions_alone_are_no_sample(tmp_path: Path) -> None:
    sample, others = line(tmp_path)
    for key in others[:5]:
        say(tmp_path, key, Says.GOOD)
    say(tmp_path, others[5], Says.DEFECT)
    say(tmp_path, sample[0], Says.GOOD)
    found = reviewed(tmp_path)
    assert (found.sample, found.unseen) == ((), ())
    assert len(found.disputed) == 5
    assert [each.key for each in found.caught] == [others[5]]


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
