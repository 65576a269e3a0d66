"""The bundle: whole or refused, replaced in one step or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.bundle import (
    SCHEMA,
    BackboneInfo,
    Bundle,
    BundleInfo,
    Calibration,
    GoldenPart,
    Provenance,
    Quantisation,
    update_bundle,
    write_bundle,
)
from engines.errors import BundleError, CalibrationError, PrecisionError
from engines.head import Head
from engines.preprocess import Preprocessing

FILES = ["bundle.json", "model.onnx", "head.safetensors", "golden/a.png", "MANIFEST.json"]
PRODUCT = "product"

# Kills itself at the n-th touch of the file system since it holds the writer's lock, for n = 1, 2, ... until the work
# gets done. Prints after each kill what the bundle is then, and at last what is left beside it.
KILLED = """
import fcntl, os, shutil, signal, sys
from pathlib import Path
import msgspec
from engines import atomic
from engines.bundle import Bundle, update_bundle, write_bundle

template, place, action, exchange = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "exchange"
if not exchange:
    atomic._exchange = lambda one, other: False
source = Bundle.open(template)
head, new = source.load_head(), msgspec.structs.replace(source.info, product="new")
WATCHED = ("open", "os.", "shutil.", "fcntl.", "ctypes.")

def work():
    if action == "update":
        update_bundle(Bundle.open(place), new, networks={"f32": b"new network"})
    else:
        write_bundle(place, msgspec.structs.replace(new, calibrations=()), b"new network", head)

def run_until(moment):
    seen, writing = 0, False
    def count(event, arguments):
        nonlocal seen, writing
        writing = writing or (event == "fcntl.flock" and arguments[1] == fcntl.LOCK_EX)
        if writing and event.startswith(WATCHED):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    work()
    os._exit(0)

moment, killed = 0, True
while killed:
    moment += 1
    for path in place.parent.iterdir():
        shutil.rmtree(path)
    if action != "create":
        shutil.copytree(template, place)
    child = os.fork()
    if not child:
        run_until(moment)
    killed = os.waitpid(child, 0)[1] == signal.SIGKILL
    try:
        bundle = Bundle.open(place)
        print(bundle.info.product, bundle.read_network() == b"new network")
    except Exception as error:
        print(type(error).__name__, len(list(place.parent.glob("[!.]*"))))
    if killed and moment % 5 == 0:
        work()
        print("again", [path.name for path in place.parent.iterdir()])
print("left", [path.name for path in place.parent.iterdir()])
"""

CHURN = """
import sys
import msgspec
from engines import atomic
from engines.bundle import Bundle, update_bundle
if sys.argv[2] != "exchange":
    atomic._exchange = lambda one, other: False
bundle = Bundle.open(sys.argv[1])
for number in range(25):
    bundle = update_bundle(bundle, msgspec.structs.replace(bundle.info, product=f"product {number}"))
"""


def info(**changes: object) -> BundleInfo:
    provenance = Provenance(
        "d" * 64, 20, ("good/7.png",), 0, {"epochs": 160, "rate": 1e-4}, {"torch": "2"}, "2026-01-01"
    )
    backbone = BackboneInfo("resnet18", "0" * 64, "resnet18.pth")
    plain = BundleInfo(SCHEMA, PRODUCT, Preprocessing(field="full", resize=64), backbone, provenance)
    return msgspec.structs.replace(plain, **changes)


def calibration(backend: str = "openvino", precision: str = "bf16", *golden: str) -> Calibration:
    return Calibration(
        backend=backend,
        device="CPU",
        precision=precision,
        versions={backend: "1"},
        false_reject_rate=0.01,
        threshold=0.5,
        map_threshold=0.4,
        parts=120,
        certified_rate=0.02,
        guarantee="on average",
        golden=tuple(GoldenPart(name, 0.25) for name in golden),
        golden_tolerance=0.01,
        parity=(),
        created="2026-01-01T00:00:00Z",
    )


def frame(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)


def reseal(folder: Path, schema: int = SCHEMA) -> None:
    """Write a manifest that fits whatever the directory holds."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "MANIFEST.json"]
    digests = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    write_manifest(folder, {"schema": schema, "files": dict(sorted(digests.items()))})


def write_manifest(folder: Path, manifest: dict) -> None:
    (folder / "MANIFEST.json").write_text(json.dumps(manifest, indent=2) + "\n")


def edit_info(folder: Path, **changes: object) -> None:
    """Change keys of bundle.json and make the manifest fit again."""
    values = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**values, **changes}))
    reseal(folder)


@pytest.fixture(scope="module")
def head(make_head: Callable[..., Head]) -> Head:
    return make_head(6, hidden=4)


@pytest.fixture
def bundle(tmp_path: Path, head: Head) -> Bundle:
    """A calibrated bundle with one golden part, alone in its parent directory."""
    fresh = write_bundle(tmp_path / "line" / "bundle", info(), b"network", head)
    return update_bundle(fresh, info(calibrations=(calibration("openvino", "bf16", "a.png"),)), {"a.png": frame(1)})


def test_what_is_written_is_read(bundle: Bundle, head: Head) -> None:
    opened = Bundle.open(str(bundle.path))
    assert opened == bundle
    assert opened.info.provenance == info().provenance
    assert opened.read_network() == opened.model_path.read_bytes() == b"network"
    assert opened.digest == hashlib.sha256((bundle.path / "MANIFEST.json").read_bytes()).hexdigest()
    np.testing.assert_array_equal(opened.load_head().adaptor, head.adaptor)
    assert sorted(opened.files) == sorted(set(FILES) - {"MANIFEST.json"})


def test_golden_frames_keep_every_pixel_and_the_order(bundle: Bundle) -> None:
    both = calibration("openvino", "bf16", "b.png", "a.png")
    bundle = update_bundle(bundle, info(calibrations=(both,)), {"b.png": frame(2)})
    np.testing.assert_array_equal(bundle.golden_frames(both), np.stack([frame(2), frame(1)]))
    assert bundle.golden_frames(calibration()).shape == (0, 64, 64, 3)


def test_golden_frames_that_no_calibration_uses_go(bundle: Bundle) -> None:
    other = calibration("onnxruntime", "f32", "b.png")
    bundle = update_bundle(bundle, info(calibrations=(other,)), {"b.png": frame(2), "c.png": frame(3)})
    assert [name for name in bundle.files if name.startswith("golden")] == ["golden/b.png"]
    bundle = update_bundle(bundle, info())
    assert not (bundle.path / "golden").exists()


def quantisation() -> Quantisation:
    return Quantisation("openvino", 64, ("layer1.0",), 0.99, 0.989, 40, 30, False, 0, {"nncf": "3"}, "2026-01-01")


def test_int8_has_a_network_of_its_own_that_stays_and_goes_with_its_record(bundle: Bundle) -> None:
    quantised = update_bundle(bundle, info(quantisation=quantisation()), networks={"int8": b"integers"})
    assert quantised.read_network("int8") == b"integers"
    assert quantised.read_network("bf16") == quantised.read_network() == b"network"
    renamed = update_bundle(quantised, msgspec.structs.replace(quantised.info, product="other"))
    assert renamed.read_network("int8") == b"integers"
    gone = update_bundle(renamed, msgspec.structs.replace(renamed.info, quantisation=None))
    assert "model-int8.onnx" not in gone.files
    with pytest.raises(PrecisionError, match="holds no int8 network; run: edge-inspect quantise"):
        gone.read_network("int8")


def test_an_altered_int8_network_is_named(bundle: Bundle, head: Head) -> None:
    quantised = update_bundle(bundle, info(quantisation=quantisation()), networks={"int8": b"integers"})
    (quantised.path / "model-int8.onnx").write_bytes(b"integerz")
    with pytest.raises(BundleError, match=r"model-int8\.onnx was altered"):
        Bundle.open(bundle.path)
    assert "model-int8.onnx" not in write_bundle(bundle.path, info(), b"network", head).files


def test_an_update_keeps_head_and_network(bundle: Bundle, head: Head) -> None:
    renamed = update_bundle(bundle, msgspec.structs.replace(bundle.info, product="other"))
    assert (renamed.info.product, renamed.read_network()) == ("other", b"network")
    assert renamed.files["head.safetensors"] == bundle.files["head.safetensors"]
    assert renamed.digest != bundle.digest


def test_calibrations_are_found_by_engine(bundle: Bundle) -> None:
    first, second = calibration("openvino", "bf16", "a.png"), calibration("onnxruntime", "f32")
    bundle = update_bundle(bundle, info(calibrations=(first, second)))
    assert bundle.calibration_for("openvino", "bf16") == first
    assert bundle.latest_calibration == second
    with pytest.raises(CalibrationError, match=r"for openvino bf16, onnxruntime f32, not for openvino f32.*run: "):
        bundle.calibration_for("openvino", "f32")


def test_an_uncalibrated_bundle_says_what_to_run(tmp_path: Path, head: Head) -> None:
    bundle = write_bundle(tmp_path / "b", info(), b"network", head)
    for ask in (lambda: bundle.latest_calibration, lambda: bundle.calibration_for("openvino", "f32")):
        with pytest.raises(CalibrationError, match=f"run: edge-inspect calibrate --bundle {bundle.path} --good DIR"):
            ask()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_byte_changed_is_refused(bundle: Bundle, name: str, place: str) -> None:
    data = bytearray((bundle.path / name).read_bytes())
    data[{"first": 0, "middle": len(data) // 2, "last": -1}[place]] ^= 4
    (bundle.path / name).write_bytes(data)
    with pytest.raises(BundleError, match=r"was altered|MANIFEST\.json: |is missing"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(bundle: Bundle, name: str) -> None:
    (bundle.path / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing.*copy the bundle again"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(bundle: Bundle, name: str) -> None:
    os.truncate(bundle.path / name, (bundle.path / name).stat().st_size // 2)
    with pytest.raises(BundleError, match=name):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("name", ["notes.txt", "golden/b.png", "golden/notes.txt", ".hidden"])
def test_a_foreign_file_is_named(bundle: Bundle, name: str) -> None:
    (bundle.path / name).write_text("mine")
    with pytest.raises(BundleError, match=f"{name} does not belong to the bundle"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("name", ["extra", "golden/deep"])
def test_a_foreign_directory_is_refused(bundle: Bundle, name: str) -> None:
    (bundle.path / name).mkdir()
    with pytest.raises(BundleError, match=f"{Path(name).name} is neither a file nor"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("name", ["model.onnx", "golden/a.png", "golden", "MANIFEST.json", "bundle.json"])
def test_symbolic_links_inside_are_refused(bundle: Bundle, name: str) -> None:
    path, outside = bundle.path / name, bundle.path.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(BundleError, match=f"{path.name} is a symbolic link"):
        Bundle.open(bundle.path)


def test_a_fifo_is_refused_and_not_read(bundle: Bundle) -> None:
    bundle.model_path.unlink()
    os.mkfifo(bundle.model_path)
    with pytest.raises(BundleError, match=r"model\.onnx is neither a file"):
        Bundle.open(bundle.path)


def test_the_bundle_itself_may_be_a_link(bundle: Bundle, head: Head) -> None:
    link = bundle.path.parent / "current"
    link.symlink_to(bundle.path.name)
    assert Bundle.open(link) == bundle
    write_bundle(link, info(product="other"), b"network", head)
    assert link.is_symlink()
    assert Bundle.open(bundle.path).info.product == "other"


@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/hostname", "golden/../../outside.png", "golden/./a.png", "golden//a.png", "golden/.png"],
)
def test_names_that_lead_elsewhere_are_refused(bundle: Bundle, name: str) -> None:
    manifest = json.loads((bundle.path / "MANIFEST.json").read_text())
    manifest["files"][name] = manifest["files"]["golden/a.png"]
    write_manifest(bundle.path, manifest)
    with pytest.raises(BundleError, match="which is no file of a bundle"):
        Bundle.open(bundle.path)


def test_golden_names_that_lead_elsewhere_are_not_written(bundle: Bundle) -> None:
    climbing = info(calibrations=(calibration("openvino", "bf16", "../../outside.png"),))
    with pytest.raises(BundleError, match="which is no file of a bundle"):
        update_bundle(bundle, climbing, {"../../outside.png": frame(1)})
    assert [path.name for path in bundle.path.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("name", ["MANIFEST.json", "bundle.json"])
def test_a_newer_schema_is_refused(bundle: Bundle, name: str) -> None:
    if name == "bundle.json":
        edit_info(bundle.path, schema=SCHEMA + 1, unheard_of=True)
    else:
        reseal(bundle.path, SCHEMA + 1)
    with pytest.raises(BundleError, match=f"{name}: expected schema 2, found 3.*update this installation"):
        Bundle.open(bundle.path)


def test_a_schema_that_never_was_is_refused(bundle: Bundle) -> None:
    reseal(bundle.path, 0)
    with pytest.raises(BundleError, match="found 0, which never was"):
        Bundle.open(bundle.path)


def as_schema_1(folder: Path) -> None:
    """Turn the bundle into what version 1 wrote: without the fields that schema 2 has added."""
    path = folder / "bundle.json"
    said = json.loads(path.read_text())
    new = ("method", "confidence", "lots", "interval", "scores", "review_above")
    said["schema"] = 1
    said["calibrations"] = [{k: v for k, v in entry.items() if k not in new} for entry in said["calibrations"]]
    path.write_text(json.dumps(said, indent=2) + "\n")
    reseal(folder, 1)


def test_a_bundle_of_schema_1_opens_and_is_brought_up_by_the_next_change(bundle: Bundle) -> None:
    as_schema_1(bundle.path)
    old = Bundle.open(bundle.path)
    assert old.info.schema == 1
    assert (old.latest_calibration.method, old.latest_calibration.scores) == ("conformal", ())
    new = update_bundle(old, msgspec.structs.replace(old.info, product="renamed"))
    assert new.info == msgspec.structs.replace(old.info, product="renamed", schema=SCHEMA)
    assert json.loads((bundle.path / "MANIFEST.json").read_text())["schema"] == SCHEMA


@pytest.mark.parametrize(("before", "after"), [("\n", " "), ('"schema": 2', '"schema":  2'), ("{", "{ ")])
def test_a_manifest_that_says_the_same_in_other_bytes_is_refused(bundle: Bundle, before: str, after: str) -> None:
    text = (bundle.path / "MANIFEST.json").read_text()
    (bundle.path / "MANIFEST.json").write_text(text.replace(before, after, 1))
    with pytest.raises(BundleError, match=r"MANIFEST\.json was altered"):
        Bundle.open(bundle.path)


def test_an_unknown_key_is_named(bundle: Bundle) -> None:
    edit_info(bundle.path, threshhold=1.0)
    with pytest.raises(BundleError, match=r"bundle\.json: .*threshhold"):
        Bundle.open(bundle.path)


def test_a_wrong_type_is_named(bundle: Bundle) -> None:
    edit_info(bundle.path, product=7)
    with pytest.raises(BundleError, match=r"bundle\.json: Expected `str`, got `int` - at `\$\.product`"):
        Bundle.open(bundle.path)


def test_a_golden_part_without_its_image_is_refused(bundle: Bundle) -> None:
    (bundle.path / "golden" / "a.png").unlink()
    reseal(bundle.path)
    with pytest.raises(BundleError, match=r"names golden/a\.png, which the bundle lacks"):
        Bundle.open(bundle.path)


def test_a_calibration_without_its_image_is_not_written(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"names golden/b\.png, but neither"):
        update_bundle(bundle, info(calibrations=(calibration("openvino", "bf16", "b.png"),)))


@pytest.mark.parametrize("image", [np.zeros((32, 32, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)[:32]])
def test_a_golden_frame_of_another_size_is_refused(bundle: Bundle, image: NDArray[np.uint8]) -> None:
    wrong = calibration("openvino", "bf16", "b.png")
    bundle = update_bundle(bundle, info(calibrations=(wrong,)), {"b.png": image})
    with pytest.raises(BundleError, match=r"b\.png: expected a 64x64 colour PNG, found an image of shape"):
        bundle.golden_frames(wrong)


@pytest.mark.parametrize("image", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.float32)])
def test_a_golden_frame_that_is_no_frame_is_refused(bundle: Bundle, image: NDArray[np.uint8]) -> None:
    with pytest.raises(BundleError, match="expected a golden frame as uint8"):
        update_bundle(bundle, bundle.info, {"a.png": image})


@pytest.mark.parametrize(("kind", "message"), [("nothing", "found nothing"), ("file", "found a file")])
def test_what_is_no_directory_is_refused(tmp_path: Path, kind: str, message: str) -> None:
    if kind == "file":
        (tmp_path / "b").write_text("")
    with pytest.raises(BundleError, match=f"expected a bundle, which is a directory, at .*{message}"):
        Bundle.open(tmp_path / "b")


def test_a_missing_parent_is_said(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not even its parent directory"):
        Bundle.open(tmp_path / "a" / "b")


def test_a_foreign_directory_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match=r"MANIFEST\.json is missing: that directory is no bundle"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("also", [[], ["MANIFEST.json"]])
def test_a_foreign_directory_is_never_replaced(tmp_path: Path, head: Head, also: list[str]) -> None:
    for name in ["thesis.tex", *also]:
        (tmp_path / name).write_text("years of work")
    with pytest.raises(BundleError, match=r"thesis\.tex.*name another place"):
        write_bundle(tmp_path, info(), b"network", head)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_is_never_replaced(tmp_path: Path, head: Head) -> None:
    (tmp_path / "b").write_text("mine")
    with pytest.raises(BundleError, match="is a file; name another place"):
        write_bundle(tmp_path / "b", info(), b"network", head)


def test_an_empty_directory_becomes_a_bundle(tmp_path: Path, head: Head) -> None:
    (tmp_path / "b").mkdir()
    assert write_bundle(tmp_path / "b", info(), b"network", head).info.product == PRODUCT


def test_an_altered_bundle_may_be_replaced(bundle: Bundle, head: Head) -> None:
    bundle.model_path.write_bytes(b"altered")
    assert write_bundle(bundle.path, info(), b"network", head).read_network() == b"network"


def test_a_bundle_is_readable_by_whom_the_umask_lets(bundle: Bundle) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert bundle.path.stat().st_mode & 0o777 == 0o777 & ~mask
    assert bundle.model_path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_bundle_changed_meanwhile_is_not_overwritten(bundle: Bundle) -> None:
    newer = update_bundle(bundle, msgspec.structs.replace(bundle.info, product="newer"))
    with pytest.raises(BundleError, match="another process has changed the bundle"):
        update_bundle(bundle, bundle.info)
    assert Bundle.open(bundle.path) == newer


def test_files_changed_after_opening_are_noticed(bundle: Bundle) -> None:
    for name, read in [
        ("model.onnx", bundle.read_network),
        ("head.safetensors", bundle.load_head),
        ("golden/a.png", lambda: bundle.golden_frames(bundle.latest_calibration)),
    ]:
        (bundle.path / name).write_bytes(b"other")
        with pytest.raises(BundleError, match=f"{name} was altered"):
            read()
        (bundle.path / name).unlink()
        with pytest.raises(BundleError, match="cannot be read: No such file"):
            read()


def test_large_files_are_hashed_in_pieces(bundle: Bundle) -> None:
    os.truncate(bundle.model_path, 128 << 20)
    tracemalloc.start()
    with pytest.raises(BundleError, match=r"model\.onnx was altered"):
        Bundle.open(bundle.path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_an_error(bundle: Bundle) -> None:
    bundle.path.parent.chmod(0o500)
    try:
        with pytest.raises(BundleError, match="check the disk and the permissions"):
            update_bundle(bundle, bundle.info)
    finally:
        bundle.path.parent.chmod(0o700)


def test_a_read_only_path_is_an_error(head: Head) -> None:
    with pytest.raises(BundleError, match=r"cannot be written .*check the disk and the permissions"):
        write_bundle("/proc/bundle", info(), b"network", head)


@pytest.mark.parametrize(
    ("action", "exchange"),
    [
        ("create", "exchange"),
        ("replace", "exchange"),
        ("replace", "two renames"),
        ("update", "exchange"),
        ("update", "two renames"),
    ],
)
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_bundle(bundle: Bundle, action: str, exchange: str) -> None:
    place = bundle.path.parent.parent / "station" / "bundle"
    place.parent.mkdir()
    command = [sys.executable, "-c", KILLED, str(bundle.path), str(place), action, exchange]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    *states, left = done.stdout.splitlines()
    before = "BundleError 0" if action == "create" else f"{PRODUCT} False"
    assert set(states) - {"again ['bundle']"} == {before, "new True"}
    assert states[-1] == "new True"
    assert len(states) > 15
    assert left == "left ['bundle']"


@pytest.mark.parametrize("exchange", ["exchange", "two renames"])
def test_a_reader_beside_a_writer_always_finds_a_whole_bundle(bundle: Bundle, exchange: str) -> None:
    writer = subprocess.Popen([sys.executable, "-c", CHURN, str(bundle.path), exchange])
    seen = set()
    while writer.poll() is None:
        seen.add(Bundle.open(bundle.path).info.product)
    assert writer.returncode == 0
    assert len(seen) > 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        pytest.skip("mounting a small file system needs root")
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "edge-inspect-test", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run([umount, str(place)], check=True)


def test_a_full_disk_leaves_the_old_bundle(small_disk: Path, head: Head) -> None:
    bundle = write_bundle(small_disk / "bundle", info(), b"network", head)
    with pytest.raises(BundleError, match=r"cannot be written .it takes 3 MiB.: No space left.*free some space"):
        update_bundle(bundle, bundle.info, networks={"f32": bytes(2 << 20)})
    with pytest.raises(BundleError, match="free some space"):
        write_bundle(small_disk / "bundle", info(), bytes(2 << 20), head)
    assert Bundle.open(bundle.path) == bundle
    assert [path.name for path in small_disk.iterdir()] == ["bundle"]


def test_a_full_disk_leaves_no_half_bundle(small_disk: Path, head: Head) -> None:
    with pytest.raises(BundleError, match="free some space"):
        write_bundle(small_disk / "bundle", info(), bytes(2 << 20), head)
    assert list(small_disk.iterdir()) == []
