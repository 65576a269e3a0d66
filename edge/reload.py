"""The station file read again while the daemon runs: what can change safely changes, the rest is named."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, TracebackType

import msgspec

from edge.config import StationConfig
from edge.requests import Done, ReloadRequest

_log = logging.getLogger(__name__)


class Reloader:
    """Holds the configuration that is in force. `read` reads the station file, and raises ConfigError.

    Recipes change: they are opened when they are next changed to. Everything else is bound to sockets, threads, cameras
    and engines that are there already.
    """

    def __init__(self, config: StationConfig, read: Callable[[], StationConfig]) -> None:
        self.config = config
        self._read = read

    def answer(self, request: ReloadRequest) -> Done:
        """Answer a request. Raises ConfigError where the file is wrong; then nothing has changed."""
        return Done(message=self.reload())

    def reload(self) -> str:
        """Read the file again and say what has changed. Raises ConfigError where it is wrong; nothing has changed."""
        new = self._read()
        old, self.config = self.config, msgspec.structs.replace(self.config, recipes=new.recipes)
        recipes = [f"recipes.{name}" for name in _different(old.recipes, new.recipes)]
        rest = list(_needing_restart(old, new))
        said = [f"changed: {', '.join(recipes)}, from the next change of recipe on"] if recipes else []
        said += [f"needs a restart: {', '.join(rest)}"] if rest else []
        message = "; ".join(said) or "nothing has changed"
        _log.info("station file read again: %s", message)
        return message


class HangUp:
    """SIGHUP while it is entered sets `made`; whoever acts on it takes it back."""

    def __init__(self) -> None:
        self.made = False
        self._previous: object = None

    def __enter__(self) -> HangUp:
        self._previous = signal.signal(signal.SIGHUP, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGHUP, self._previous)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.made = True


def _needing_restart(old: StationConfig, new: StationConfig) -> Iterator[str]:
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if name == "recipes" or before == after:
            continue
        if name == "cameras":
            yield from (f"cameras.{camera}" for camera in _different(before, after))
        else:
            yield name


def _different(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    return [name for name in {**old, **new} if old.get(name) != new.get(name)]
