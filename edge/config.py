"""The station file: typed, in TOML; every setting and every default is written down here and nowhere else.

`docs/configuration.md` is generated from these types.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from edge.archive.table import ArchiveTable
from edge.audit.table import AuditTable
from edge.cameras.tables import CameraTable
from edge.live.table import LiveTable
from edge.metrics.table import MetricsTable
from edge.plc.tables import PlcTable
from edge.table import Address, Count, Name, Seconds, Table
from edge.trust import TrustTable
from edge.web.table import WebTable
from engines.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class RecipeTable(Table, frozen=True, kw_only=True):
    """A product that the station knows: what judges its parts."""

    bundle: Annotated[Path, msgspec.Meta(description="Bundle that `edge-inspect train` wrote.")]
    job: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None,
        msgspec.Meta(description="Number by which a PLC names the recipe; no two recipes have the same."),
    ] = None


class EngineTable(Table, frozen=True, kw_only=True):
    """Which engine runs the network. The bundle must have been calibrated for it."""

    backend: Annotated[
        Literal["auto", "tensorrt", "tensorrt-rtx", "openvino", "onnxruntime"],
        msgspec.Meta(description="`auto`: the one that the bundle's latest calibration was measured on."),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "f32", "f16", "bf16", "int8"],
        msgspec.Meta(description="`auto`: the one that the bundle's latest calibration was measured on."),
    ] = "auto"
    in_flight: Annotated[
        Literal["auto"] | Annotated[int, msgspec.Meta(ge=1, le=1024)],
        msgspec.Meta(
            description="Frames that the engine works on side by side. More give more frames a second, and each "
            "verdict comes later: `1` has the lowest latency. `auto` measures at the start, which takes some seconds."
        ),
    ] = "auto"


class PublishTable(Table, frozen=True, kw_only=True):
    """Where verdicts go (ZeroMQ)."""

    bind: Annotated[
        Address,
        msgspec.Meta(description="Address that subscribers connect to, `tcp://INTERFACE:PORT` or `ipc://PATH`."),
    ] = "tcp://127.0.0.1:5555"
    heartbeat_s: Annotated[
        Seconds, msgspec.Meta(description="Interval of heartbeats. A subscriber calls three missing ones silence.")
    ] = 1.0
    wait_for_subscriber_s: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=3600,
            description="Take no part before the first subscriber is there, but wait no longer than this.",
        ),
    ] = 0.0
    high_water: Annotated[
        Count, msgspec.Meta(description="Messages kept for a slow subscriber; it loses those beyond, and sees the gap.")
    ] = 10_000
    replay: Annotated[
        Count, msgspec.Meta(description="Verdicts kept for readers who missed some and ask for them again.")
    ] = 2048


class ControlTable(Table, frozen=True, kw_only=True):
    """Where requests to the running daemon come in (ZeroMQ), as `edge-inspect control` sends them."""

    bind: Annotated[
        Address | None,
        msgspec.Meta(
            description="Address that requests come in at, `tcp://INTERFACE:PORT` or `ipc://PATH`. Whoever reaches it "
            "controls the station. Without it the daemon takes no requests."
        ),
    ] = None


class PipelineTable(Table, frozen=True, kw_only=True):
    """How much may wait between the workers of one camera, and how often a failed one is started again."""

    frames: Annotated[
        Count,
        msgspec.Meta(
            description="Frames that may wait for the engine where none may be lost. Folder, and video at full speed, "
            "wait for room; of a triggered camera a further part is an overrun: NotDecidable. A free-running "
            "camera keeps only the newest frame."
        ),
    ] = 4
    triggers: Annotated[
        Count,
        msgspec.Meta(
            description="Software triggers of one camera that may wait for their frames; a further one is an overrun: "
            "its part is NotDecidable."
        ),
    ] = 32
    trigger_timeout_s: Annotated[
        Seconds,
        msgspec.Meta(
            description="A frame that does not come within this time of its software trigger is missing: its part is "
            "NotDecidable."
        ),
    ] = 1.0
    late_s: Annotated[
        Seconds | None,
        msgspec.Meta(
            description="A part that has waited longer than this for the engine is late, and NotDecidable without "
            "being inspected: set it to the time in which a verdict can still act. Not set, none is late."
        ),
    ] = None
    verdicts: Annotated[Count, msgspec.Meta(description="Verdicts that may wait for the publisher.")] = 256
    restarts: Annotated[
        int, msgspec.Meta(ge=0, le=1000, description="Failed workers started again within `restart_window_s`.")
    ] = 3
    restart_window_s: Annotated[
        Seconds, msgspec.Meta(description="More failures than `restarts` within this time disarm the station.")
    ] = 60.0
    hang_s: Annotated[
        Seconds,
        msgspec.Meta(
            description="A worker that has not moved for so long hangs, in a driver or in the engine's library. Its "
            "camera is disarmed; one that hangs in a camera's driver is waited for."
        ),
    ] = 30.0
    drain_s: Annotated[
        Seconds, msgspec.Meta(description="Longest time to finish the parts already taken after SIGTERM.")
    ] = 30.0


class SecurityTable(Table, frozen=True, kw_only=True):
    """Who may connect over the network ([security](security.md)). Sockets of `ipc://` need no keys."""

    keys: Annotated[
        Path | None,
        msgspec.Meta(
            description="Folder that `edge-inspect keys` writes. With it every tcp socket is encrypted (CurveZMQ) and "
            "open to the clients of its list only."
        ),
    ] = None
    allow_plain: Annotated[
        bool,
        msgspec.Meta(
            description="Bind to addresses that other machines can reach without keys: whoever reaches them can read, "
            "and control the station. For a network that nobody else is in."
        ),
    ] = False


class StationConfig(Table, frozen=True, kw_only=True):
    """One station: its cameras, the recipes that judge what they see, and where the verdicts go."""

    station: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z0-9._-]{1,64}$(?!\n)",
            description="Name of the station in every message and topic: letters, digits, dot, dash, underscore.",
        ),
    ]
    recipes: Annotated[dict[Name, RecipeTable], msgspec.Meta(min_length=1)]
    cameras: Annotated[dict[Name, CameraTable], msgspec.Meta(min_length=1)]
    engine: EngineTable = EngineTable()
    publish: PublishTable = PublishTable()
    control: ControlTable = ControlTable()
    pipeline: PipelineTable = PipelineTable()
    trust: TrustTable = TrustTable()
    archive: ArchiveTable | None = None
    audit: AuditTable | None = None
    metrics: MetricsTable | None = None
    plc: PlcTable | None = None
    live: LiveTable = LiveTable()
    web: WebTable = WebTable()
    security: SecurityTable = SecurityTable()

    def recipe_of(self, camera: str) -> str:
        """Name of the recipe that a camera begins with."""
        return self.cameras[camera].recipe or next(iter(self.recipes))


def load_config(path: Path) -> StationConfig:
    """Read a station file. Relative paths in it are taken from its own folder.

    Raises ConfigError that names the file, the key and, for an unknown key, the nearest known one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"expected a station file at {path}, which cannot be read: {why}") from None
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not TOMLDecodeError alone: the parser leaves numbers of thousands of digits and deep brackets to Python.
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    return parse_config(data, path.parent, str(path))


def parse_config(data: Mapping[str, Any], folder: Path, name: str) -> StationConfig:
    """Check the tables of a station file that was read from `folder`; `name` is for the message."""
    problem = next(_unknown_keys(data, StationConfig, ""), None)
    if problem is not None:
        raise ConfigError(f"{name}: {problem}")

    def to_path(kind: type, value: object) -> Path:
        if kind is not Path or not isinstance(value, str):
            raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
        return folder / Path(value).expanduser()

    # First one by one: of a wrong value in a table with a free name msgspec would not tell which table it is in.
    for field, table in _named_tables().items():
        for each, value in _items(data.get(field)):
            _convert(value, table, to_path, f"{name}: ", f"{field}.{each}")
    config: StationConfig = _convert(data, StationConfig, to_path, f"{name}: ", "")
    problem = next(_contradictions(config), None)
    if problem is not None:
        raise ConfigError(f"{name}: {problem}")
    return config


def _convert(value: object, kind: Any, to_path: Callable[[type, object], Path], name: str, where: str) -> Any:
    try:
        return msgspec.convert(value, kind, dec_hook=to_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}{_readable(error, where)}") from None


def _contradictions(config: StationConfig) -> Iterator[str]:
    known = ", ".join(config.recipes)
    for name, camera in config.cameras.items():
        if camera.recipe is None and len(config.recipes) > 1:
            yield f"`cameras.{name}`: the table lacks the key `recipe`; choose from {known}"
        if camera.recipe is not None and camera.recipe not in config.recipes:
            yield f"`cameras.{name}.recipe`: there is no recipe {camera.recipe!r}; choose from {known}"
    if config.plc is not None:
        yield from config.plc.contradictions(config.cameras, config.control.bind is not None)
    yield from config.live.contradictions()
    yield from config.web.contradictions()
    jobs: dict[int, str] = {}
    for name, recipe in config.recipes.items():
        if recipe.job is not None and jobs.setdefault(recipe.job, name) != name:
            yield f"`recipes.{name}.job`: {recipe.job} is the job of {jobs[recipe.job]!r} already; choose another"


def known_keys(table: type[msgspec.Struct]) -> list[str]:
    """Keys of one table, in the order of the documentation; `kind` first where the table has kinds."""
    config = table.__struct_config__
    kind = [str(config.tag_field)] if config.tag_field else []
    return kind + list(table.__struct_fields__)


def tables_of(annotation: object) -> tuple[type[msgspec.Struct], ...]:
    """The struct types that an annotation admits; none for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return (annotation,)
    return (
        tuple(table for choice in get_args(annotation) for table in tables_of(choice)) if get_origin(annotation) else ()
    )


def is_named(annotation: object) -> bool:
    """Whether a key holds tables under names that the user gives, as `[cameras.NAME]` does."""
    return get_origin(_bare(annotation)) is dict


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _named_tables() -> dict[str, Any]:
    hints = get_type_hints(StationConfig)
    return {field: get_args(hint)[1] for field, hint in hints.items() if is_named(hint)}


def _items(value: object) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _unknown_keys(data: Mapping[str, Any], table: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    # msgspec names an unknown key too, but not what it should have been.
    known = known_keys(table)
    for key in data:
        if key not in known:
            yield f"unknown key `{prefix}{key}`; {_suggestion(key, known)}"
    hints = get_type_hints(table)
    for key, value in data.items():
        hint = hints.get(key)
        inner = [(f"{key}.{name}", each) for name, each in _items(value)] if is_named(hint) else [(key, value)]
        for place, each in inner:
            chosen = _chosen(tables_of(hint), each) if isinstance(each, Mapping) else None
            if chosen is not None:
                yield from _unknown_keys(each, chosen, f"{prefix}{place}.")


def _chosen(choices: tuple[type[msgspec.Struct], ...], data: Mapping[str, Any]) -> type[msgspec.Struct] | None:
    if len(choices) == 1:
        return choices[0]
    return next((table for table in choices if table.__struct_config__.tag == data.get("kind")), None)


def _suggestion(key: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"did you mean `{nearest[0]}`?" if nearest else f"known here: {', '.join(known)}"


def _readable(error: msgspec.ValidationError, within: str) -> str:
    # "Expected `int`, got `str` - at `$.pipeline.frames`" -> "`pipeline.frames`: expected `int`, got `str`"
    message, _, place = str(error).partition(" - at ")
    where = ".".join(part for part in (within, place.strip("`").removeprefix("$").removeprefix(".")) if part)
    message = message[:1].lower() + message[1:]
    message = message.replace("object missing required field", "the table lacks the key").replace("object", "table")
    choices = _choices(where)
    return (f"`{where}`: " if where else "") + message + (f"; choose from {', '.join(choices)}" if choices else "")


def _choices(where: str) -> list[str]:
    # The values that the key at a dotted path admits, where they are a closed set.
    tables: tuple[type[msgspec.Struct], ...] = (StationConfig,)
    *parents, key = where.split(".")
    if parents and parents[0] in _named_tables():
        del parents[1:2]
    for parent in parents:
        tables = tuple(inner for table in tables for inner in tables_of(get_type_hints(table).get(parent)))
    if key == "kind":
        return [str(table.__struct_config__.tag) for table in tables]
    hints = [get_type_hints(table).get(key) for table in tables]
    return [str(value) for hint in hints if get_origin(hint) is Literal for value in get_args(hint)]
