"""Keys on disk: the station's own, those its clients hold, and the list of clients that may connect (CurveZMQ).

```
KEYS/station.key          the station's key pair, mode 0600
KEYS/clients/NAME.json    public key and role of one client; no secret
NAME.key                  what that client holds: its key pair and the station's public key, mode 0600
```
"""

from __future__ import annotations

import os
import stat
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import zmq

from engines.errors import ConfigError, UsageError
from engines.foreign import UNREADABLE

_STATION = "station.key"
_CLIENTS = "clients"
_LARGEST_FILE = 4096
_NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\Z"

Name = Annotated[str, msgspec.Meta(pattern=_NAME_PATTERN)]
# Z85, as CurveZMQ writes its 32 bytes.
Z85 = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{40}\Z")]


class Role(str, Enum):
    """What a client may do: `read` verdicts, state and replay; `control` also changes what the station does."""

    READ = "read"
    CONTROL = "control"


class StationKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key pair of a station."""

    public: Z85
    secret: Z85


class ClientKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client needs to connect: its key pair, and the public key by which it knows the station."""

    name: Name
    public: Z85
    secret: Z85
    station: Z85


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a station knows of one client. `revoked` is when it lost its right to connect (ISO 8601)."""

    name: Name
    public: Z85
    role: Role
    created: str
    revoked: str | None = None


File = TypeVar("File", StationKey, ClientKey, Client)


class KeyFolder:
    """The folder that `[security] keys` names. Read anew each time, so that a change counts at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def station_key(self) -> StationKey:
        """The station's key: a systemd credential where there is one, else the file. Raises ConfigError."""
        given = credential(_STATION)
        return _read(given or self.path / _STATION, StationKey, secret=given is None)

    def clients(self) -> list[Client]:
        """Every client there ever was, by name. Raises ConfigError for a file that is none."""
        return [_read(path, Client, secret=False) for path in sorted((self.path / _CLIENTS).glob("*.json"))]

    def new_client(self, name: str, role: Role, out: Path) -> ClientKey:
        """Make a key for a client, allow it, and write what the client needs to `out`; the first makes the station's.

        Raises UsageError for a name or a file that is taken, or no name.
        """
        entry = self._entry(name)
        if entry.exists():
            raise UsageError(f"there has been a client {name!r} in {self.path}; choose another name")
        station = self._ensured_station_key()
        pair = _new_pair()
        key = ClientKey(name, pair.public, pair.secret, station.public)
        _write(out, key, 0o600)
        _write(entry, Client(name, key.public, role, _now()), 0o644)
        return key

    def revoke(self, name: str) -> None:
        """Take a client's right to connect. Raises UsageError where there is none of that name."""
        entry = self._entry(name)
        if not entry.exists():
            known = ", ".join(client.name for client in self.clients()) or "none"
            raise UsageError(f"no client {name!r} in {self.path}; known: {known}")
        client = _read(entry, Client, secret=False)
        if client.revoked is None:
            _write(entry, msgspec.structs.replace(client, revoked=_now()), 0o644, replace=True)

    def _entry(self, name: str) -> Path:
        try:
            msgspec.convert(name, Name)
        except msgspec.ValidationError:
            raise UsageError(f"expected a name of letters, digits, dot, dash and underscore, found {name!r}") from None
        return self.path / _CLIENTS / f"{name}.json"

    def _ensured_station_key(self) -> StationKey:
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / _CLIENTS).mkdir(exist_ok=True)
        if not (self.path / _STATION).exists():
            _write(self.path / _STATION, _new_pair(), 0o600)
        return self.station_key()


def read_client_key(path: Path) -> ClientKey:
    """Read the key that a client holds; a systemd credential of that file name goes before the file.

    Raises ConfigError where it is absent, foreign or readable by others.
    """
    given = credential(path.name)
    return _read(given or path, ClientKey, secret=given is None)


def credential(name: str) -> Path | None:
    """The file of a systemd credential, for a secret that the service's user itself need not be able to read."""
    # systemd makes sure that nobody else can read it, by means that its mode does not show.
    path = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / name
    # os.access, and not exists(), which raises where the folder itself cannot be read.
    return path if os.access(path, os.R_OK) else None


def use_key(socket: zmq.Socket[bytes], path: Path) -> None:
    """Encrypt a client's socket with the key in `path`, before it connects. Raises ConfigError."""
    key = read_client_key(path)
    socket.setsockopt(zmq.CURVE_SERVERKEY, key.station.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, key.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, key.secret.encode())


def _new_pair() -> StationKey:
    public, secret = zmq.curve_keypair()
    return StationKey(public.decode(), secret.decode())


def _read(path: Path, kind: type[File], secret: bool) -> File:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LARGEST_FILE)
    except OSError as error:
        raise ConfigError(
            f"expected a key at {path}, which cannot be read: {error.strerror}; make one with `edge-inspect keys new`"
        ) from None
    if secret and stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"{path} holds a secret and others can read it (mode {stat.S_IMODE(mode):04o}): chmod 600")
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise ConfigError(f"{path} is no file that `edge-inspect keys` wrote: {error}") from None


def _write(path: Path, content: StationKey | ClientKey | Client, mode: int, replace: bool = False) -> None:
    # Under another name first: a daemon that looks meanwhile must not find half a file.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            # A wide umask must not hide the list from the daemon's user.
            os.fchmod(file.fileno(), mode)
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            path.hardlink_to(draft)
    except FileExistsError:
        raise UsageError(f"{path} exists already; keys are not overwritten") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
