"""Built engines on disk, beside their bundle: `BUNDLE.engines/NAME/` holds `engine`, `record.json` and `report.json`.

Not inside the bundle, which moves between machines and holds no file that its manifest does not list, whereas an
engine is of use on one kind of machine alone. The record names everything that could make the engine a wrong one (its
key) and the sha256 of its bytes; both are checked before a library sees the first byte, because deserialising does not
check them: TensorRT crashes on some truncated files. The checksum finds damage, not malice: who may write to this
directory may write a matching record, so it deserves the same permissions as the program.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from engines import atomic
from engines.bundle import Bundle
from engines.errors import EngineError

SCHEMA = 1

_ENGINE = "engine"
_RECORD = "record.json"
REPORT = "report.json"


class EngineKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides whether an engine file is the right one here.

    `model` is the sha256 of the bundle's float32 network and `recipe` the version of the rules that make the
    half-precision one of it, so that a station can check an engine without deriving the network again. `targets` are
    GPU architectures such as `sm89`. `gpu`, `driver`, `cuda` and `l4t` are empty for TensorRT-RTX, whose engines hold
    no compiled kernels and are finished on the machine that runs them. `options` are the builder's settings.
    """

    backend: str
    version: str
    model: str
    recipe: int
    precision: str
    batch: int
    targets: tuple[str, ...]
    gpu: str
    driver: str
    cuda: str
    l4t: str
    system: str
    options: tuple[str, ...]

    @property
    def digest(self) -> str:
        """sha256 of the key."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()

    def difference(self, wanted: EngineKey) -> str:
        """What makes an engine of this key a wrong one where `wanted` is needed; empty where nothing does.

        An engine for more architectures than wanted is a right one.
        """
        spare = set(self.targets) >= set(wanted.targets)
        names = [name for name in self.__struct_fields__ if not (spare and name == "targets")]
        pairs = ((name, getattr(self, name), getattr(wanted, name)) for name in names)
        return "; ".join(
            f"{name} was {_brief(found)}, is {_brief(now)}" for name, found, now in pairs if found != now
        )


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    key: EngineKey
    sha256: str
    created: str


class StoredEngine(msgspec.Struct, frozen=True):
    """A verified engine: its bytes, the key it was built under, and where its build report is."""

    data: bytes
    key: EngineKey
    report_path: Path


class UnusableEngine(EngineError):
    """There is no engine, or one that must not be loaded; the message says which and what differs."""


def engine_folder(bundle: Bundle, name: str) -> Path:
    """Where the engine of that name is kept, beside the bundle."""
    return bundle.path.with_name(f"{bundle.path.name}.engines") / name


def system_name() -> str:
    """Operating system and architecture, such as `Linux x86_64`."""
    return f"{platform.system()} {platform.machine()}"


def load_engine(folder: Path, wanted: EngineKey) -> StoredEngine:
    """Read and verify an engine. Raises UnusableEngine that says what differs from what is `wanted`."""
    try:
        atomic.recover(folder)
        record = msgspec.json.decode((folder / _RECORD).read_bytes(), type=_Record)
        data = (folder / _ENGINE).read_bytes()
    except FileNotFoundError:
        raise UnusableEngine(f"there is no engine at {folder}") from None
    except (OSError, msgspec.DecodeError) as error:
        raise UnusableEngine(f"{folder} cannot be read as an engine ({error})") from None
    if record.schema != SCHEMA:
        raise UnusableEngine(f"{folder / _RECORD}: expected schema {SCHEMA}, found {record.schema}")
    if different := record.key.difference(wanted):
        raise UnusableEngine(f"{folder} was built for something else: {different}")
    if (found := hashlib.sha256(data).hexdigest()) != record.sha256:
        raise UnusableEngine(
            f"{folder / _ENGINE} was altered or cut short: expected sha256 {record.sha256[:12]}..., found "
            f"{found[:12]}... over {len(data)} bytes"
        )
    return StoredEngine(data, record.key, folder / REPORT)


def store_engine(folder: Path, key: EngineKey, data: bytes, report: bytes) -> StoredEngine:
    """Write an engine, its record and its report in one step, and read them back. Raises EngineError."""
    record = _Record(SCHEMA, key, hashlib.sha256(data).hexdigest(), _now())
    encoded = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    _write(folder, {_ENGINE: data, _RECORD: encoded, REPORT: report})
    return load_engine(folder, key)


def check_writable(folder: Path) -> None:
    """Find out before a build of minutes that its result could not be stored. Raises EngineError."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(folder.with_name(".probe")):
            pass
        folder.with_name(".probe").rmdir()
    except OSError as error:
        raise _unwritable(folder, error) from error


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        with atomic.replacing(folder) as fresh:
            for name, data in files.items():
                atomic.write_durably(fresh / name, data)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> EngineError:
    return EngineError(
        f"the engine cannot be stored at {folder} ({error.strerror}); free some space, or build it once as a user who "
        "may write there"
    )


def _brief(value: object) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    text = str(value) or "none"
    return f"{text[:12]}..." if len(text) == 64 else text


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
