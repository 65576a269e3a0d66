"""Built engines on disk, beside their bundle: `BUNDLE.engines/NAME/` holds `engine.plan`, `record.json`, `report.json`.

Not inside the bundle, which moves between machines and holds no file that its manifest does not list, whereas an
engine is of use on one kind of machine alone. The record names everything that could make the engine a wrong one (its
key) and the sha256 of its bytes. Both are checked before a library sees the first byte: TensorRT looks at a version in
the file's head and trusts the rest. The checksum finds damage, not malice. Whoever may write to this directory may
write a matching record, so it deserves the permissions that the program itself has.
"""

from __future__ import annotations

import hashlib
import platform
import secrets
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from engines import atomic
from engines.bundle import Bundle
from engines.errors import EngineError

SCHEMA = 1

_ENGINE = "engine.plan"
_TIMINGS = "timing.cache"
_RECORD = "record.json"
_REPORT = "report.json"


class EngineKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides whether an engine file is the right one here.

    `model` is the sha256 of the bundle's float32 network and `recipe` the version of the rules that make the
    half-precision one of it, so that a station can check an engine without deriving the network again. `target` is a
    GPU architecture such as `sm89`. `gpu`, `driver`, `cuda` and `l4t` are empty for TensorRT-RTX, whose engines are
    finished by the machine that runs them. `options` are the builder's settings.
    """

    backend: str
    version: str
    model: str
    recipe: int
    precision: str
    batch: int
    target: str
    gpu: str
    driver: str
    cuda: str
    l4t: str
    system: str
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """A directory's name for such an engine: a stale one is replaced by its successor, not kept beside it."""
        return f"{self.backend}-{self.target}-b{self.batch}"

    def difference(self, wanted: EngineKey) -> str:
        """What makes an engine of this key a wrong one where `wanted` is needed; empty where nothing does."""
        pairs = ((name, getattr(self, name), getattr(wanted, name)) for name in self.__struct_fields__)
        return "; ".join(
            f"{name} was {_brief(found)} and is {_brief(now)}" for name, found, now in pairs if found != now
        )


class BuiltEngine(msgspec.Struct, frozen=True):
    """A verified engine: its bytes, the key it was built under, its file and that of its build report."""

    data: bytes
    key: EngineKey
    path: Path
    report_path: Path


class EngineFileError(EngineError):
    """There is no engine, or one that must not be loaded; the message says which and what differs."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    key: EngineKey
    sha256: str
    created: str


def engines_folder(bundle: Bundle) -> Path:
    """Where the engines of a bundle are kept."""
    return bundle.path.with_name(f"{bundle.path.name}.engines")


def system_name() -> str:
    """Operating system and architecture, such as `Linux x86_64`."""
    return f"{platform.system()} {platform.machine()}"


def load_engine(bundle: Bundle, wanted: EngineKey) -> BuiltEngine:
    """Read and verify an engine. Raises EngineFileError that says what differs from what is `wanted`."""
    folder = engines_folder(bundle) / wanted.name
    return BuiltEngine(_load(folder, _ENGINE, wanted), wanted, folder / _ENGINE, folder / _REPORT)


def store_engine(bundle: Bundle, key: EngineKey, data: bytes, report: bytes) -> BuiltEngine:
    """Write an engine, its record and its report in one step, and read them back. Raises EngineError."""
    _store(engines_folder(bundle) / key.name, key, {_ENGINE: data, _REPORT: report})
    return load_engine(bundle, key)


def load_timings(bundle: Bundle, key: EngineKey) -> bytes:
    """The timing cache of an earlier build with this library on this machine; empty where there is none.

    It holds for every network and batch, so a bundle that was trained anew builds faster.
    """
    key = _timing_key(key)
    try:
        return _load(engines_folder(bundle) / _timing_name(key), _TIMINGS, key)
    except EngineFileError:
        return b""


def store_timings(bundle: Bundle, key: EngineKey, data: bytes) -> None:
    """Write the timing cache. Raises EngineError."""
    key = _timing_key(key)
    _store(engines_folder(bundle) / _timing_name(key), key, {_TIMINGS: data})


def check_writable(bundle: Bundle) -> None:
    """Find out before a build of minutes that its result could not be stored. Raises EngineError."""
    folder = engines_folder(bundle)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{secrets.token_hex(6)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(folder, error) from error


def _timing_key(key: EngineKey) -> EngineKey:
    return msgspec.structs.replace(key, model="", recipe=0, batch=0)


def _timing_name(key: EngineKey) -> str:
    return f"{key.backend}-{key.target}-timing"


def _load(folder: Path, name: str, wanted: EngineKey) -> bytes:
    try:
        atomic.recover(folder)
        with atomic.locked(folder.parent, shared=True):
            record = msgspec.json.decode((folder / _RECORD).read_bytes(), type=_Record)
            data = (folder / name).read_bytes()
    except FileNotFoundError:
        raise EngineFileError(f"there is no engine at {folder}") from None
    except (OSError, msgspec.DecodeError) as error:
        raise EngineFileError(f"{folder} cannot be read as an engine ({error})") from None
    if record.schema != SCHEMA:
        raise EngineFileError(f"{folder / _RECORD}: expected schema {SCHEMA}, found {record.schema}")
    if different := record.key.difference(wanted):
        raise EngineFileError(f"the engine at {folder} was built for something else: {different}")
    if (found := hashlib.sha256(data).hexdigest()) != record.sha256:
        raise EngineFileError(
            f"{folder / name} was altered or cut short: expected sha256 {record.sha256[:12]}..., found {found[:12]}... "
            f"over {len(data)} bytes"
        )
    return data


def _store(folder: Path, key: EngineKey, files: Mapping[str, bytes]) -> None:
    payload = next(iter(files.values()))
    record = _Record(SCHEMA, key, hashlib.sha256(payload).hexdigest(), _now())
    encoded = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    try:
        with atomic.replacing(folder) as fresh:
            for name, data in {**files, _RECORD: encoded}.items():
                atomic.write_durably(fresh / name, data)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> EngineError:
    return EngineError(
        f"no engine can be stored at {folder} ({error.strerror}); free some space, or run edge-inspect build once as a "
        "user who may write there"
    )


def _brief(value: object) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    text = str(value) or "none"
    return f"{text[:12]}..." if len(text) == 64 else text


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
