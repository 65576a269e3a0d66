"""Live pictures on a real socket: the newest only, as often as asked, and only while somebody watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import cv2
import msgspec
import numpy as np
import pytest
import zmq

from edge.anomaly_map import AnomalyMap
from edge.cameras.camera import Frame
from edge.decision import undecidable
from edge.inspector import Judgement
from edge.live.feed import LiveFeed
from edge.live.picture import Head, topic_of
from edge.live.table import LiveTable
from edge.product import Recipe
from edge.worker import Worker
from engines.errors import ConfigError
from engines.preprocess import Preprocessing
from tests.edge.messages import verdict

PATIENCE_S = 30.0


class Watcher:
    """A subscriber to one topic."""

    def __init__(self, endpoint: str, topic: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        self._socket.connect(endpoint)

    def next(self, timeout_s: float = PATIENCE_S) -> tuple[Head, list[bytes]] | None:
        if not self._socket.poll(round(1000 * timeout_s)):
            return None
        _, head, *pictures = self._socket.recv_multipart()
        return msgspec.json.decode(head, type=Head), pictures

    def close(self) -> None:
        self._socket.close()
        self._context.term()


@pytest.fixture
def feed() -> Iterator[LiveFeed]:
    feed = LiveFeed(LiveTable(bind="tcp://127.0.0.1:*", rate=5.0, side=64))
    worker = Worker("live", feed)
    worker.start()
    yield feed
    worker.stop(PATIENCE_S)


@pytest.fixture
def watch(feed: LiveFeed) -> Iterator[Callable[[str], Watcher]]:
    """`watch(camera)`: a watcher whose subscription has come."""
    open_: list[Watcher] = []

    def begin(camera: str) -> Watcher:
        open_.append(Watcher(feed.endpoint, topic_of(camera)))
        wait_for(lambda: topic_of(camera).encode() in feed._watched)
        return open_[-1]

    yield begin
    for watcher in open_:
        watcher.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def show(feed: LiveFeed, recipe: Recipe) -> Callable[..., None]:
    """`show(seq, camera="top", image=..., values=...)`: offer one part, as the publisher does."""

    def offer(seq: int, camera: str = "top", image: object = "picture", values: object = None) -> None:
        picture = np.full((60, 120, 3), 77, np.uint8) if image == "picture" else None
        frame = Frame(seq, picture, 1, 0.0, 0.0, None, None, "")
        shown = None if values is None else AnomalyMap(np.float32(values), Preprocessing("full", 32), 2.0, 0.5)
        judged = Judgement(camera, recipe, frame, undecidable("test"), {}, 1, shown)
        feed.offer(msgspec.structs.replace(verdict(seq), camera=camera), judged)

    return offer


def test_what_is_shown_is_small_and_says_what_it_is(watch: Callable[[str], Watcher], show: Callable[..., None]) -> None:
    watcher = watch("top")
    show(7, values=[[0.0, 1.0], [2.0, 4.0]])
    head, (picture, grey) = watcher.next() or pytest.fail("no picture came")
    assert (head.seq, head.camera, head.width, head.height) == (7, "top", 120, 60)
    assert head.view is not None
    assert (head.view.low, head.view.high, head.view.threshold, head.view.quiet) == (0.0, 4.0, 2.0, 0.5)
    drawn = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert drawn is not None
    assert drawn.shape == (32, 64, 3)
    assert abs(float(drawn.mean()) - 77) < 2
    values = cv2.imdecode(np.frombuffer(grey, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(values, [[0, 64], [128, 255]])


def test_who_begins_to_watch_is_shown_the_last_part(watch: Callable[[str], Watcher], show: Callable[..., None]) -> None:
    show(1)
    show(2)
    for _ in range(2):
        head, _ = watch("top").next() or pytest.fail("no picture came")
        assert head.seq == 2


def test_only_the_newest_comes_and_no_more_often_than_asked(
    watch: Callable[[str], Watcher], show: Callable[..., None]
) -> None:
    watcher = watch("top")
    began = time.monotonic()
    for seq in range(1, 101):
        show(seq)
        time.sleep(0.005)
    shown = []
    while not shown or shown[-1] != 100:
        head, _ = watcher.next() or pytest.fail(f"part 100 was not shown, only {shown}")
        shown.append(head.seq)
    assert len(shown) <= 2 + 5.0 * (time.monotonic() - began)
    assert shown == sorted(set(shown))


def test_a_camera_that_nobody_watches_is_not_shown(watch: Callable[[str], Watcher], show: Callable[..., None]) -> None:
    watcher = watch("top")
    show(1, camera="top-2")
    show(2, camera="top")
    head, _ = watcher.next() or pytest.fail("no picture came")
    assert head.seq == 2
    assert watcher.next(0.5) is None


def test_a_part_without_a_picture_or_with_a_map_of_no_numbers(
    watch: Callable[[str], Watcher], show: Callable[..., None]
) -> None:
    watcher = watch("top")
    show(1, image=None)
    assert watcher.next(0.5) is None
    show(2, values=[[np.nan, 1.0], [2.0, 4.0]])
    head, (_, grey) = watcher.next() or pytest.fail("no picture came")
    assert (head.seq, head.view, grey) == (2, None, b"")


def test_when_the_last_watcher_has_gone_nothing_is_encoded(
    feed: LiveFeed, watch: Callable[[str], Watcher], show: Callable[..., None]
) -> None:
    watch("top").close()
    wait_for(lambda: not feed._watched)
    show(1)
    time.sleep(0.3)
    assert feed._shown == {}


@pytest.mark.parametrize("told", [b"\x02", b"", b"\x01" + b"x" * 300], ids=["unknown", "empty", "long"])
def test_a_strange_subscription_changes_nothing(
    feed: LiveFeed, watch: Callable[[str], Watcher], show: Callable[..., None], told: bytes
) -> None:
    watcher = watch("top")
    with zmq.Context() as context, context.socket(zmq.XSUB) as strange:
        strange.setsockopt(zmq.LINGER, 0)
        strange.connect(feed.endpoint)
        strange.send(told)
        show(1)
        assert watcher.next() is not None


def test_an_address_that_is_taken_is_named(feed: LiveFeed) -> None:
    with pytest.raises(ConfigError, match=r"live\.bind: .* is in use already"):
        Worker("live", LiveFeed(LiveTable(bind=feed.endpoint))).start()
