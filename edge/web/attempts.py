"""How often somebody may try to log in."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

_ATTEMPTS = 5
_WINDOW_S = 60.0
_MOST_ADDRESSES = 10_000
_IPV6_SITE = 64


class Attempts:
    """Attempts by address: after five that failed within a minute the sixth has to wait.

    By address and not by name, or else anybody could lock an operator out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 for now."""
        recent = self._recent(_site(address))
        return recent[0] + _WINDOW_S - self._clock() if len(recent) >= _ATTEMPTS else 0.0

    def begin(self, address: str) -> None:
        """Count one attempt as failed, before it is tried: many at once get no more tries than one after the other."""
        site = _site(address)
        self._failed[site] = [*self._recent(site), self._clock()][-_ATTEMPTS:]
        self._failed.move_to_end(site)
        while len(self._failed) > _MOST_ADDRESSES:
            self._failed.popitem(last=False)

    def succeed(self, address: str) -> None:
        """Take back the newest attempt, and no other: or who logs in as himself in between could guess without end."""
        site = _site(address)
        self._failed[site] = self._recent(site)[:-1]

    def _recent(self, site: str) -> list[float]:
        return [moment for moment in self._failed.get(site, []) if moment > self._clock() - _WINDOW_S]


def _site(address: str) -> str:
    """The address, or for IPv6 the network that one customer holds, whose addresses are without number."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, _IPV6_SITE), strict=False))
