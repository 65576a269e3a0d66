"""Signed bundles: the right one is verified; altered, foreign, unsigned and calibrated again, it is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engines.bundle import Bundle, update_bundle
from engines.cli import main
from engines.errors import BundleError
from engines.signature import (
    KeyFileError,
    PublicKey,
    check_signature,
    load_public_keys,
    make_keys,
    open_trusted,
    sign_bundle,
)

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install '.[sign]'")


@pytest.fixture
def private(tmp_path: Path) -> Path:
    return tmp_path / "quality.key"


@pytest.fixture
def public(private: Path) -> PublicKey:
    return make_keys(private)[1]


@pytest.fixture
def signed(
    private: Path, public: PublicKey, uncalibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]
) -> Path:
    bundle = bundle_copy(uncalibrated_bundle)
    sign_bundle(bundle, private)
    return bundle.path


def test_a_signed_bundle_is_verified(signed: Path, public: PublicKey, uncalibrated_bundle: Bundle) -> None:
    bundle = open_trusted(signed, [public])
    assert check_signature(bundle, [public]).fingerprint == public.fingerprint
    assert bundle.digest == uncalibrated_bundle.digest


def test_without_keys_nothing_is_demanded(uncalibrated_bundle: Bundle) -> None:
    assert open_trusted(uncalibrated_bundle.path, []).digest == uncalibrated_bundle.digest


def test_an_unsigned_bundle_is_refused(uncalibrated_bundle: Bundle, public: PublicKey) -> None:
    with pytest.raises(BundleError, match="is not signed, expected a signature by " + public.fingerprint):
        open_trusted(uncalibrated_bundle.path, [public])


def test_an_altered_file_is_refused(signed: Path, public: PublicKey) -> None:
    with (signed / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"model\.onnx was altered"):
        open_trusted(signed, [public])


def test_altered_with_a_manifest_that_fits_it_is_refused(signed: Path, public: PublicKey) -> None:
    signature = (signed / "SIGNATURE.json").read_bytes()
    bundle = Bundle.open(signed)
    changed = update_bundle(bundle, msgspec.structs.replace(bundle.info, product="another"))
    with pytest.raises(BundleError, match="is not signed"):  # whatever changes a bundle takes its signature off
        open_trusted(signed, [public])
    (changed.path / "SIGNATURE.json").write_bytes(signature)
    with pytest.raises(BundleError, match="altered after it was signed"):
        open_trusted(signed, [public])


def test_signed_again_with_a_foreign_key_is_refused(signed: Path, public: PublicKey, tmp_path: Path) -> None:
    foreign = make_keys(tmp_path / "foreign.key")[1]
    sign_bundle(Bundle.open(signed), tmp_path / "foreign.key")
    with pytest.raises(BundleError, match=f"signed with the key {foreign.fingerprint}, expected {public.fingerprint}"):
        open_trusted(signed, [public])
    assert open_trusted(signed, [public, foreign])


def test_a_foreign_signature_under_our_fingerprint_is_refused(signed: Path, public: PublicKey, tmp_path: Path) -> None:
    make_keys(tmp_path / "foreign.key")
    sign_bundle(Bundle.open(signed), tmp_path / "foreign.key")
    stated = json.loads((signed / "SIGNATURE.json").read_text())
    (signed / "SIGNATURE.json").write_text(json.dumps({**stated, "key": public.fingerprint}))
    with pytest.raises(BundleError, match="is not that of this bundle"):
        open_trusted(signed, [public])


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 10_000, b'{"algorithm":"none","key":"","signature":""}'])
def test_a_broken_signature_file_is_refused(signed: Path, public: PublicKey, content: bytes) -> None:
    (signed / "SIGNATURE.json").write_bytes(content)
    with pytest.raises(BundleError, match="cannot be read"):
        open_trusted(signed, [public])


def test_a_private_key_is_its_owners_alone(private: Path, public: PublicKey, uncalibrated_bundle: Bundle) -> None:
    assert private.stat().st_mode & 0o777 == 0o600
    private.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        sign_bundle(uncalibrated_bundle, private)


def test_keys_are_never_overwritten(private: Path, public: PublicKey) -> None:
    before = private.read_bytes()
    with pytest.raises(KeyFileError, match="name another file"):
        make_keys(private)
    assert private.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"", "found something else"), (b"-----BEGIN NONSENSE-----", "found something else")],
)
def test_what_is_no_public_key_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "some.pub"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KeyFileError, match=message):
        load_public_keys([path])


def test_the_private_key_is_no_public_one(private: Path, public: PublicKey) -> None:
    with pytest.raises(KeyFileError, match="found something else"):
        load_public_keys([private])


def test_openssl_makes_keys_and_reads_ours(
    tmp_path: Path, private: Path, public: PublicKey, peer: Callable[[str], Path], signed: Path
) -> None:
    openssl, theirs = str(peer("openssl")), tmp_path / "openssl.pem"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", str(theirs)], check=True)
    theirs.chmod(0o600)
    exported = subprocess.run([openssl, "pkey", "-in", str(theirs), "-pubout"], check=True, capture_output=True).stdout
    (tmp_path / "openssl.pub").write_bytes(exported)
    sign_bundle(Bundle.open(signed), theirs)
    assert open_trusted(signed, load_public_keys([tmp_path / "openssl.pub"]))
    subprocess.run([openssl, "pkey", "-in", str(private), "-noout"], check=True)


def test_the_commands(
    tmp_path: Path,
    uncalibrated_bundle: Bundle,
    bundle_copy: Callable[[Bundle], Bundle],
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle, key = str(bundle_copy(uncalibrated_bundle).path), tmp_path / "line.key"
    verify = ["verify", "--bundle", bundle, "--key", str(tmp_path / "line.pub")]
    assert main(["sign", "--new", str(key)]) == 0
    assert main(verify) == 2
    assert main(["sign", "--bundle", bundle, "--key", str(key)]) == 0
    assert main(verify) == 0
    out, err = capsys.readouterr()
    fingerprint = load_public_keys([tmp_path / "line.pub"])[0].fingerprint
    assert out.count(fingerprint) == 3
    assert "is not signed" in err
    assert main(["sign", "--key", str(key)]) == 2


def test_an_unwritable_place_for_keys_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="check the folder"):
        make_keys(tmp_path / "nowhere" / "quality.key")
    assert list(tmp_path.iterdir()) == []
