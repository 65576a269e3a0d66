"""Which opinions say what good parts are like, and which only speak for themselves.

People look at what was rejected, so good parts among the rejects are those with large scores, and good parts that were
confirmed because they had passed are those with small ones. Neither alone may set a threshold. What may is a sample
that the score had no say in: of the parts that passed, those that the archive drew, and of the parts that it keeps for
certain (rejected, or to be reviewed), as large a share, drawn by their keys (`calibration/lottery.py`). A person must
have said of each of them what it is: who leaves out the odd ones cuts off the very tail that is measured.

The span of time begins and ends with a drawn part that was confirmed, and these two do not count: they chose the span.
All of it must still be in the archive, which removes parts that passed before others, so that of the time since the
oldest of them every reject is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from calibration.lottery import drawn
from edge.archive.index import ArchiveIndex
from edge.archive.part import ArchivedPart, Kept, Query
from edge.feedback.book import FeedbackBook
from edge.feedback.opinion import FeedbackError, Opinion, Says

_A_PAGE = 1000


@dataclass(frozen=True)
class Review:
    """The opinions on one product's parts, sorted by what they are worth.

    `sample` are good parts of the sample of the time from `since` to `until`, and `unseen` those parts of it that
    nobody has looked at: while there are any, it certifies nothing. `disputed` were rejected and are good, `missed`
    passed and are defective, `caught` were rejected rightly; all of these have scores. `opinions` are all of them.
    """

    product: str
    opinions: tuple[Opinion, ...]
    sample: tuple[Opinion, ...]
    unseen: tuple[ArchivedPart, ...]
    since: datetime | None
    until: datetime | None

    @property
    def disputed(self) -> tuple[Opinion, ...]:
        """Rejected, and good after all."""
        return self._scored(Says.GOOD, disputes=True)

    @property
    def missed(self) -> tuple[Opinion, ...]:
        """Passed, and defective."""
        return self._scored(Says.DEFECT, disputes=True)

    @property
    def caught(self) -> tuple[Opinion, ...]:
        """Rejected, and rightly so."""
        return self._scored(Says.DEFECT, disputes=False)

    def _scored(self, says: Says, disputes: bool) -> tuple[Opinion, ...]:
        return tuple(
            each
            for each in self.opinions
            if each.says is says and each.disputes is disputes and each.verdict.score is not None
        )


def review(
    book: FeedbackBook,
    index: ArchiveIndex,
    share: float,
    product: str | None = None,
    since: datetime | None = None,
) -> Review:
    """Sort the last words on the parts of a product, which may be left out where there is only one.

    `share` is the largest share of OK parts that the archive drew in that time, `[archive] ok_share`. A larger one than
    that is safe, and 1 always is; it only raises the threshold. The sample is of parts captured after `since`. Raises
    FeedbackError, or ArchiveError.
    """
    product = product or _only_product(book)
    opinions = book.last_words(product)
    confirmed = [each for each in opinions if _was_drawn(each, since) and index.part(each.key) is not None]
    if len(confirmed) < 3:
        return Review(product, tuple(opinions), (), (), None, None)
    first, last = _captured(confirmed[0].verdict.captured_at), _captured(confirmed[-1].verdict.captured_at)
    said = {each.key: each for each in opinions}
    ends = {confirmed[0].key, confirmed[-1].key}
    parts = [part for part in _sample(index, share, product, first, last) if part.key not in ends]
    looked_at = (said[part.key] for part in parts if part.key in said)
    sample = tuple(each for each in looked_at if each.says is Says.GOOD)
    unseen = tuple(part for part in parts if part.key not in said)
    return Review(product, tuple(opinions), sample, unseen, first, last)


def _only_product(book: FeedbackBook) -> str:
    products = sorted({each.product for each in book.last_words()})
    if len(products) != 1:
        found = f"feedback on {', '.join(products)}; name one with --product" if products else "no feedback yet"
        raise FeedbackError(f"expected feedback on the parts of one product, found {found}")
    return products[0]


def _was_drawn(opinion: Opinion, since: datetime | None) -> bool:
    confirmed = opinion.says is Says.GOOD and opinion.kept is Kept.SAMPLE and opinion.verdict.score is not None
    return confirmed and (since is None or _captured(opinion.verdict.captured_at) > since)


def _sample(index: ArchiveIndex, share: float, product: str, first: datetime, last: datetime) -> Iterator[ArchivedPart]:
    for kept in (Kept.SAMPLE, Kept.REVIEW, Kept.REJECT):
        for part in _all(index, Query(since=first, until=last, product=product, kept=kept)):
            if part.verdict.score is not None and (kept is Kept.SAMPLE or drawn(part.key, share)):
                yield part


def _all(index: ArchiveIndex, query: Query) -> Iterator[ArchivedPart]:
    before: int | None = None
    while page := index.search(query, _A_PAGE, before):
        yield from page
        before = page[-1].key


def _captured(moment: str) -> datetime:
    return datetime.fromisoformat(moment)
