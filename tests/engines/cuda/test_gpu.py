"""On a GPU: memory, streams, kernels and graphs by themselves, then whole TensorRT engines. `pytest -m gpu` runs them.

docs/gpu.md says what has to be installed.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.golden import check_parity
from calibration.procedure import calibrate
from engines.backends import tensorrt
from engines.bundle import Bundle
from engines.cuda.binding import OUT_OF_MEMORY, CudaError, load_driver, load_graphs
from engines.cuda.blur import GaussianBlur
from engines.cuda.context import CudaContext
from engines.cuda.devices import require_gpu
from engines.cuda.frames import FrameIntake, load_preprocessing
from engines.cuda.graph import Graph
from engines.cuda.memory import DeviceBuffer, PinnedBuffer
from engines.cuda.stream import Event, Stream
from engines.engine import Engine, Inspection
from engines.errors import EngineError
from engines.images import list_images, read_image
from engines.preprocess import Preprocessing
from engines.registry import open_engine

pytestmark = pytest.mark.gpu

Frame = NDArray[np.uint8]
# float16 against float32, in shares of the deviation: what engines/half.py derives was measured at a hundredth.
SCORE_TOLERANCE = 0.05
INFERENCES = 3000


@pytest.fixture(scope="module")
def context() -> Iterator[CudaContext]:
    """The GPU's context. Whatever a test took in it has to be given back by its end."""
    try:
        load_driver()
    except EngineError as error:
        pytest.skip(str(error))
    with CudaContext() as opened:
        yield opened


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def flavour(request: pytest.FixtureRequest) -> str:
    """Each of the two libraries that works here."""
    try:
        require_gpu()
        module = tensorrt if request.param == "tensorrt" else pytest.importorskip("engines.backends.tensorrt_rtx")
        module.probe()
    except EngineError as error:
        pytest.skip(str(error))
    return str(request.param)


@pytest.fixture
def engine(uncalibrated_bundle: Bundle, flavour: str) -> Iterator[tensorrt.TensorRtEngine]:
    """An engine of two requests in flight; everything it took is given back."""
    with tensorrt.open_tensorrt(uncalibrated_bundle, flavour, "tested", 2) as opened:
        yield opened
    assert opened.ledger.held == {}


@pytest.fixture(scope="module")
def photographs() -> list[Frame]:
    """Camera frames of noise, as large as a camera's."""
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (1024, 1280, 3), np.uint8) for _ in range(4)]


def same(found: Inspection, expected: Inspection) -> bool:
    names = ("scores", "maps", "embeddings")
    return all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in names)


def test_memory_goes_up_and_comes_down(context: CudaContext) -> None:
    sent = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8)
    with (
        Stream(context) as stream,
        DeviceBuffer(context, 100_000) as device,
        PinnedBuffer(context, 100_000) as there,
        PinnedBuffer(context, 100_000) as back,
    ):
        there.view((100_000,))[:] = sent
        with context.active():
            device.upload(there.view((100_000,)), stream)
            device.download(back.view((100_000,)), stream)
            stream.synchronise()
        np.testing.assert_array_equal(back.view((100_000,)), sent)
    assert context.ledger.held == {}


def test_too_much_memory_is_cudas_own_error(context: CudaContext) -> None:
    with pytest.raises(CudaError, match="cuMemAlloc said CUDA_ERROR_OUT_OF_MEMORY; lower `in_flight`") as caught:
        DeviceBuffer(context, 1 << 50)
    assert caught.value.name == OUT_OF_MEMORY
    assert context.ledger.held == {}


def test_a_context_that_is_closed_too_early_says_what_it_holds() -> None:
    try:
        opened = CudaContext()
    except EngineError as error:
        pytest.skip(str(error))
    DeviceBuffer(opened, 16)
    with pytest.raises(CudaError, match="closed before what it holds: 1 device buffer"):
        opened.close()
    with pytest.raises(CudaError, match="closed"), opened.active():
        pass


def test_one_context_serves_many_threads(context: CudaContext) -> None:
    def work(seed: int) -> bool:
        values = np.random.default_rng(seed).integers(0, 256, 4096, np.uint8)
        for _ in range(50):
            with (
                Stream(context) as stream,
                DeviceBuffer(context, 4096) as device,
                PinnedBuffer(context, 4096) as pinned,
            ):
                view = pinned.view((4096,))
                view[:] = values
                with context.active():
                    device.upload(view, stream)
                    stream.synchronise()
                    view[:] = 0
                    device.download(view, stream)
                    stream.synchronise()
                if not np.array_equal(view, values):
                    return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert context.ledger.held == {}


def test_a_context_may_be_closed_by_another_thread() -> None:
    try:
        opened = CudaContext()
    except EngineError as error:
        pytest.skip(str(error))
    failures: list[BaseException] = []

    def close() -> None:
        try:
            opened.close()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert failures == []
    with CudaContext() as again, DeviceBuffer(again, 16):
        pass


@pytest.mark.parametrize("shape", [(1024, 1280, 3), (1080, 1920), (517, 1000, 3), (100, 120), (2, 7, 3), (3000, 300)])
@pytest.mark.parametrize("preprocessing", [Preprocessing(), Preprocessing(field="full", resize=128)], ids=str)
def test_the_kernel_is_the_cpus_preprocessing(
    context: CudaContext, shape: tuple[int, ...], preprocessing: Preprocessing
) -> None:
    frame = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = preprocessed(context, frame, preprocessing)
    assert np.abs(found.astype(int) - preprocessing(frame)).max() <= 1


def preprocessed(context: CudaContext, frame: Frame, preprocessing: Preprocessing) -> Frame:
    shape = (preprocessing.input_size, preprocessing.input_size, 3)
    size = int(np.prod(shape))
    with (
        Stream(context) as stream,
        DeviceBuffer(context, size) as target,
        PinnedBuffer(context, size) as result,
        load_preprocessing(context) as kernel,
    ):
        intake = FrameIntake(context, stream, kernel, target.address, ())
        with context.active():
            intake.prepare(frame, preprocessing).enqueue()
            target.download(result.view(shape), stream)
            stream.synchronise()
        found = result.view(shape).copy()
        intake.close()
    return found


def test_the_blur_is_scipys(context: CudaContext) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    source = np.random.default_rng(0).standard_normal((224, 224)).astype(np.float32)
    with (
        Stream(context) as stream,
        GaussianBlur(context, stream, 224, 4.0) as blur,
        DeviceBuffer(context, source.nbytes) as before,
        DeviceBuffer(context, source.nbytes) as after,
        PinnedBuffer(context, source.nbytes) as pinned,
        Event(context) as began,
        Event(context) as ended,
    ):
        view = pinned.view(source.shape, np.float32)
        view[:] = source
        with context.active():
            before.upload(view, stream)
            began.record(stream)
            blur.enqueue(before.address, after.address)
            ended.record(stream)
            after.download(view, stream)
            stream.synchronise()
            assert ended.milliseconds_since(began) > 0
        np.testing.assert_allclose(view, ndimage.gaussian_filter(source, 4.0), atol=2e-6)
    assert context.ledger.held == {}


def test_a_graph_does_what_was_recorded_and_nothing_while_recording(context: CudaContext) -> None:
    if load_graphs() is None:
        pytest.skip("cuda-bindings is not installed")
    with Stream(context) as stream, DeviceBuffer(context, 8) as device, PinnedBuffer(context, 8) as pinned:
        view = pinned.view((8,))
        back = np.zeros(8, np.uint8)
        view[:] = 1
        with context.active():
            device.upload(view, stream)
            with Graph(context, stream, lambda: device.upload(view, stream)) as graph:
                view[:] = 2
                device.download(back, stream)
                stream.synchronise()
                assert back.tolist() == [1] * 8
                graph.launch()
                device.download(back, stream)
                stream.synchronise()
        assert back.tolist() == [2] * 8
    assert context.ledger.held == {}


def test_a_recording_that_fails_leaves_the_stream_usable(context: CudaContext) -> None:
    if load_graphs() is None:
        pytest.skip("cuda-bindings is not installed")

    def fail() -> None:
        raise KeyError("in the middle")

    with Stream(context) as stream, context.active():
        with pytest.raises(KeyError):
            Graph(context, stream, fail)
        stream.synchronise()
    assert context.ledger.held == {}


def test_scores_agree_with_float32(engine: Engine, uncalibrated_bundle: Bundle, part_photos: Path) -> None:
    images = [read_image(path) for folder in ("good", "scratch") for path in list_images(part_photos / "test" / folder)]
    compare(engine, uncalibrated_bundle, images)


@pytest.mark.shared
@pytest.mark.parametrize("product", ["magnetic_tile", "mvtec_screw"])
def test_scores_of_real_photographs_agree_with_float32(
    flavour: str, make_bundle, shared_dir: Path, tmp_path: Path, product: str
) -> None:
    folder = shared_dir / "data" / product
    weights = str(shared_dir / "weights" / "resnet18-imagenet1k-v1-to-layer3.safetensors")
    bundle = make_bundle(tmp_path / "bundle", weights, list_images(folder / "train" / "good")[:16], Preprocessing())
    defects = [path for kind in sorted((folder / "test").iterdir()) for path in list_images(kind)[:8]]
    with tensorrt.open_tensorrt(bundle, flavour, "tested") as engine:
        compare(engine, bundle, [read_image(path) for path in defects])


def compare(engine: Engine, bundle: Bundle, images: Sequence[Frame]) -> None:
    """The engine gets the photographs, the reference what the CPU makes of them."""
    preprocessing = bundle.info.preprocessing
    found = [engine.submit_frame(image, preprocessing).result() for image in images]
    with open_engine(bundle, "onnxruntime", "f32") as reference:
        expected = [reference.infer(preprocessing(image)[None]) for image in images]
    scores, truth = (np.array([each.scores[0] for each in results]) for results in (found, expected))
    assert np.abs(scores - truth).max() <= SCORE_TOLERANCE * truth.std()
    maps, exact = (np.concatenate([each.maps for each in results]) for results in (found, expected))
    assert np.sqrt(np.mean((maps - exact) ** 2)) <= SCORE_TOLERANCE * exact.std()


def test_a_camera_frame_and_its_preprocessed_form_are_one(
    engine: Engine, uncalibrated_bundle: Bundle, photographs: list[Frame]
) -> None:
    preprocessing = uncalibrated_bundle.info.preprocessing
    for frame in photographs:
        from_camera = engine.submit_frame(frame, preprocessing).result()
        assert same(from_camera, engine.infer(preprocessing(frame)[None]))


def test_a_pinned_frame_is_any_other_one(engine: Engine, uncalibrated_bundle: Bundle, photographs: list[Frame]) -> None:
    preprocessing = uncalibrated_bundle.info.preprocessing
    places = engine.pinned_frames(2, photographs[0].shape)
    for number, frame in enumerate(photographs):
        expected = engine.submit_frame(frame, preprocessing).result()
        place = places[number % 2]
        place[:] = frame
        for _ in range(3):
            assert same(engine.submit_frame(place, preprocessing).result(), expected)
        part = place[100:900, 64:1000]
        assert same(
            engine.submit_frame(part, preprocessing).result(), engine.submit_frame(part.copy(), preprocessing).result()
        )


def test_a_graph_gives_the_very_bits_of_the_work_without_one(
    uncalibrated_bundle: Bundle, flavour: str, photographs: list[Frame]
) -> None:
    if load_graphs() is None:
        pytest.skip("cuda-bindings is not installed")
    preprocessing = uncalibrated_bundle.info.preprocessing
    results = []
    for graphs in (True, False):
        with tensorrt.open_tensorrt(uncalibrated_bundle, flavour, "tested", 1, graphs=graphs) as engine:
            assert f"{'with' if graphs else 'without'} CUDA graphs" in engine.description.reason
            results.append(
                [engine.submit_frame(photographs[turn % 4], preprocessing).result() for turn in range(12)]
                + [engine.infer(preprocessing(frame)[None]) for frame in photographs]
            )
    assert all(same(found, expected) for found, expected in zip(*results, strict=True))


def test_batches_are_their_frames(uncalibrated_bundle: Bundle, flavour: str, frames: Frame) -> None:
    """Five frames: at once in a batch of 8, in three goes in one of 2, one by one."""
    results = []
    for batch in (1, 2, 8):
        with tensorrt.open_tensorrt(uncalibrated_bundle, flavour, "tested", 1, batch=batch) as engine:
            results.append(engine.infer(frames))
            results.append(engine.infer(frames[:1]))
    for found in results[::2]:
        assert found.maps.shape == (5, frames.shape[1], frames.shape[1])
        np.testing.assert_allclose(found.scores, results[0].scores, atol=0.05 * results[0].scores.std())


def test_threads_get_their_own_results(engine: Engine, uncalibrated_bundle: Bundle, photographs: list[Frame]) -> None:
    preprocessing = uncalibrated_bundle.info.preprocessing
    expected = [engine.submit_frame(frame, preprocessing).result() for frame in photographs]

    def work(first: int) -> bool:
        for turn in range(50):
            number = (first + turn) % len(photographs)
            if not same(engine.submit_frame(photographs[number], preprocessing).result(), expected[number]):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_requests_side_by_side_get_their_own_results(engine: Engine, frames: Frame) -> None:
    alone = [engine.infer(frame[None]) for frame in frames]
    for _ in range(20):
        outstanding = [engine.submit(frame[None]) for frame in frames[:3]]
        for pending, expected in zip(outstanding, alone, strict=False):
            assert same(pending.result(), expected)


def test_nothing_grows(engine: Engine, uncalibrated_bundle: Bundle, photographs: list[Frame]) -> None:
    """Neither the host's memory nor the GPU's, nor what the engine holds. The benchmark's soak is the long form."""
    driver = load_driver()
    preprocessing = uncalibrated_bundle.info.preprocessing

    def measure() -> tuple[int, int, dict[str, int]]:
        gc.collect()
        with engine._context.active():
            free = driver.mem_get_info()[0]
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return free, pages * 4096, engine.ledger.held

    def inspect(count: int) -> None:
        for turn in range(count):
            engine.submit_frame(photographs[turn % 4], preprocessing).result()

    inspect(200)
    free, resident, held = measure()
    inspect(INFERENCES)
    free_after, resident_after, held_after = measure()
    assert held_after == held
    assert free - free_after < 1 << 20
    assert resident_after - resident < 8 << 20


def test_opening_and_closing_again_and_again_leaves_nothing(uncalibrated_bundle: Bundle, flavour: str) -> None:
    driver = load_driver()
    left = []
    with CudaContext() as context:
        for _ in range(4):
            with tensorrt.open_tensorrt(uncalibrated_bundle, flavour, "tested", 1) as engine:
                engine.warmup(1)
            assert engine.ledger.held == {}
            with context.active():
                left.append(driver.mem_get_info()[0])
    assert left[1] - left[-1] < 4 << 20


def test_a_closed_engine_says_so(engine: Engine, frames: Frame) -> None:
    pending = engine.submit(frames[:1])
    engine.close()
    for ask in (lambda: engine.infer(frames[:1]), pending.result):
        with pytest.raises(EngineError, match="closed"):
            ask()


def test_a_calibrated_bundle_passes_its_own_gate(
    uncalibrated_bundle: Bundle, bundle_copy, flavour: str, part_photos: Path
) -> None:
    """Calibration and gate go the daemon's way: through the GPU's preprocessing."""
    bundle = bundle_copy(uncalibrated_bundle)
    frames = [bundle.info.preprocessing(read_image(path)) for path in list_images(part_photos / "test" / "good")]
    with open_engine(bundle, flavour, "f16") as engine:
        calibrated = calibrate(bundle, engine, frames, 0.05)
    with open_engine(calibrated, flavour, "f16") as engine:
        gate = check_parity(engine, calibrated, calibrated.calibration_for(flavour, "f16"))
    assert gate.passed, gate.reason
