"""Which opinions say what good parts are like, and which only speak for themselves.

People look at what was rejected, so good parts among the rejects are those with large scores, and good parts that were
confirmed because they had passed are those with small ones. Neither alone may set a threshold. What may is the sample
that the archive drew before anybody looked at a verdict, rejects and all. A person must have said of each of its parts
what it is: who leaves out the odd ones cuts off the very tail that is measured.

The span of time begins and ends with a drawn part that passed and was confirmed, and these two do not count: they chose
the span. The first must still be in the archive, which removes parts that passed before others, so that of the time
since then all of the sample is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from edge.archive.index import ArchiveIndex
from edge.archive.part import ArchivedPart, Query
from edge.feedback.book import FeedbackBook
from edge.feedback.opinion import FeedbackError, Opinion, Says
from edge.verdict import Evaluation

_A_PAGE = 1000


@dataclass(frozen=True)
class Review:
    """The opinions on one product's parts, sorted by what they are worth.

    `sample` are good parts of the sample, of which people have `judged` so many parts in all; `unseen` are those that
    nobody has looked at, oldest first: while there are any, it certifies nothing. `disputed` were rejected and are
    good, `missed` passed and are defective, `caught` were rejected rightly; all of these have scores. `opinions` are
    all of them.
    """

    product: str
    opinions: tuple[Opinion, ...]
    sample: tuple[Opinion, ...] = ()
    judged: int = 0
    unseen: tuple[ArchivedPart, ...] = ()

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
    book: FeedbackBook, index: ArchiveIndex, product: str | None = None, since: datetime | None = None
) -> Review:
    """Sort the last words on the parts of a product, which may be left out where there is only one.

    The sample is of parts captured at `since` or later. Raises FeedbackError, or ArchiveError.
    """
    product = product or _only_product(book)
    opinions = book.last_words(product)
    said = {each.key: each for each in opinions}
    drawn = [part for part in _drawn(index, product, since) if part.verdict.score is not None]
    ends = [place for place, part in enumerate(drawn) if _is_end(part, said.get(part.key))]
    inside = drawn[ends[0] + 1 : ends[-1]] if ends else []
    judged = [said[part.key] for part in inside if part.key in said]
    return Review(
        product,
        tuple(opinions),
        sample=tuple(each for each in judged if each.says is Says.GOOD),
        judged=len(judged),
        unseen=tuple(part for part in inside if part.key not in said),
    )


def unjudged(book: FeedbackBook, index: ArchiveIndex, product: str, number: int) -> list[ArchivedPart]:
    """The newest drawn parts of a product, at most so many, that nobody has spoken of yet. Raises as `review`."""
    said = {each.key for each in book.last_words(product)}
    return [part for part in index.search(Query(product=product, drawn=True), _A_PAGE) if part.key not in said][:number]


def _only_product(book: FeedbackBook) -> str:
    products = sorted({each.product for each in book.last_words()})
    if len(products) != 1:
        found = f"feedback on {', '.join(products)}; name one with --product" if products else "no feedback yet"
        raise FeedbackError(f"expected feedback on the parts of one product, found {found}")
    return products[0]


def _is_end(part: ArchivedPart, opinion: Opinion | None) -> bool:
    return opinion is not None and opinion.says is Says.GOOD and part.verdict.evaluation is Evaluation.OK


def _drawn(index: ArchiveIndex, product: str, since: datetime | None) -> list[ArchivedPart]:
    """The sample, oldest first."""
    return list(_all(index, Query(product=product, drawn=True, since=since)))[::-1]


def _all(index: ArchiveIndex, query: Query) -> Iterator[ArchivedPart]:
    before: int | None = None
    while page := index.search(query, _A_PAGE, before):
        yield from page
        before = page[-1].key
