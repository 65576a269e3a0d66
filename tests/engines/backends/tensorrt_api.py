"""Which names each TensorRT has, recorded from NVIDIA's own Python bindings, and a library made of nothing but these.

`python tests/engines/backends/tensorrt_api.py MODULE` prints the table of a library that is installed. Those of 8.6.1,
10.3.0, 10.16.1 and 11.4.0 in `tensorrt_api.json` were read from the binding packages of these versions, linked against
empty stand-ins for the libraries, since `dir` calls nothing.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TABLES = Path(__file__).with_name("tensorrt_api.json")
CLASSES = (
    "Builder",
    "BuilderFlag",
    "ComputeCapability",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "ILayer",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProgressMonitor",
    "ITimingCache",
    "LayerType",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "Runtime",
    "TensorIOMode",
)
ENUMERATIONS = ("BuilderFlag", "ComputeCapability", "LayerType", "MemoryPoolType", "NetworkDefinitionCreationFlag")

Table = dict[str, dict[str, int | None]]


def read_table(library: Any) -> Table:
    """The public names of the library's classes; the members of enumerations with their numbers."""
    return {name: _names(name, getattr(library, name)) for name in CLASSES if hasattr(library, name)}


def _names(name: str, kind: Any) -> dict[str, int | None]:
    names = (entry for entry in dir(kind) if not entry.startswith("_") and entry not in ("name", "value"))
    return {entry: int(getattr(kind, entry)) if name in ENUMERATIONS else None for entry in names}


def recorded_versions() -> dict[str, Table]:
    """The recorded tables by version."""
    tables: dict[str, Table] = json.loads(TABLES.read_text())
    return tables


class RecordedLibrary:
    """Stands in for one version of TensorRT: has its names and no others, and notes what is called and set.

    `steps` are `(class, name, arguments)` in their order. Building gives `plan`. Timing caches made of the bytes in
    `refuses` are not taken, as those of another GPU.
    """

    plan = b"plan of a recorded library"

    def __init__(self, version: str) -> None:
        self.__version__ = version
        self.float32 = "float32"
        self.table = recorded_versions()[version]
        self.steps: list[tuple[str, str, tuple[Any, ...]]] = []
        self.layers: list[_Recorded] = []
        self.refuses: set[bytes] = set()

    def __getattr__(self, name: str) -> Any:
        if name not in self.table:
            raise AttributeError(f"TensorRT {self.__version__} has no {name}")
        if name in ENUMERATIONS:
            return SimpleNamespace(**self.table[name])
        if name == "ILogger":
            return _logger_class()
        if name == "IProgressMonitor":
            return type(name, (), {})
        return lambda *_: _Recorded(self, {"OnnxParser": "OnnxParser", "Builder": "Builder"}[name])

    def add_layer(self, kind: str, dtype: str) -> _Recorded:
        """A layer of the network that is going to be parsed."""
        layer = _Recorded(self, "ILayer", type=self.table["LayerType"][kind], dtype=dtype)
        self.layers.append(layer)
        return layer

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of that name, or the values set."""
        return [arguments for _, entry, arguments in self.steps if entry == name]


class _Recorded:
    """One object of a recorded library."""

    def __init__(self, library: RecordedLibrary, kind: str, **facts: Any) -> None:
        self.__dict__.update(_library=library, _kind=kind, _facts=facts)

    def __getattr__(self, name: str) -> Any:
        self._check(name)
        if name in self._facts:
            return self._facts[name]
        if name == "num_layers":
            return len(self._library.layers)
        return lambda *arguments: self._call(name, arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        self._check(name)
        self._library.steps.append((self._kind, name, (value,)))

    def _check(self, name: str) -> None:
        if name not in self._library.table[self._kind]:
            raise AttributeError(f"TensorRT {self._library.__version__}: {self._kind} has no {name}")

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        self._library.steps.append((self._kind, name, arguments))
        made = {
            "create_network": "INetworkDefinition",
            "create_builder_config": "IBuilderConfig",
            "create_optimization_profile": "IOptimizationProfile",
            "create_timing_cache": "ITimingCache",
        }
        if name in made:
            return _Recorded(self._library, made[name], made_of=arguments)
        if name == "set_timing_cache":
            return arguments[0].__dict__["_facts"]["made_of"][0] not in self._library.refuses
        results = {
            "parse": True,
            "build_serialized_network": self._library.plan,
            "serialize": b"timings",
            "get_output": SimpleNamespace(dtype=self._facts.get("dtype")),
        }
        return self._library.layers[arguments[0]] if name == "get_layer" else results.get(name)


def _logger_class() -> type:
    severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)
    return type("ILogger", (), {"Severity": severity})


if __name__ == "__main__":
    module = import_module(sys.argv[1])
    json.dump({module.__version__: read_table(module)}, sys.stdout, indent=1)
