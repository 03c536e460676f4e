"""The Peer: who is at the other end, and who finds that out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from secguard._http import Host
from secguard.policy.address import Address, parse_address

if TYPE_CHECKING:
    from secguard.policy.exchange import Exchange


class Peer(NamedTuple):
    """Who is at the other end, as far as it can be known.

    `plain` tells that plain http is proven: somebody we trust said so. A socket without TLS proves nothing, for a
    proxy may have taken it off.
    """

    client: Address | None
    secure: bool
    host: Host | None
    plain: bool = False


class Resolver(Protocol):
    """Finds out the Peer of an Exchange."""

    @property
    def trusts(self) -> bool:
        """Whether it takes anybody's word. If not, what the scope says is what there is, and nobody need be asked."""

    def resolve(self, exchange: Exchange) -> Peer:
        """Return the Peer."""


class Direct:
    """The resolver of an app that no trusted proxy stands in front of: what the server says is what there is."""

    trusts: Final = False

    def resolve(self, exchange: Exchange) -> Peer:
        """Return the Peer as the server saw it."""
        return Peer(parse_address(exchange.peer), exchange.tls, exchange.named_host)
