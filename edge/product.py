"""An open recipe: the bundle that judges a product, its calibration, and an engine that was proved to compute it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from calibration.drift import Plan
from calibration.golden import check_parity
from calibration.guards import Guards
from calibration.severity import fits
from edge.config import EngineTable, RecipeTable, StationConfig
from edge.decision import Judge
from edge.turnstile import Turnstile
from engines.bundle import Bundle, Calibration
from engines.engine import Engine
from engines.errors import CalibrationError
from engines.registry import open_engine
from engines.signature import PublicKey, load_public_keys, open_trusted
from engines.tuning import best_in_flight

_log = logging.getLogger(__name__)
_LAST_FRAMES_S = 5.0


@dataclass(frozen=True)
class Recipe:
    """What a station file's recipe comes to: a verified bundle, and the calibration that its engine will be held to."""

    name: str
    bundle: Bundle
    calibration: Calibration

    @classmethod
    def open(cls, name: str, table: RecipeTable, engine: EngineTable, keys: Sequence[PublicKey]) -> Recipe:
        """Open and verify the bundle; any `keys` must have signed it. Raises BundleError, CalibrationError."""
        bundle = open_trusted(table.bundle, keys)
        return cls(name, bundle, choose_calibration(bundle, engine))


@dataclass(frozen=True)
class Product:
    """A recipe with an engine that passed the parity gate. Any number of cameras may use it at the same time.

    The `turnstile` lets as many frames to the engine as it has requests.
    `quiet` is what places of good parts have on its maps.
    `golden` are the calibration's golden parts, uint8 `(G, H, W, 3)`: the bundle on the disk may have been replaced.
    """

    recipe: Recipe
    engine: Engine
    judge: Judge
    turnstile: Turnstile
    guards: Guards | None
    drift: Plan
    golden: NDArray[np.uint8]
    quiet: float | None


class Shelf:
    """The engines of a station: one for each bundle, whatever number of recipes and cameras uses it.

    Use it as a context manager: leaving it closes all engines. They are opened and closed in a thread of its own.
    """

    # OpenVINO 2026.4 gives the thread that loads its CPU plugin a stack for signals (AMX makes their frames large), and
    # frees it with the last engine. Closed elsewhere, the next SIGTERM was a segmentation fault in the main thread.

    def __init__(self, table: EngineTable) -> None:
        self._table = table
        self._engines: dict[str, tuple[Engine, Turnstile, float | None]] = {}
        self._in_flight: dict[tuple[str, str], int] = {}
        self._thread = ThreadPoolExecutor(1, "engines")

    def __enter__(self) -> Shelf:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.submit(self._close_all).result()
        self._thread.shutdown()

    def take(self, recipe: Recipe) -> Product:
        """Open and prove the recipe's engine, or share the one that is open. Raises InspectError."""
        engine, turnstile, quiet = self._thread.submit(self._opened, recipe).result()
        guards = Guards.of(recipe.bundle, recipe.calibration)
        golden = recipe.bundle.golden_frames(recipe.calibration)
        plan = Plan.of(recipe.calibration)
        return Product(recipe, engine, judge_of(recipe), turnstile, guards, plan, golden, quiet)

    def keep(self, products: Iterable[Product]) -> None:
        """Close every engine but those of `products`, once its last frame is through; one that hangs stays open."""
        wanted = {product.recipe.bundle.digest for product in products}
        self._thread.submit(self._close_others, wanted).result()

    def _opened(self, recipe: Recipe) -> tuple[Engine, Turnstile, float | None]:
        if recipe.bundle.digest not in self._engines:
            engine, quiet = self._proved(recipe)
            # One request more than it works on side by side, so that none of its cores waits for Python.
            self._engines[recipe.bundle.digest] = engine, Turnstile(engine.in_flight + 1), quiet
        return self._engines[recipe.bundle.digest]

    def _close_all(self) -> None:
        for engine, _, _ in self._engines.values():
            engine.close()
        self._engines.clear()

    def _close_others(self, wanted: set[str]) -> None:
        for digest in self._engines.keys() - wanted:
            engine, turnstile, _ = self._engines[digest]
            if turnstile.wait_until_empty(_LAST_FRAMES_S):
                del self._engines[digest]
                engine.close()

    def _proved(self, recipe: Recipe) -> tuple[Engine, float | None]:
        """Open the engine and let it through the parity gate, so that the threshold is worth something."""
        began = time.monotonic()
        name = (recipe.calibration.backend, recipe.calibration.precision)
        in_flight, finding = self._chosen_in_flight(recipe.bundle, name)
        with ExitStack() as stack:
            engine = stack.enter_context(open_engine(recipe.bundle, *name, in_flight))
            engine.warmup()
            gate = check_parity(engine, recipe.bundle, recipe.calibration)
            if not gate.passed:
                raise CalibrationError(f"the parity gate keeps {recipe.bundle.path} disarmed: {gate.reason}")
            stack.pop_all()
        about = engine.description
        _log.info(
            "%s %s on %s for recipe %s, %s, passed the parity gate (%s); ready in %.1f s",
            *(about.backend, about.precision, about.device, recipe.name),
            *(finding, gate.reason, time.monotonic() - began),
        )
        return engine, gate.quiet

    def _chosen_in_flight(self, bundle: Bundle, name: tuple[str, str]) -> tuple[int, str]:
        if self._table.in_flight != "auto":
            return self._table.in_flight, f"{self._table.in_flight} in flight"
        if name in self._in_flight:
            # Measuring takes all cores for seconds, and other cameras may be running by now.
            return self._in_flight[name], f"{self._in_flight[name]} in flight, as measured before"
        self._in_flight[name], finding = best_in_flight(bundle, *name)
        return self._in_flight[name], finding


def judge_of(recipe: Recipe) -> Judge:
    """What decides on the recipe's parts: its calibration's thresholds, and its grades where they belong to them."""
    info, calibration = recipe.bundle.info, recipe.calibration
    scale = info.severity if fits(info.severity, calibration) else None
    return Judge(calibration.threshold, calibration.map_threshold, info.preprocessing, scale, calibration.review_above)


def open_recipes(config: StationConfig, names: Iterable[str]) -> dict[str, Recipe]:
    """Open the station's recipes of these names, each bundle once, as its tables `[engine]` and `[trust]` say.

    Raises BundleError, CalibrationError, and KeyFileError for a key that cannot be read.
    """
    keys = load_public_keys(config.trust.keys)
    found: dict[str, Recipe] = {}
    bundles: dict[Path, Recipe] = {}
    for name in dict.fromkeys(names):
        table = config.recipes[name]
        same = bundles.get(table.bundle)
        found[name] = (
            Recipe(name, same.bundle, same.calibration) if same else Recipe.open(name, table, config.engine, keys)
        )
        bundles[table.bundle] = found[name]
    return found


def choose_calibration(bundle: Bundle, table: EngineTable) -> Calibration:
    """Pick the latest calibration that the `[engine]` table admits. Raises CalibrationError with the remedy."""
    for calibration in reversed(bundle.info.calibrations):
        if table.backend in ("auto", calibration.backend) and table.precision in ("auto", calibration.precision):
            return calibration
    if (table.backend, table.precision) == ("auto", "auto"):
        return bundle.latest_calibration
    return bundle.calibration_for(table.backend, table.precision)
