"""Who is logged in: sessions in memory, which end with the process, after a shift, or with the user."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.web.users import Role, User, UserFile

LIFETIME_S = 12 * 3600.0
_MOST_SESSIONS = 1000


@dataclass(frozen=True)
class Visitor:
    """Who asks. `csrf` is what each of the visitor's forms has to carry."""

    name: str
    role: Role
    csrf: str

    @property
    def may_write(self) -> bool:
        """Whether the visitor may do more than look."""
        return self.role is Role.OPERATOR


# On loopback without users: nobody can be held to what was done, so nobody may do anything.
ANYBODY = Visitor("", Role.VIEWER, "")


@dataclass(frozen=True)
class _Session:
    user: User
    ends_at: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))


class Sessions:
    """Sessions by the hash of their token, so that a memory dump opens none."""

    def __init__(self, users: UserFile, clock: Callable[[], float] = time.monotonic) -> None:
        self._users = users
        self._clock = clock
        self._open: dict[bytes, _Session] = {}

    def begin(self, user: User) -> str:
        """Open a session and return its token, which is told nobody else."""
        now = self._clock()
        self._open = {key: session for key, session in self._open.items() if session.ends_at > now}
        while len(self._open) >= _MOST_SESSIONS:
            del self._open[next(iter(self._open))]
        token = secrets.token_urlsafe(32)
        self._open[_hashed(token)] = _Session(user, now + LIFETIME_S)
        return token

    def visitor(self, token: str) -> Visitor | None:
        """Whose session it is; None where it is none, or its user was removed or changed since."""
        session = self._open.get(_hashed(token))
        if session is None or session.ends_at <= self._clock():
            return None
        if self._users.users().get(session.user.name) != session.user:
            self.end(token)
            return None
        return Visitor(session.user.name, session.user.role, session.csrf)

    def end(self, token: str) -> None:
        """Close a session. Harmless for one that is closed."""
        self._open.pop(_hashed(token), None)


def same(found: str, expected: str) -> bool:
    """Whether two secrets are the same and not empty, in a time that does not tell how much of them is."""
    return bool(expected) and hmac.compare_digest(found.encode(), expected.encode())


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
