"""What every backend owes its callers, whichever library computes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.bundle import Bundle, update_bundle
from engines.engine import Engine
from engines.errors import EngineError, PrecisionError
from engines.registry import BACKENDS, CPU_BACKENDS, open_engine

Frames = NDArray[np.uint8]


def test_outputs_have_the_contracts_shapes(engine: Engine, frames: Frames) -> None:
    found = engine.infer(frames)
    assert {found.scores.dtype, found.maps.dtype, found.embeddings.dtype} == {np.dtype(np.float32)}
    assert found.scores.shape == (5,)
    assert found.maps.shape == (5, engine.input_size, engine.input_size)
    assert found.embeddings.shape == (5, 384)


def test_results_outlive_the_next_call(engine: Engine, frames: Frames) -> None:
    first = engine.infer(frames[:1])
    before = first.maps.copy(), first.scores.copy(), first.embeddings.copy()
    second = engine.infer(frames[1:2])
    assert not np.array_equal(second.maps, before[0])
    for kept, copied in zip((first.maps, first.scores, first.embeddings), before, strict=True):
        np.testing.assert_array_equal(kept, copied)


def test_a_frame_scores_the_same_in_any_batch(engine: Engine, frames: Frames) -> None:
    together = engine.infer(frames)
    for index in (4, 0, 2):
        alone = engine.infer(frames[index : index + 1])
        np.testing.assert_allclose(alone.scores[0], together.scores[index], rtol=1e-5)
        np.testing.assert_allclose(alone.maps[0], together.maps[index], atol=1e-5 * np.abs(together.maps).max())


def test_frames_may_be_read_only_or_strided(engine: Engine, frames: Frames) -> None:
    locked = frames.copy()
    locked.flags.writeable = False
    mirrored = frames[:, :, ::-1]
    np.testing.assert_array_equal(engine.infer(locked[1:2]).maps, engine.infer(frames[1:2]).maps)
    np.testing.assert_array_equal(engine.infer(mirrored).maps, engine.infer(mirrored.copy()).maps)


def test_frames_stay_as_they_are(engine: Engine, frames: Frames) -> None:
    before = frames.copy()
    engine.infer(frames)
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda frames: frames.astype(np.float32), "float32 of shape"),
        (lambda frames: frames[0], r"uint8 of shape \(128, 128, 3\)"),
        (lambda frames: frames[:0], r"uint8 of shape \(0, 128, 128, 3\)"),
        (lambda frames: frames[:, :64], r"uint8 of shape \(5, 64, 128, 3\)"),
        (lambda frames: frames.transpose(0, 3, 1, 2), r"uint8 of shape \(5, 3, 128, 128\)"),
        (lambda frames: frames.tolist(), "found list"),
    ],
)
def test_wrong_frames_are_refused(
    engine: Engine, frames: Frames, spoil: Callable[[Frames], Frames], found: str
) -> None:
    with pytest.raises(EngineError, match=f"expected frames .*{found}"):
        engine.infer(spoil(frames))


def test_the_description_names_the_engine(engine: Engine) -> None:
    description = engine.description
    assert description.backend in BACKENDS
    assert description.precision == "f32"
    assert description.device
    assert description.versions[description.backend][0].isdigit()


def test_warmup_runs(engine: Engine) -> None:
    engine.warmup(rounds=1)


@pytest.mark.parametrize("backend", sorted(CPU_BACKENDS))
def test_a_closed_engine_says_so(uncalibrated_bundle: Bundle, frames: Frames, backend: str) -> None:
    pytest.importorskip(f"engines.backends.{backend}")
    with open_engine(uncalibrated_bundle, backend, "f32") as engine:
        engine.infer(frames[:1])
    engine.close()
    for count in (1, 2):
        with pytest.raises(EngineError, match="closed"):
            engine.infer(frames[:count])


@pytest.mark.parametrize("backend", sorted(CPU_BACKENDS))
def test_a_network_that_does_not_load_is_an_engine_error(
    uncalibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle], backend: str
) -> None:
    pytest.importorskip(f"engines.backends.{backend}")
    bundle = bundle_copy(uncalibrated_bundle)
    broken = update_bundle(bundle, bundle.info, networks={"f32": b"no network"})
    with pytest.raises(EngineError, match=r"cannot (load|compile) .*pip install -U"):
        open_engine(broken, backend, "f32")


@pytest.mark.parametrize("backend", sorted(CPU_BACKENDS))
def test_a_network_altered_after_opening_does_not_run(
    uncalibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle], backend: str
) -> None:
    pytest.importorskip(f"engines.backends.{backend}")
    bundle = bundle_copy(uncalibrated_bundle)
    network = bytearray(bundle.model_path.read_bytes())
    network[len(network) // 2] ^= 1
    bundle.model_path.write_bytes(network)
    with pytest.raises(Exception, match=r"model\.onnx was altered"):
        open_engine(replace(bundle), backend, "f32")


@pytest.mark.parametrize("backend", sorted(CPU_BACKENDS))
def test_int8_needs_an_int8_network(uncalibrated_bundle: Bundle, backend: str) -> None:
    pytest.importorskip(f"engines.backends.{backend}")
    with pytest.raises(PrecisionError, match=r"no int8 network; run: edge-inspect quantise"):
        open_engine(uncalibrated_bundle, backend, "int8")


@pytest.mark.parametrize("backend", sorted(CPU_BACKENDS))
@pytest.mark.parametrize("in_flight", [1, 3])
def test_frames_side_by_side_get_their_own_results(
    uncalibrated_bundle: Bundle, frames: Frames, backend: str, in_flight: int
) -> None:
    pytest.importorskip(f"engines.backends.{backend}")
    with open_engine(uncalibrated_bundle, backend, "f32", in_flight) as engine:
        assert engine.in_flight == in_flight
        alone = [engine.infer(frame[None]) for frame in frames]
        for _ in range(10):
            outstanding = [engine.submit(frame[None]) for frame in frames[: in_flight + 1]]
            for expected, pending in zip(alone, outstanding, strict=False):
                found = pending.result()
                np.testing.assert_array_equal(found.scores, expected.scores)
                np.testing.assert_array_equal(found.maps, expected.maps)


@pytest.mark.parametrize("backend", sorted(CPU_BACKENDS))
def test_a_further_frame_waits_until_a_result_is_collected(
    uncalibrated_bundle: Bundle, frames: Frames, backend: str
) -> None:
    pytest.importorskip(f"engines.backends.{backend}")
    with open_engine(uncalibrated_bundle, backend, "f32", 1) as engine, ThreadPoolExecutor(1) as other:
        first, second = engine.submit(frames[:1]), engine.submit(frames[1:2])
        third = other.submit(engine.submit, frames[2:3])
        with pytest.raises(FutureTimeoutError):
            third.result(timeout=0.3)
        expected = first.result(), second.result(), third.result(timeout=30).result()
        for index, found in enumerate(expected):
            np.testing.assert_array_equal(found.maps, engine.infer(frames[index : index + 1]).maps)


OPEN = """
import pathlib, socket, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"network: {arguments}")

sys.addaudithook(refuse)
from engines.bundle import Bundle
from engines.cpu import cpu_flags
from engines.registry import open_engine
with open_engine(Bundle.open(sys.argv[1]), sys.argv[2], "f32") as engine:
    engine.warmup(1)
print(sorted(name for name in sys.modules if name.startswith("openvino_telemetry")))
print(sorted(path.name for path in pathlib.Path.home().iterdir()))
"""


@pytest.mark.parametrize("backend", sorted(CPU_BACKENDS))
def test_no_telemetry_and_a_clean_home(uncalibrated_bundle: Bundle, tmp_path: Path, backend: str) -> None:
    pytest.importorskip(f"engines.backends.{backend}")
    command = [sys.executable, "-c", OPEN, str(uncalibrated_bundle.path), backend]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n[]\n"), done.stderr
