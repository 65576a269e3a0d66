"""Writes `docs/configuration.md` from the types: `python -m edge.config_reference > docs/configuration.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from edge.config import StationConfig, is_named, tables_of

_INTRODUCTION = """# The station file

One TOML file describes one station; `edge-inspect run --config FILE` reads it. An unknown key is refused, with the
nearest known one named. Relative paths are taken from the file's own folder. `docs/station.example.toml` is an
example with every default.

NAME is yours: letters, digits, dash and underscore; it stands in every verdict. This page is generated from
`edge/config.py` (`python -m edge.config_reference > docs/configuration.md`); a test holds
the two together.
"""


def reference() -> str:
    """The whole page, in Markdown."""
    sections = [_section("Top level", "", StationConfig)]
    for field in msgspec.structs.fields(StationConfig):
        name = f"{field.name}.NAME" if is_named(field.type) else field.name
        for table in tables_of(field.type):
            sections += [_section(_title(name, table), name, table), *_inner_sections(name, table)]
    return "\n".join([_INTRODUCTION, *sections])


def _inner_sections(name: str, table: type[msgspec.Struct]) -> Iterator[str]:
    for field in msgspec.structs.fields(table):
        for inner in tables_of(field.type):
            within = f"{name}.{field.name}"
            yield _section(_title(within, inner), within, inner)


def _title(name: str, table: type[msgspec.Struct]) -> str:
    tag = table.__struct_config__.tag
    return f'[{name}] kind = "{tag}"' if tag else f"[{name}]"


def _section(title: str, name: str, table: type[msgspec.Struct]) -> str:
    fields = sorted(msgspec.structs.fields(table), key=lambda field: not field.required)
    rows = [_row(field, table) for field in fields if not tables_of(field.type)]
    heading = f"## `{title}`" if name else f"## {title}"
    return "\n".join(
        [
            heading,
            "",
            " ".join((table.__doc__ or "").split()),
            "",
            "| key | type | default | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _row(field: msgspec.structs.FieldInfo, table: type[msgspec.Struct]) -> str:
    annotation = get_type_hints(table, include_extras=True)[field.name]
    description = next((meta.description for meta in _metas(annotation) if meta.description), "")
    default = "required" if field.required else _literal(field.default)
    return f"| `{field.name}` | {_kind(annotation)} | {default} | {description} |"


def _metas(annotation: Any) -> Iterator[msgspec.Meta]:
    # The outermost first: a shared type such as Seconds carries limits, the field around it the description.
    if get_origin(annotation) is Annotated:
        yield from (meta for meta in reversed(annotation.__metadata__) if isinstance(meta, msgspec.Meta))
    if get_origin(annotation) is not Literal:
        for inner in get_args(annotation):
            yield from _metas(inner)


def _kind(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0]) + _limits(annotation)
    if origin is Literal:
        return " \\| ".join(f'`"{choice}"`' for choice in get_args(annotation))
    if origin is tuple:
        inner = get_args(annotation)
        return f"list of {_kind(inner[0])}" if inner[-1] is Ellipsis else f"{len(inner)} {_kind(inner[0])}s"
    if origin in (Union, UnionType):
        return " or ".join(_kind(choice) for choice in get_args(annotation) if choice is not NoneType)
    if origin is tuple:
        return f"list of: {_kind(get_args(annotation)[0])}"
    return {bool: "true or false", float: "number", int: "whole number", str: "text", Path: "path"}[annotation]


def _limits(annotation: Any) -> str:
    words = {"gt": "above", "ge": "at least", "le": "at most"}
    metas = (meta for meta in annotation.__metadata__ if isinstance(meta, msgspec.Meta))
    bounds = ((word, getattr(meta, key)) for meta in metas for key, word in words.items())
    limits = [f"{word} {bound}" for word, bound in bounds if bound is not None]
    return f" ({', '.join(limits)})" if limits else ""


def _literal(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
