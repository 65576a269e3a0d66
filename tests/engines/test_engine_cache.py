"""A stored engine is loaded only where it is the right one and every byte is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engines.bundle import Bundle
from engines.engine_cache import (
    BuiltEngine,
    EngineFileError,
    EngineKey,
    check_writable,
    engines_folder,
    load_engine,
    load_timings,
    store_engine,
    store_timings,
)
from engines.errors import EngineError

KEY = EngineKey(
    backend="tensorrt",
    version="10.3.0",
    model="a" * 64,
    recipe=1,
    precision="f16",
    batch=1,
    target="sm87",
    gpu="Orin",
    driver="540.4.0",
    cuda="12.6",
    l4t="R36.4.3",
    system="Linux aarch64",
    options=("strongly-typed", "no-tf32"),
)
PLAN = bytes(range(256)) * 400


@pytest.fixture
def bundle(uncalibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]) -> Bundle:
    return bundle_copy(uncalibrated_bundle)


@pytest.fixture
def stored(bundle: Bundle) -> BuiltEngine:
    return store_engine(bundle, KEY, PLAN, b"{}")


def test_an_engine_comes_back(bundle: Bundle, stored: BuiltEngine) -> None:
    found = load_engine(bundle, KEY)
    assert (found.data, found.key) == (PLAN, KEY)
    assert found.path.read_bytes() == PLAN
    assert found.report_path.read_bytes() == b"{}"
    assert stored == found


def test_the_bundle_stays_valid_beside_its_engines(bundle: Bundle, stored: BuiltEngine) -> None:
    assert Bundle.open(bundle.path).digest == bundle.digest
    assert stored.path.parent.parent == bundle.path.parent / "bundle.engines"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("version", "10.16.1", "version was 10.3.0 and is 10.16.1"),
        ("model", "b" * 64, "model was aaaaaaaaaaaa... and is bbbbbbbbbbbb..."),
        ("recipe", 2, "recipe was 1 and is 2"),
        ("gpu", "NVIDIA GeForce RTX 4090", "gpu was Orin and is NVIDIA GeForce RTX 4090"),
        ("driver", "580.95.05", "driver was 540.4.0 and is 580.95.05"),
        ("cuda", "13.0", "cuda was 12.6 and is 13.0"),
        ("l4t", "", "l4t was R36.4.3 and is none"),
        ("system", "Linux x86_64", "system was Linux aarch64 and is Linux x86_64"),
        ("precision", "bf16", "precision was f16 and is bf16"),
        ("options", ("fp16-flag",), "options was strongly-typed+no-tf32 and is fp16-flag"),
    ],
)
def test_what_differs_is_said(bundle: Bundle, stored: BuiltEngine, field: str, value: object, said: str) -> None:
    with pytest.raises(EngineFileError) as refusal:
        load_engine(bundle, msgspec.structs.replace(KEY, **{field: value}))
    assert str(refusal.value) == f"the engine at {stored.path.parent} was built for something else: {said}"


def test_every_field_of_the_key_counts(bundle: Bundle, stored: BuiltEngine) -> None:
    for field in EngineKey.__struct_fields__:
        value = getattr(KEY, field)
        other = value + 1 if isinstance(value, int) else ("other",) if isinstance(value, tuple) else "other"
        with pytest.raises(EngineFileError):
            load_engine(bundle, msgspec.structs.replace(KEY, **{field: other}))


@pytest.mark.parametrize("change", [{"batch": 4}, {"target": "sm89"}, {"backend": "tensorrt-rtx"}])
def test_engines_that_serve_something_else_stand_beside_each_other(
    bundle: Bundle, stored: BuiltEngine, change: dict[str, object]
) -> None:
    other = msgspec.structs.replace(KEY, **change)
    store_engine(bundle, other, b"other", b"{}")
    assert load_engine(bundle, KEY).data == PLAN
    assert load_engine(bundle, other).data == b"other"


def test_a_successor_takes_the_place_of_a_stale_engine(bundle: Bundle, stored: BuiltEngine) -> None:
    newer = msgspec.structs.replace(KEY, version="10.16.1")
    store_engine(bundle, newer, b"newer", b"{}")
    assert load_engine(bundle, newer).data == b"newer"
    assert [entry.name for entry in engines_folder(bundle).iterdir()] == ["tensorrt-sm87-b1"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def extend(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize("harm", [cut, flip, extend, lambda path: path.write_bytes(b"")])
def test_a_harmed_engine_is_never_loaded(bundle: Bundle, stored: BuiltEngine, harm: Callable[[Path], None]) -> None:
    harm(stored.path)
    with pytest.raises(EngineFileError, match=r"engine\.plan was altered or cut short: expected sha256"):
        load_engine(bundle, KEY)


@pytest.mark.parametrize("harm", [cut, lambda path: path.write_bytes(b"[]"), lambda path: path.write_bytes(b"\xff")])
def test_a_harmed_record_is_never_believed(bundle: Bundle, stored: BuiltEngine, harm: Callable[[Path], None]) -> None:
    record = stored.path.with_name("record.json")
    record.write_bytes(record.read_bytes().rstrip())
    harm(record)
    with pytest.raises(EngineFileError, match="cannot be read as an engine"):
        load_engine(bundle, KEY)


def test_a_record_of_another_schema_is_refused(bundle: Bundle, stored: BuiltEngine) -> None:
    record = stored.path.with_name("record.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "schema": 2}))
    with pytest.raises(EngineFileError, match="expected schema 1, found 2"):
        load_engine(bundle, KEY)


@pytest.mark.parametrize("name", ["engine.plan", "record.json"])
def test_a_missing_file_is_no_engine(bundle: Bundle, stored: BuiltEngine, name: str) -> None:
    stored.path.with_name(name).unlink()
    with pytest.raises(EngineFileError, match="there is no engine at"):
        load_engine(bundle, KEY)


def test_a_foreign_engine_is_not_loaded(bundle: Bundle, stored: BuiltEngine) -> None:
    """One that was copied from another machine, record and all, under the name of the wanted one."""
    other = msgspec.structs.replace(KEY, gpu="NVIDIA Thor", target="sm110")
    foreign = store_engine(bundle, other, b"foreign", b"{}")
    for name in ("engine.plan", "record.json"):
        foreign.path.with_name(name).replace(stored.path.with_name(name))
    with pytest.raises(EngineFileError, match=r"target was sm110 and is sm87; gpu was NVIDIA Thor and is Orin"):
        load_engine(bundle, KEY)


def test_timings_outlive_another_model_and_batch_but_no_other_library(bundle: Bundle) -> None:
    assert load_timings(bundle, KEY) == b""
    store_timings(bundle, KEY, b"timings")
    assert load_timings(bundle, msgspec.structs.replace(KEY, model="b" * 64, batch=8, recipe=2)) == b"timings"
    assert load_timings(bundle, msgspec.structs.replace(KEY, version="10.16.1")) == b""
    assert load_timings(bundle, msgspec.structs.replace(KEY, driver="580.95.05")) == b""


def test_harmed_timings_count_as_none(bundle: Bundle) -> None:
    store_timings(bundle, KEY, b"timings")
    flip(engines_folder(bundle) / "tensorrt-sm87-timing" / "timing.cache")
    assert load_timings(bundle, KEY) == b""


def test_a_place_that_refuses_is_found_out_before_the_build(bundle: Bundle) -> None:
    check_writable(bundle)
    assert list(engines_folder(bundle).iterdir()) == []
    engines_folder(bundle).rmdir()
    engines_folder(bundle).write_text("a file in the way")
    with pytest.raises(EngineError, match=r"no engine can be stored at .*bundle\.engines"):
        check_writable(bundle)
    with pytest.raises(EngineError, match=r"no engine can be stored at .*run edge-inspect build once"):
        store_engine(bundle, KEY, PLAN, b"{}")
