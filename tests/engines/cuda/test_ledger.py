"""The count of what is held on a GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from engines.cuda.ledger import Ledger


def test_it_counts_by_kind() -> None:
    ledger = Ledger()
    for kind in ("stream", "device buffer", "stream"):
        ledger.took(kind)
    assert ledger.held == {"device buffer": 1, "stream": 2}
    for kind in ("stream", "device buffer", "stream"):
        ledger.gave_back(kind)
    assert ledger.held == {}


def test_giving_back_twice_is_found() -> None:
    ledger = Ledger()
    ledger.took("stream")
    ledger.gave_back("stream")
    with pytest.raises(ValueError, match="a stream was given back, but none is held"):
        ledger.gave_back("stream")
    assert ledger.held == {}


def test_threads_may_share_it() -> None:
    ledger = Ledger()

    def work(_: int) -> None:
        for _ in range(2000):
            ledger.took("event")
        for _ in range(2000):
            ledger.gave_back("event")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert ledger.held == {}
