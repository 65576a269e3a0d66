"""JSON Schema of every message, for readers in other languages: generated from the types, installed with the package.

`python -m edge.schema` writes it anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from edge import requests, verdict
from edge.plc.heartbeat import GatewayHeartbeat

FOLDER = Path(str(files("edge").joinpath("schemas")))
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_MESSAGES: Mapping[str, tuple[str, Any]] = {
    "published": ("What a station publishes", verdict.Verdict | verdict.Heartbeat),
    "gateway": ("What a gateway publishes", GatewayHeartbeat),
    "request": ("What a station can be asked", requests.AnyRequest),
    "reply": ("What a station answers", requests.AnyReply),
}


def schemas() -> dict[str, str]:
    """File name to JSON Schema (draft 2020-12), one for each direction of talk."""
    return {f"{name}.schema.json": _text(title, kinds) for name, (title, kinds) in _MESSAGES.items()}


def _text(title: str, kinds: object) -> str:
    schema = {"$schema": _DRAFT, "title": title, **_unwrapped(msgspec.json.schema(kinds))}
    return json.dumps(schema, indent=2) + "\n"


def _unwrapped(value: Any) -> Any:
    """Descriptions in one line each, whatever the width of our sources."""
    if isinstance(value, Mapping):
        return {
            key: re.sub(r"\s+", " ", inner) if key == "description" and isinstance(inner, str) else _unwrapped(inner)
            for key, inner in value.items()
        }
    return [_unwrapped(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    for name, text in schemas().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
