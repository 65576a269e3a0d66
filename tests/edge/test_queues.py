from __future__ import annotations

import threading

import pytest

from edge.queues import BoundedQueue, Policy, QueueClosedError


def queue_of(capacity: int, policy: Policy) -> tuple[BoundedQueue[int], list[int]]:
    dropped: list[int] = []
    return BoundedQueue(capacity, policy, dropped.append), dropped


def test_latest_keeps_the_newest_and_tells_every_drop() -> None:
    queue, dropped = queue_of(1, Policy.LATEST)
    for number in range(5):
        queue.put(number)
    assert queue.get(0.0) == 4
    assert dropped == [0, 1, 2, 3]


def test_all_makes_the_writer_wait_and_loses_nothing() -> None:
    queue, dropped = queue_of(2, Policy.ALL)
    most = 0

    def write() -> None:
        for number in range(200):
            queue.put(number)

    writer = threading.Thread(target=write)
    writer.start()
    received = []
    for _ in range(200):
        most = max(most, len(queue))
        received.append(queue.get(5.0))
    writer.join()
    assert received == list(range(200))
    assert most <= 2
    assert dropped == []


def test_an_empty_queue_gives_none_after_the_wait() -> None:
    queue, _ = queue_of(1, Policy.ALL)
    assert queue.get(0.01) is None


def test_what_is_inside_can_be_taken_after_the_close() -> None:
    queue, _ = queue_of(2, Policy.ALL)
    queue.put(1)
    queue.close()
    queue.close()
    with pytest.raises(QueueClosedError):
        queue.put(2)
    assert queue.get(0.0) == 1
    with pytest.raises(QueueClosedError):
        queue.get(0.0)


def test_the_close_wakes_a_writer_that_waits_for_room() -> None:
    queue, _ = queue_of(1, Policy.ALL)
    queue.put(1)
    refused = threading.Event()

    def write() -> None:
        try:
            queue.put(2)
        except QueueClosedError:
            refused.set()

    writer = threading.Thread(target=write)
    writer.start()
    queue.close()
    assert refused.wait(10)
    writer.join()
    assert queue.get(0.0) == 1


def test_an_item_is_only_taken_if_it_is_wanted() -> None:
    queue = BoundedQueue[int](3, Policy.ALL)
    assert queue.get_if(lambda _: True) is None
    queue.put(1)
    queue.put(2)
    assert queue.wait_for_item(0.0)
    assert queue.get_if(lambda item: item == 2) is None
    assert queue.get_if(lambda item: item == 1) == 1
    queue.close()
    assert queue.wait_for_item(0.0)
    assert queue.get(0.0) == 2
    with pytest.raises(QueueClosedError):
        queue.wait_for_item(0.0)
