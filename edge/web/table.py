"""The table `[web]` of the station file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from edge.table import Table, is_loopback

Bind = Annotated[str, msgspec.Meta(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}$(?!\n)")]


class WebTable(Table, frozen=True, kw_only=True):
    """Where `edge-inspect web` shows its page ([live page](live-page.md)), and to whom.

    On loopback without `users` everybody on this machine may look, and nobody may change anything. Any other address
    needs `users`, and a certificate or `allow_plain`.
    """

    bind: Annotated[
        Bind, msgspec.Meta(description="Address of the page, `HOST:PORT`; an IPv6 address in brackets. Port 0 is any.")
    ] = "127.0.0.1:8080"
    users: Annotated[
        Path | None,
        msgspec.Meta(description="File that `edge-inspect web-user` writes. With it everybody has to log in."),
    ] = None
    certificate: Annotated[
        Path | None, msgspec.Meta(description="TLS certificate with its chain, PEM. Goes with `private_key`.")
    ] = None
    private_key: Annotated[Path | None, msgspec.Meta(description="Key of the certificate, PEM.")] = None
    allow_plain: Annotated[
        bool,
        msgspec.Meta(
            description="Show the page to other machines without TLS: whoever can listen in that network can read "
            "passwords. For a network that nobody else is in."
        ),
    ] = False
    hosts: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description='Names under which browsers reach the page, e.g. `["station-3.plant.example"]`. IP addresses '
            "need none; a request for any other name is refused."
        ),
    ] = ()
    key: Annotated[
        Path | None,
        msgspec.Meta(description="Key file of this client (role `read`), where the daemon's sockets want one."),
    ] = None

    @property
    def host(self) -> str:
        """Name or address to listen on, without brackets."""
        return self.bind.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Port to listen on; 0 is any."""
        return int(self.bind.rpartition(":")[2])

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the page."""
        return is_loopback(self.host)

    def contradictions(self) -> Iterator[str]:
        """What does not go together, a line each."""
        if self.port > 65_535:
            yield f"`web.bind`: expected a port up to 65535, found {self.port}"
        if (self.certificate is None) != (self.private_key is None):
            yield "`web`: `certificate` and `private_key` go together; name both or none"
        if not self.on_loopback and self.users is None:
            yield (
                f"`web.bind`: other machines can reach {self.bind}: name the file of those who may log in in "
                "`web.users` (`edge-inspect web-user add` makes it), or bind to 127.0.0.1"
            )
        if not self.on_loopback and self.certificate is None and not self.allow_plain:
            yield (
                f"`web.bind`: other machines can reach {self.bind}, and passwords would travel in the clear: name "
                "`certificate` and `private_key`, or set `web.allow_plain = true` where the network is closed to "
                "everybody else"
            )
