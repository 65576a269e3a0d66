from __future__ import annotations

import dataclasses
import threading

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cameras.camera import Frame, Shutter
from edge.decision import Decision
from edge.health import CameraHealth, Health
from edge.inspector import Collector, Fed, Feeder, Judgement
from edge.product import Product
from edge.queues import BoundedQueue, Policy, QueueClosedError
from edge.verdict import Evaluation
from edge.worker import Worker
from engines.bundle import Bundle
from engines.registry import open_engine


def frame_of(image: NDArray[np.uint8] | None, fault: str = "") -> Frame:
    shutter = Shutter()
    shutter.press()
    return shutter.frame(image, "part", fault)


def start_workers(
    product: Product,
    waiting: BoundedQueue[Frame],
    judged: BoundedQueue[Judgement],
    health: CameraHealth | None = None,
) -> list[Worker]:
    fed: BoundedQueue[Fed] = BoundedQueue(product.engine.in_flight, Policy.ALL)
    feeder = Worker("feeder", Feeder(product, waiting, fed))
    collector = Worker("collector", Collector(health or Health(["top"]).cameras["top"], fed, judged.put))
    for worker in (feeder, collector):
        worker.start()
    return [feeder, collector]


def inspect(product: Product, frames: list[Frame], health: CameraHealth | None = None) -> list[Judgement]:
    """Run the worker over frames, and take what comes out."""
    waiting: BoundedQueue[Frame] = BoundedQueue(len(frames), Policy.ALL)
    judged: BoundedQueue[Judgement] = BoundedQueue(len(frames), Policy.ALL)
    for frame in frames:
        waiting.put(frame)
    waiting.close()
    for worker in start_workers(product, waiting, judged, health):
        worker.join(60)
        assert worker.failure is None
    judged.close()
    results = [judged.get(0.0) for _ in range(len(judged))]
    with pytest.raises(QueueClosedError):
        judged.get(0.0)
    return [result for result in results if result is not None]


def test_good_and_scratched_parts_are_told_apart_and_the_scratch_is_located(product: Product, render_part) -> None:
    good, scratched = (frame_of(render_part(seed, defect)) for seed, defect in ((101, False), (203, True)))
    first, second = inspect(product, [good, scratched])
    assert first.decision.evaluation is Evaluation.OK
    assert second.decision.evaluation is Evaluation.NOT_OK
    assert second.decision.regions
    assert second.frame is scratched
    assert set(second.stages) == {"capture", "queue", "preprocess", "infer", "decide"}
    assert all(ms >= 0 for ms in second.stages.values())


def test_the_score_is_the_engines_own(product: Product, render_part) -> None:
    image = render_part(101)
    expected = product.engine.infer(product.judge.preprocessing(image)[None]).scores[0]
    (result,) = inspect(product, [frame_of(image)])
    assert result.decision.score == float(expected)


def test_a_frame_without_an_image_is_undecidable_for_its_own_reason(product: Product) -> None:
    (result,) = inspect(product, [frame_of(None, "part: the file is empty")])
    assert result.decision.evaluation is Evaluation.NOT_DECIDABLE
    assert result.decision.reason == "part: the file is empty"
    assert "infer" not in result.stages


def test_a_picture_that_a_guard_objects_to_is_undecidable_whatever_its_score(product: Product, render_part) -> None:
    dark, rejected = np.zeros((160, 160, 3), np.uint8), render_part(203, True) // 3
    for result in inspect(product, [frame_of(dark), frame_of(rejected)]):
        assert result.decision.evaluation is Evaluation.NOT_DECIDABLE
        assert result.decision.reason.startswith("guard ")
        assert result.decision.score is None


def test_a_camera_that_was_moved_stops_every_part_until_it_is_back(product: Product, render_part) -> None:
    good = [render_part(seed) for seed in range(300, 340)]
    moved = [np.roll(part, 16, axis=1) for part in good[:8]]
    health = Health(["top"]).cameras["top"]
    results = inspect(product, [frame_of(part) for part in [*moved, *good[8:]]], health)
    stopped = [result.decision.reason for result in results[8:] if "over the last" in result.decision.reason]
    assert stopped
    assert all(reason.startswith("guard camera_moved: over the last ") for reason in stopped)
    assert all("right of its usual place" in reason for reason in stopped)
    assert [result.decision.evaluation for result in results[-8:]].count(Evaluation.OK) >= 6
    assert health.charts is not None
    assert health.charts.objection == ""


def test_another_recipe_begins_its_charts_anew(product: Product, render_part) -> None:
    health = Health(["top"]).cameras["top"]
    collector = Collector(health, BoundedQueue(1, Policy.ALL), lambda _: None)

    def judged(by: Product, image: NDArray[np.uint8]) -> Decision:
        assert by.turnstile.enter(by.turnstile.queue(), 10.0)
        feeder = Feeder(by, BoundedQueue(1, Policy.ALL), BoundedQueue(1, Policy.ALL))
        return collector.judge(feeder.feed(frame_of(image))).decision

    for seed in range(300, 310):
        judged(product, np.roll(render_part(seed), 16, axis=1))
    assert "over the last" in judged(product, render_part(101)).reason
    assert judged(dataclasses.replace(product), render_part(101)).evaluation is Evaluation.OK
    assert health.charts is not None
    assert health.charts.objection == ""


def test_a_row_of_rejects_alarms_and_changes_no_verdict(product: Product, render_part) -> None:
    health = Health(["top"]).cameras["top"]
    assert health.drift is None
    results = inspect(product, [frame_of(render_part(203, True)) for _ in range(30)], health)
    assert {result.decision.evaluation for result in results} == {Evaluation.NOT_OK}
    assert health.drift is not None
    assert "rejects" in health.drift.alarms


def test_an_error_in_one_frame_is_that_frames_verdict_and_the_next_one_is_judged(product: Product, render_part) -> None:
    wrong_type = frame_of(np.zeros((10, 10), np.uint16))  # type: ignore[arg-type]
    results = inspect(product, [wrong_type, frame_of(render_part(101))])
    assert [r.decision.evaluation for r in results] == [Evaluation.NOT_DECIDABLE, Evaluation.OK]
    assert results[0].decision.reason.startswith("preprocess: expected a uint8 frame")


def test_a_frame_smaller_than_the_region_of_interest_is_undecidable(product: Product, render_part) -> None:
    roi = msgspec.structs.replace(product.judge.preprocessing, roi=(0, 0, 1000, 1000))
    judge = dataclasses.replace(product.judge, preprocessing=roi)
    (result,) = inspect(dataclasses.replace(product, judge=judge), [frame_of(render_part(101))])
    assert "does not lie inside the 160x160 frame" in result.decision.reason


def test_an_engine_that_fails_makes_its_frames_undecidable(
    calibrated_bundle: Bundle, product: Product, render_part
) -> None:
    engine = open_engine(calibrated_bundle)
    engine.close()
    results = inspect(
        dataclasses.replace(product, engine=engine), [frame_of(render_part(101)), frame_of(render_part(102))]
    )
    assert [r.decision.evaluation for r in results] == [Evaluation.NOT_DECIDABLE] * 2
    assert all(r.decision.reason.startswith("infer: ") for r in results)


def test_it_waits_for_frames_without_ending(product: Product, render_part) -> None:
    waiting: BoundedQueue[Frame] = BoundedQueue(1, Policy.ALL)
    judged: BoundedQueue[Judgement] = BoundedQueue(1, Policy.ALL)
    workers = start_workers(product, waiting, judged)
    threading.Event().wait(0.3)
    waiting.put(frame_of(render_part(101)))
    assert judged.get(30.0) is not None
    for worker in workers:
        worker.stop(10)


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_verdicts_come_in_the_order_of_the_frames(
    calibrated_bundle: Bundle, product: Product, render_part, in_flight: int
) -> None:
    images = [render_part(seed, seed % 3 == 0) for seed in range(100, 118)]
    frames = [frame_of(image) for image in images]
    frames.insert(7, frame_of(None, "torn"))
    calibration = calibrated_bundle.latest_calibration
    with open_engine(calibrated_bundle, calibration.backend, calibration.precision, in_flight) as engine:
        results = inspect(dataclasses.replace(product, engine=engine), frames)
        expected = [float(engine.infer(product.judge.preprocessing(image)[None]).scores[0]) for image in images]
    assert [id(result.frame) for result in results] == [id(frame) for frame in frames]
    assert [result.decision.score for result in results if result.decision.score is not None] == expected


def test_no_frame_is_taken_before_the_engine_has_room(product: Product, render_part) -> None:
    """Of a free-running camera the newest frame is wanted, not the one that came while the engine was busy."""
    waiting: BoundedQueue[Frame] = BoundedQueue(1, Policy.ALL)
    fed: BoundedQueue[Fed] = BoundedQueue(1, Policy.ALL)
    waiting.put(frame_of(render_part(101)))
    feeder = Feeder(product, waiting, fed)
    assert feeder.step(threading.Event())
    waiting.put(frame_of(render_part(102)))
    assert feeder.step(threading.Event())
    assert (len(waiting), len(fed)) == (1, 1)
    first = fed.get(0.0)
    assert first is not None
    first.result()
    assert feeder.step(threading.Event())
    assert (len(waiting), len(fed)) == (0, 1)
    second = fed.get(0.0)
    assert second is not None
    second.result()
