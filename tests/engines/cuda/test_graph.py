"""In which order work is done, recorded and replayed. That CUDA records it rightly is tested on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engines.cuda.graph import Replay
from engines.errors import EngineError


class Recorder:
    """Writes down what happens. A recording runs the work to see what it consists of, as CUDA does."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.open = 0

    def work(self, name: str) -> Callable[[], None]:
        return lambda: self.log.append(name)

    def record(self, work: Callable[[], None]) -> Recording:
        self.log.append("record:")
        work()
        self.open += 1
        return Recording(self, self.log[-1])


class Recording:
    def __init__(self, recorder: Recorder, name: str) -> None:
        self._recorder = recorder
        self._name = name

    def launch(self) -> None:
        self._recorder.log.append(f"launch {self._name}")

    def close(self) -> None:
        self._recorder.log.append(f"close {self._name}")
        self._recorder.open -= 1


def test_work_is_done_once_before_it_is_recorded_and_launched_after() -> None:
    recorder = Recorder()
    replay = Replay(recorder.record)
    for _ in range(3):
        replay.run("a", recorder.work("a"))
    assert recorder.log == ["a", "record:", "a", "launch a", "launch a"]


def test_another_address_is_recorded_anew() -> None:
    recorder = Recorder()
    replay = Replay(recorder.record)
    for key in ("a", "b", "a", "b"):
        replay.run(key, recorder.work(key))
    assert recorder.log == ["a", "record:", "a", "b", "record:", "b", "launch a", "launch b"]


def test_nothing_is_launched_after_it_was_forgotten() -> None:
    recorder = Recorder()
    replay = Replay(recorder.record)
    replay.run("a", recorder.work("a"))
    replay.forget()
    assert recorder.open == 0
    replay.run("a", recorder.work("a"))
    assert recorder.log == ["a", "record:", "a", "close a", "a", "record:", "a"]


def test_graphs_do_not_pile_up() -> None:
    recorder = Recorder()
    replay = Replay(recorder.record, most=3)
    for number in range(20):
        replay.run(number, recorder.work(str(number)))
        assert recorder.open <= 3
    replay.forget()
    assert recorder.open == 0


def test_without_a_recorder_work_is_simply_done() -> None:
    recorder = Recorder()
    replay = Replay(None)
    for _ in range(3):
        replay.run("a", recorder.work("a"))
    assert recorder.log == ["a", "a", "a"]
    assert not replay.records


def test_what_cannot_be_recorded_is_done_without_and_said(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()

    def refuse(work: Callable[[], None]) -> Recording:
        raise EngineError("recording a CUDA graph failed: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")

    replay = Replay(refuse)
    for _ in range(3):
        replay.run("a", recorder.work("a"))
    assert recorder.log == ["a", "a", "a"]
    assert [record.message for record in caplog.records] == [
        "running without CUDA graphs: recording a CUDA graph failed: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
    ]


def test_a_failure_of_the_work_itself_is_told() -> None:
    def fail() -> None:
        raise EngineError("TensorRT failed on 1 frame(s)")

    with pytest.raises(EngineError, match="TensorRT failed"):
        Replay(Recorder().record).run("a", fail)
