"""What every table of the station file is made of."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=100_000)]
# `$` alone lets a line break at the end pass, and such a name could forge lines of logs.
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)")]
Address = Annotated[str, msgspec.Meta(pattern=r"^(tcp|ipc)://.+$(?!\n)")]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on a host: a name or an address, without brackets."""
    if host in ("localhost", "lo"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # *, or the name of an interface or a machine
        return False


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the station file."""
