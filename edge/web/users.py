"""Who may log in to the page: names, roles and hashes of passwords (argon2id) in one file.

The file is read anew whenever it has changed, so that whoever is removed is out at the next click.
"""

from __future__ import annotations

import os
import secrets
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from edge.table import Name
from engines.errors import ConfigError, UsageError
from engines.extras import import_extra
from engines.foreign import UNREADABLE

SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 256


class Role(str, Enum):
    """What a user may do: a `viewer` looks, an `operator` may also say what a part was."""

    VIEWER = "viewer"
    OPERATOR = "operator"


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One user. `password` is its hash, with salt and cost."""

    name: Name
    role: Role
    password: str
    created: str


class UserFile:
    """The users in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hasher: Any = import_extra("argon2", "web").PasswordHasher()
        # Checked where there is no such user, so that the time of the answer does not tell.
        self._nobody = self._hasher.hash(secrets.token_hex())
        self._read_at: tuple[int, int] | None = None
        self._users: dict[str, User] = {}

    def users(self) -> dict[str, User]:
        """Every user by name. Raises ConfigError for a file that is absent or none of ours."""
        try:
            status = self.path.stat()
            if (status.st_mtime_ns, status.st_ino) != self._read_at:
                found = msgspec.json.decode(self.path.read_bytes(), type=list[User])
                self._users, self._read_at = {user.name: user for user in found}, (status.st_mtime_ns, status.st_ino)
        except OSError as error:
            hint = f"add one with `edge-inspect web-user add NAME --users {self.path}`"
            if isinstance(error, PermissionError):
                hint = "it has to belong to the user that the page runs as"
            raise ConfigError(
                f"web.users: expected users at {self.path}, which cannot be read: {error.strerror}; {hint}"
            ) from None
        except UNREADABLE as error:
            raise ConfigError(
                f"web.users: {self.path} is no file that `edge-inspect web-user` wrote: {error}"
            ) from None
        return self._users

    def check(self, name: str, password: str) -> User | None:
        """The user of this name, if that is the password. Takes a tenth of a second and 64 MiB by design."""
        user = self.users().get(name)
        try:
            self._hasher.verify(self._nobody if user is None else user.password, password[: LONGEST_PASSWORD + 1])
        except import_extra("argon2.exceptions", "web").Argon2Error:
            return None
        return user

    def add(self, name: str, role: Role, password: str) -> None:
        """Add a user, or give one another role and password. Raises UsageError."""
        try:
            msgspec.convert(name, Name)
        except msgspec.ValidationError:
            raise UsageError(f"expected a name of letters, digits, dash and underscore, found {name!r}") from None
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise UsageError(f"expected a password of {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
        users = dict(self.users()) if self.path.exists() else {}
        users[name] = User(
            name, role, self._hasher.hash(password), datetime.now(timezone.utc).isoformat("T", "seconds")
        )
        self._write(users)

    def remove(self, name: str) -> None:
        """Remove a user. Raises UsageError where there is none of that name."""
        users = dict(self.users())
        if users.pop(name, None) is None:
            raise UsageError(f"no user {name!r} in {self.path}; known: {', '.join(users) or 'none'}")
        self._write(users)

    def _owner(self) -> tuple[int, int]:
        status = (self.path if self.path.exists() else self.path.parent).stat()
        return status.st_uid, status.st_gid

    def _write(self, users: dict[str, User]) -> None:
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            # The hashes are no secret of the station's, but they can be guessed against: nobody else reads them.
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(list(users.values())), indent=2) + b"\n")
                if os.geteuid() == 0:
                    # Or the page, which is not root, could not read what root has written.
                    os.fchown(file.fileno(), *self._owner())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}") from None
        finally:
            draft.unlink(missing_ok=True)
