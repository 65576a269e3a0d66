"""What people said, as a data set: folders and tables as `train`, `calibrate` and `grade` take them.

```
DIR/train/good/KEY.png        good parts that may not calibrate
DIR/calibrate/good/KEY.png    good parts of the sample that may
DIR/waiting/good/KEY.png      the same, as long as there are parts of the sample that nobody has looked at
DIR/defects/missed/KEY.png    passed, and defective
DIR/defects/caught/KEY.png    rejected, and defective
DIR/grades.csv                the rejected parts that were graded
DIR/parts.csv                 what is what: part, score, verdict, who said what of it, and why
```
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from edge.feedback.book import FeedbackBook
from edge.feedback.opinion import FeedbackError, Opinion, Says
from edge.feedback.review import Review
from edge.verdict import Evaluation
from engines.atomic import replacing, write_durably
from engines.images import fingerprint

TABLE = "parts.csv"
GRADES_TABLE = "grades.csv"
TRAIN, CALIBRATE, WAITING = "train/good", "calibrate/good", "waiting/good"
MISSED, CAUGHT = "defects/missed", "defects/caught"
_COLUMNS = (
    "part",
    "part_id",
    "product",
    "camera",
    "captured_at",
    "evaluation",
    "score",
    "threshold",
    "bundle",
    "kept",
    "says",
    "reason",
    "grade",
    "by",
    "at",
    "image",
    "note",
)
# What a spreadsheet would take for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Place:
    """Where a part goes: a file in the data set, or nowhere (""), and `note` says why. `source` is its picture."""

    opinion: Opinion
    image: str = ""
    note: str = ""
    source: Path | None = None


def export(book: FeedbackBook, review: Review, to: Path) -> list[Place]:
    """Write the data set of one product; an earlier one at `to` is replaced in one step.

    A picture goes to one place only, however many parts have it. Raises FeedbackError.
    """
    _check_free(to)
    places = place_parts(book, review)
    try:
        with replacing(to.resolve()) as folder:
            for place in places:
                _copy(place, folder)
            write_durably(folder / TABLE, _table(_COLUMNS, map(_line, places)))
            graded = [(each.image, each.opinion.statement.grade) for each in places if _is_graded(each)]
            if graded:
                write_durably(folder / GRADES_TABLE, _table(("image", "grade"), graded))
    except OSError as error:
        raise FeedbackError(f"{to} cannot be written: {error.strerror}; name another folder") from None
    return places


def place_parts(book: FeedbackBook, review: Review) -> list[Place]:
    """Where every part of the review goes, the oldest first. Raises FeedbackError where a picture cannot be read."""
    good = WAITING if review.unseen else CALIBRATE
    folders = {each.key: good for each in review.sample}
    return _once([_place(book, each, folders.get(each.key, _folder(each))) for each in review.opinions])


def _check_free(to: Path) -> None:
    if to.exists() and not (to / TABLE).is_file() and not (to.is_dir() and not any(to.iterdir())):
        raise FeedbackError(f"expected nothing at {to}, an empty folder or an earlier export, found something else")


def _folder(opinion: Opinion) -> str:
    if opinion.says is Says.GOOD:
        return TRAIN
    return MISSED if opinion.disputes else CAUGHT


def _place(book: FeedbackBook, opinion: Opinion, folder: str) -> Place:
    if opinion.verdict.evaluation is Evaluation.NOT_DECIDABLE:
        return Place(opinion, note="its picture was not fit to be judged")
    source = book.picture(opinion)
    if source is None:
        return Place(opinion, note="the archive held no picture of it")
    return Place(opinion, f"{folder}/{source.name}", source=source)


def _once(places: list[Place]) -> list[Place]:
    """Let no picture come twice; of parts with the same one the oldest keeps it, if all were called the same."""
    marks = ["" if place.source is None else fingerprint(_read(place.source)) for place in places]
    alike: dict[str, list[Place]] = {}
    for place, mark in zip(places, marks, strict=True):
        alike.setdefault(mark, []).append(place)
    return [_unless_repeated(place, alike[mark]) if mark else place for place, mark in zip(places, marks, strict=True)]


def _unless_repeated(place: Place, alike: list[Place]) -> Place:
    others = [str(each.opinion.key) for each in alike if each.opinion.says is not place.opinion.says]
    if others:
        return replace(place, image="", note=f"the same picture is called something else as part {', '.join(others)}")
    if place is not alike[0]:
        return replace(place, image="", note=f"the same picture as part {alike[0].opinion.key}")
    return place


def _copy(place: Place, folder: Path) -> None:
    if place.source is not None and place.image:
        (folder / place.image).parent.mkdir(parents=True, exist_ok=True)
        write_durably(folder / place.image, _read(place.source))


def _read(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except OSError as error:
        raise FeedbackError(f"{source}: cannot be read ({error.strerror}); put it back, or withdraw it") from None


def _is_graded(place: Place) -> bool:
    return bool(place.image) and place.opinion.statement.grade is not None and not place.opinion.disputes


def _line(place: Place) -> tuple[object, ...]:
    opinion, verdict, said = place.opinion, place.opinion.verdict, place.opinion.statement
    return (
        opinion.key,
        _text(verdict.part_id or ""),
        _text(opinion.product),
        verdict.camera,
        verdict.captured_at,
        verdict.evaluation.value,
        verdict.score,
        verdict.threshold,
        verdict.bundle_digest,
        opinion.kept.value,
        said.says.value,
        _text(said.reason),
        said.grade,
        _text(said.by),
        opinion.at,
        place.image,
        place.note,
    )


def _text(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _table(columns: Iterable[str], lines: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    return text.getvalue().encode()
