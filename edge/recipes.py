"""Another product at run time: opened and proved while the old one judges, it takes over between two parts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol

from edge.config import StationConfig
from edge.product import Product, Recipe, Shelf, open_recipes
from edge.requests import Done, RecipeRequest, Reply
from engines.errors import InspectError

_log = logging.getLogger(__name__)
_TAKE_OVER_S = 10.0
_LOOK_S = 0.005


class RecipeError(InspectError):
    """A recipe that cannot be changed to. What judged before goes on."""


class Judging(Protocol):
    """A camera whose parts are judged by a product, which can be changed."""

    @property
    def disarmed(self) -> bool:
        """Whether it judges no part any more."""

    @property
    def product(self) -> Product:
        """What judges the next part."""

    def switch(self, product: Product) -> None:
        """Judge by this product from the next part on."""


class RecipeChanger:
    """Changes recipes one after the other, in a thread of its own. Use it as a context manager."""

    def __init__(
        self, config: Callable[[], StationConfig], shelf: Shelf, cameras: Callable[[], Mapping[str, Judging]]
    ) -> None:
        self._config = config
        self._shelf = shelf
        self._cameras = cameras
        self._worker = ThreadPoolExecutor(1, "recipes")

    def __enter__(self) -> RecipeChanger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.shutdown(cancel_futures=True)

    def change(self, request: RecipeRequest) -> Future[Reply]:
        """Begin to change; the reply is there when the new recipe judges, or when the old one goes on."""
        return self._worker.submit(self._change, request)

    def _change(self, request: RecipeRequest) -> Reply:
        name, cameras = self._recipe_of(request), self._cameras_of(request)
        before = {each: camera.product.recipe.name for each, camera in cameras.items()}
        try:
            recipe = open_recipes(self._config(), [name])[name]
            # By the bundle, and not by the name alone: somebody may have moved its threshold.
            if all(_is(camera.product.recipe, recipe) for camera in cameras.values()):
                return Done(message=f"recipe {name} judges {_named(cameras)} already")
            product = self._shelf.take(recipe)
            self._hand_over(cameras.values(), product)
        except InspectError as error:
            stays = ", ".join(f"{each} with {old}" for each, old in before.items())
            _log.warning("recipe %s is not changed to: %s", name, error)
            raise RecipeError(f"{error}; unchanged goes on {stays}") from None
        finally:
            self._shelf.keep([camera.product for camera in self._cameras().values()])
        _log.info("recipe %s judges %s", name, _named(cameras))
        return Done(message=f"recipe {name} judges {_named(cameras)}")

    def _hand_over(self, cameras: Iterable[Judging], product: Product) -> None:
        ordered = [(camera, camera.product) for camera in cameras]
        for camera, _ in ordered:
            camera.switch(product)
        deadline = time.monotonic() + _TAKE_OVER_S
        while not all(camera.product.recipe is product.recipe for camera, _ in ordered):
            if time.monotonic() > deadline:
                for camera, old in ordered:
                    camera.switch(old)
                raise RecipeError(f"not every camera took it up within {_TAKE_OVER_S:g} s")
            time.sleep(_LOOK_S)

    def _recipe_of(self, request: RecipeRequest) -> str:
        recipes = self._config().recipes
        if (request.recipe is None) == (request.job is None):
            raise RecipeError("expected either `recipe` or `job`")
        if request.recipe is not None and request.recipe not in recipes:
            raise RecipeError(f"there is no recipe {request.recipe!r}; choose from {', '.join(recipes)}")
        if request.recipe is not None:
            return request.recipe
        jobs = {table.job: name for name, table in recipes.items() if table.job is not None}
        if request.job not in jobs:
            raise RecipeError(f"no recipe has job {request.job}; there are {', '.join(map(str, jobs)) or 'none'}")
        return jobs[request.job]

    def _cameras_of(self, request: RecipeRequest) -> dict[str, Judging]:
        cameras = dict(self._cameras())
        if not cameras:
            raise RecipeError("the station is not armed yet")
        if request.camera is not None and request.camera not in cameras:
            raise RecipeError(f"there is no camera {request.camera!r}; choose from {', '.join(cameras)}")
        chosen = {name: each for name, each in cameras.items() if request.camera in (None, name)}
        judging = {name: each for name, each in chosen.items() if not each.disarmed}
        if not judging:
            raise RecipeError(f"{_named(chosen)} is disarmed; start the daemon again")
        return judging


def _is(one: Recipe, other: Recipe) -> bool:
    return (one.name, one.bundle.digest) == (other.name, other.bundle.digest)


def _named(cameras: Mapping[str, object]) -> str:
    return f"camera {', '.join(cameras)}"
