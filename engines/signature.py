"""Signatures of bundles (Ed25519): who vouches for a bundle, beyond that its files belong together.

What is signed is `MANIFEST.json`, which holds the sha256 of every other file, so one signature covers all of them. It
lies in the bundle as `SIGNATURE.json`. Whoever changes the bundle, `calibrate` included, makes it an unsigned one.
Keys are PEM files as OpenSSL writes them. Needs the extra `sign`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engines.atomic import write_durably
from engines.bundle import Bundle, attach_signature
from engines.errors import BundleError, InspectError
from engines.extras import import_extra
from engines.foreign import UNREADABLE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

# In front of the manifest, so that nothing else that was ever signed with the key passes for a bundle.
_CONTEXT = b"edge-inspect bundle manifest 1\0"
_OTHERS = 0o077


class KeyFileError(InspectError):
    """A key file that is missing, no Ed25519 key, or readable by others."""


class _SignatureFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    algorithm: Literal["Ed25519"]
    key: str
    signature: bytes


@dataclass(frozen=True)
class PublicKey:
    """A key that signatures are checked with. `fingerprint` names it: the start of the sha256 of its 32 bytes."""

    fingerprint: str
    key: Ed25519PublicKey


def make_keys(private: Path) -> tuple[Path, PublicKey]:
    """Write a new private key, readable by its owner alone, and its public key beside it with the suffix `.pub`.

    Returns the public key and its file. Raises KeyFileError where one of the two exists already or cannot be written.
    """
    crypto, forms = _crypto(), _serialization()
    key = crypto.Ed25519PrivateKey.generate()
    secret = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    public = key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    beside = private.with_suffix(".pub")
    try:
        write_durably(private, secret, mode=0o600)
        write_durably(beside, public)
    except OSError as error:
        remedy = "name another file" if isinstance(error, FileExistsError) else "check the folder and its permissions"
        raise KeyFileError(f"{error.filename}: cannot be written: {error.strerror}; {remedy}") from None
    return beside, _public(key.public_key())


def sign_bundle(bundle: Bundle, private: Path) -> PublicKey:
    """Sign a bundle in place with a private key's file, and return the key that will verify it.

    An earlier signature is replaced. Raises KeyFileError, BundleError.
    """
    key = _load_private(private)
    signature = key.sign(_CONTEXT + bundle.read_manifest())
    public = _public(key.public_key())
    attach_signature(bundle, msgspec.json.encode(_SignatureFile("Ed25519", public.fingerprint, signature)) + b"\n")
    return public


def open_trusted(path: str | Path, keys: Sequence[PublicKey]) -> Bundle:
    """Open a bundle and, where there are `keys`, demand that one of them has signed it. Raises BundleError."""
    bundle = Bundle.open(path)
    if keys:
        check_signature(bundle, keys)
    return bundle


def check_signature(bundle: Bundle, keys: Iterable[PublicKey]) -> PublicKey:
    """Return the one of `keys` that signed the bundle. Raises BundleError where none did."""
    from cryptography.exceptions import InvalidSignature

    trusted = {key.fingerprint: key for key in keys}
    known = ", ".join(trusted) or "none"
    found = _read(bundle)
    if found is None:
        raise BundleError(
            f"{bundle.path} is not signed, expected a signature by {known}; let the owner of such a key run: "
            f"edge-inspect sign --bundle {bundle.path} --key FILE"
        )
    if found.key not in trusted:
        raise BundleError(
            f"{bundle.path} is signed with the key {found.key}, expected {known}; do not use it unless you know "
            "whose key that is"
        )
    try:
        trusted[found.key].key.verify(found.signature, _CONTEXT + bundle.read_manifest())
    except InvalidSignature:
        raise BundleError(
            f"{bundle.path}: the signature by {found.key} is not that of this bundle: it was altered after it was "
            "signed; fetch it again from where it was signed"
        ) from None
    return trusted[found.key]


def load_public_keys(paths: Iterable[Path]) -> tuple[PublicKey, ...]:
    """Read public keys from PEM files. Raises KeyFileError, and UsageError where the extra `sign` is missing."""
    return tuple(_load_public(path) for path in paths)


def _read(bundle: Bundle) -> _SignatureFile | None:
    raw = bundle.read_signature()
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=_SignatureFile)
    except UNREADABLE as error:
        raise BundleError(f"{bundle.path}: its signature cannot be read ({error}); sign the bundle again") from None


def _load_public(path: Path) -> PublicKey:
    kind = _crypto().Ed25519PublicKey
    return _public(_decoded(path, kind, _serialization().load_pem_public_key, "public"))


def _load_private(path: Path) -> Ed25519PrivateKey:
    kind, load = _crypto().Ed25519PrivateKey, _serialization().load_pem_private_key
    key: Ed25519PrivateKey = _decoded(path, kind, lambda data: load(data, password=None), "private")
    mode = path.stat().st_mode
    if mode & _OTHERS:
        raise KeyFileError(
            f"{path}: expected a private key that its owner alone may read, found mode {mode & 0o777:03o}; "
            f"run: chmod 600 {path}, and make a new key where others may have read it"
        )
    return key


def _decoded(path: Path, kind: type, load: Any, what: str) -> Any:
    expected = f"{path}: expected an Ed25519 {what} key in PEM"
    try:
        key = load(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"{expected}, which cannot be read: {error.strerror}") from None
    except TypeError:
        raise KeyFileError(f"{expected} without a passphrase, found one with; take the passphrase off") from None
    except ValueError:
        raise KeyFileError(f"{expected}, found something else; make keys with: edge-inspect sign --new FILE") from None
    if not isinstance(key, kind):
        raise KeyFileError(f"{expected}, found another kind of key; make keys with: edge-inspect sign --new FILE")
    return key


def _public(key: Any) -> PublicKey:
    forms = _serialization()
    raw = key.public_bytes(forms.Encoding.Raw, forms.PublicFormat.Raw)
    return PublicKey(hashlib.sha256(raw).hexdigest()[:16], key)


def _crypto() -> Any:
    return import_extra("cryptography.hazmat.primitives.asymmetric.ed25519", "sign")


def _serialization() -> Any:
    return import_extra("cryptography.hazmat.primitives.serialization", "sign")
