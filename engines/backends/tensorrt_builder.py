"""From an ONNX network to a serialised engine, with TensorRT 8.6, 10, 11 or TensorRT-RTX.

One path for all. Where versions differ, the code asks the library what it has (an attribute by its name) and not for
its number: the same flag has another integer in another version.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from engines.backends.tensorrt_library import Flavour, make_logger
from engines.errors import EngineError, UsageError

Progress = Callable[[str], None]

# A limit, not a reservation: what one layer's tactic may use. An Orin Nano shares 8 GB among everything that runs.
WORKSPACE_BYTES = 1 << 30
_TICK_S = 10.0


@dataclass(frozen=True)
class Plan:
    """What to build: `network` is ONNX, `size` the side of a frame, `batch` the largest number of frames at once.

    `target` is an architecture such as `sm89` for TensorRT-RTX; TensorRT builds for the GPU at hand.
    `timings` is the timing cache of an earlier build, or empty.
    """

    network: bytes
    size: int
    batch: int
    target: str = ""
    timings: bytes = b""


@dataclass(frozen=True)
class Built:
    """A serialised engine, the timing cache after it (empty from a library that times nothing), the library's warnings,
    and how long it took in seconds."""

    engine: bytes
    timings: bytes
    warnings: tuple[str, ...]
    seconds: float


def build_options(library: Any) -> tuple[str, ...]:
    """The settings that this library's engines are built with, for the engine's key."""
    typing = "strongly-typed" if _is_strongly_typed(library) else "fp16-flag"
    return typing, "no-tf32", f"workspace-{WORKSPACE_BYTES >> 20}-mib"


def serialise(library: Any, flavour: Flavour, plan: Plan, progress: Progress | None = None) -> Built:
    """Build an engine. Ctrl-C stops it where the library can be stopped. Raises EngineError with the library's words.

    TensorRT needs a GPU: call `require_gpu` first.
    """
    began = monotonic()
    title = f"{flavour.title} {library.__version__}"
    logger = make_logger(library)
    builder = library.Builder(logger)
    network = builder.create_network(_network_flags(library))
    _parse(library, title, network, logger, plan.network)
    config = _configure(library, builder, network, plan)
    timings = None if flavour.ahead else _use_timings(config, plan.timings)
    narrator = _Narrator(f"building with {title}", began)
    monitor = _monitor(library, narrator)
    if monitor is not None:
        config.progress_monitor = monitor
    serialised = _run(lambda: builder.build_serialized_network(network, config), narrator, progress)
    if serialised is None:
        raise EngineError(f"{title} cannot build the network: {_reason(logger)}; choose another --engine")
    grown = bytes(timings.serialize()) if timings else b""
    return Built(bytes(serialised), grown, tuple(logger.messages), monotonic() - began)


def _is_strongly_typed(library: Any) -> bool:
    return hasattr(library.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def _network_flags(library: Any) -> int:
    """Strongly typed from 9 on. 8.6 needs an explicit batch, which later versions ignore and 11 no longer knows."""
    flags = library.NetworkDefinitionCreationFlag
    return 1 << int(flags.STRONGLY_TYPED if _is_strongly_typed(library) else flags.EXPLICIT_BATCH)


def _parse(library: Any, title: str, network: Any, logger: Any, data: bytes) -> None:
    parser = library.OnnxParser(network, logger)
    if parser.parse(data):
        return
    found = [" ".join(parser.get_error(index).desc().split()) for index in range(parser.num_errors)]
    raise EngineError(f"{title} refuses the network: {'; '.join(found) or _reason(logger)}; choose another --engine")


def _configure(library: Any, builder: Any, network: Any, plan: Plan) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    # What the network keeps in float32 is kept for its accuracy, and TF32, on by default, has half's ten bits.
    config.clear_flag(library.BuilderFlag.TF32)
    if not _is_strongly_typed(library):
        _allow_half(library, config, network)
    _set_target(library, config, plan.target)
    profile = builder.create_optimization_profile()
    # The largest batch is the one to be fast: who asks for a batch of N means to fill it.
    smallest, largest = ((frames, plan.size, plan.size, 3) for frames in (1, plan.batch))
    profile.set_shape("frames", smallest, largest, largest)
    config.add_optimization_profile(profile)
    return config


def _allow_half(library: Any, config: Any, network: Any) -> None:
    """The FP16 flag lets 8.6 run any layer in half precision, so those that the network keeps in float32 say so."""
    config.set_flag(library.BuilderFlag.FP16)
    config.set_flag(library.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    names = ("ACTIVATION", "CONVOLUTION", "ELEMENTWISE", "MATRIX_MULTIPLY", "POOLING", "REDUCE", "RESIZE")
    arithmetic = {getattr(library.LayerType, name) for name in names}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type in arithmetic and layer.get_output(0).dtype == library.float32:
            layer.precision = library.float32
            layer.set_output_type(0, library.float32)


def _set_target(library: Any, config: Any, target: str) -> None:
    if not target:
        return
    known = target_names(library)
    if target not in known:
        raise UsageError(f"no target {target!r}; this library builds for {', '.join(known) or 'this GPU alone'}")
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(library.ComputeCapability, target.upper()), 0)


def target_names(library: Any) -> list[str]:
    """Architectures that this library builds ahead of time for; none with TensorRT, which builds where it runs."""
    known = getattr(library, "ComputeCapability", None)
    return sorted((name.lower() for name in dir(known) if name.startswith("SM")), key=lambda name: int(name[2:]))


def _use_timings(config: Any, stored: bytes) -> Any:
    """Begin with the timings of an earlier build. The library refuses those of another GPU or version."""
    cache = config.create_timing_cache(stored)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _reason(logger: Any) -> str:
    return "; ".join(" ".join(message.split()) for message in logger.errors) or "it gives no reason"


@dataclass
class _Narrator:
    """What the build is at, told from the library's threads, and whether it shall stop."""

    action: str
    began: float
    cancelled: bool = False
    _phases: dict[str, tuple[int, int]] = field(default_factory=dict)

    def start(self, phase: str, steps: int) -> None:
        self._phases[phase] = (0, steps)

    def step(self, phase: str, step: int) -> bool:
        self._phases[phase] = (step + 1, self._phases.get(phase, (0, 0))[1])
        return not self.cancelled

    def finish(self, phase: str) -> None:
        self._phases.pop(phase, None)

    def line(self) -> str:
        elapsed = f"{self.action}: {monotonic() - self.began:.0f} s"
        # The first phase is the whole build, the last one the innermost, which changes too fast to be read.
        running = [f"{phase} {done}/{steps}" for phase, (done, steps) in list(self._phases.items())[:2]]
        return ", ".join([elapsed, *running])


def _monitor(library: Any, narrator: _Narrator) -> Any:
    """A progress monitor of that library; None where it has none (8.6), and the elapsed time has to do."""
    if not hasattr(library, "IProgressMonitor"):
        return None

    class Monitor(library.IProgressMonitor):
        def __init__(self) -> None:
            library.IProgressMonitor.__init__(self)

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            narrator.start(phase, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            return narrator.step(phase, step)

        def phase_finish(self, phase: str) -> None:
            narrator.finish(phase)

    return Monitor()


def _run(build: Callable[[], Any], narrator: _Narrator, progress: Progress | None) -> Any:
    """Build in a second thread: the first one tells how far it is, and hears Ctrl-C."""
    with ThreadPoolExecutor(1, thread_name_prefix="tensorrt-build") as builder:
        running: Future[Any] = builder.submit(build)
        try:
            while not wait([running], _TICK_S).done:
                if progress:
                    progress(narrator.line())
        except BaseException:
            narrator.cancelled = True
            raise
        return running.result()
