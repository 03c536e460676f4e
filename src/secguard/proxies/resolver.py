"""The resolver for apps behind proxies. Its rules stand in the docstring of the package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from itertools import islice
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, TypeAlias

from secguard._http import parse_host
from secguard.policy import Address, Context, Exchange, Peer
from secguard.proxies.grammar import last_elements, last_items, read_element, read_node

# Traefik writes the scheme of the websocket's URL, others that of its handshake, which is http (RFC 6455 section 4.1).
_SECURE: Final = {
    "http": {b"http": False, b"https": True},
    "websocket": {b"http": False, b"https": True, b"ws": False, b"wss": True},
}
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_LONGEST_KEPT: Final = 64  # characters of an entry that is remembered: brackets, an address, a zone id and a port


class Notice(Protocol):
    """Takes what the resolver has to tell: `Context.notice`."""

    def __call__(
        self, code: str, reason: str, *, peer: str | None, path: str, header: bytes = ..., value: bytes = ...
    ) -> None:
        """Tell of it."""


class Hop(NamedTuple):
    """An address that somebody wrote down, the port beside it, and whether it is a proxy of ours."""

    address: Address
    port: str
    trusted: bool


Entry: TypeAlias = tuple[str, Mapping[str, str]]
"""What stands for an address in the header, and the parameters beside it in a Forwarded header."""


class Walk(NamedTuple):
    """How far the word of our proxies goes.

    `read` counts the entries, and `pairs` belong to the last of them. `rewritten` tells that one of them is what the
    server calls the socket's address and port: the server has walked the header before.
    """

    client: Address | None
    read: int
    pairs: Mapping[str, str]
    rewritten: bool = False


class ProxyResolver:
    """Finds out the Peer behind trusted proxies. Made by `ProxiesSettings.resolver`."""

    trusts: Final = True

    def __init__(
        self,
        networks: Iterable[IPv4Network | IPv6Network],
        *,
        unix: bool,
        header: str,
        proto: str | None,
        host: str | None,
        max_hops: int,
        notice: Notice | None,
    ) -> None:
        # As integers: to compare these costs a fraction of `address in network`.
        self._networks: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for network in networks:
            self._networks[network.version].append((int(network.netmask), int(network.network_address)))
        self._unix = unix
        self._proto = proto.encode() if proto else None
        self._host = host.encode() if host else None
        self._max_hops = max_hops
        self._notice = notice or Context().notice
        self._has_told = False
        self._entries: Callable[[Exchange], Iterable[Entry]] = self._items
        if header == "forwarded":
            self._entries = self._elements
        self._remembered = lru_cache(maxsize=4096)(self._look)

    def resolve(self, exchange: Exchange) -> Peer:
        """Return the Peer, as far as those who are trusted vouch for it."""
        own = None if exchange.on_unix_socket else self._hop(exchange.peer or "")
        client = own.address if own else None
        trusted = own.trusted if own else self._unix and exchange.on_unix_socket
        if trusted and not exchange.readdressed:
            walk = self._walk(exchange, own, self._entries(exchange))
            if not walk.rewritten:
                return self._vouched(exchange, walk)
            self._tell_rewritten(exchange)
        elif not self._has_told and (
            exchange.readdressed or self._walk(exchange, own, self._items(exchange)).rewritten
        ):
            self._tell_rewritten(exchange)
        return Peer(client, exchange.tls, exchange.named_host)

    def _walk(self, exchange: Exchange, own: Hop | None, entries: Iterable[Entry]) -> Walk:
        """Follow the entries, the nearest first, up to the one whose address is not ours, or is none."""
        client = own.address if own else None
        socket = (client, str(exchange.address[1])) if exchange.address else None
        read = 0
        pairs = _NOTHING
        for text, pairs in islice(entries, self._max_hops):
            read += 1
            hop = self._hop(text)
            if hop is None:
                break
            if (hop.address, hop.port) == socket:
                return Walk(client, read, pairs, rewritten=True)
            client = hop.address
            if not hop.trusted:
                break
        return Walk(client, read, pairs)

    def _items(self, exchange: Exchange) -> Iterator[Entry]:
        """Yield the entries of X-Forwarded-For, the last one first."""
        lines = exchange.values(b"x-forwarded-for")
        if lines:
            for item in last_items(b",".join(lines).decode("latin-1"), self._max_hops):
                yield item, _NOTHING

    def _elements(self, exchange: Exchange) -> Iterator[Entry]:
        """Yield the elements of Forwarded, the last one first."""
        lines = exchange.values(b"forwarded")
        if lines:
            for element in last_elements(b",".join(lines).decode("latin-1")):
                pairs = read_element(element)
                yield pairs.get("for", ""), pairs

    def _hop(self, text: str) -> Hop | None:
        return self._remembered(text) if len(text) <= _LONGEST_KEPT else self._look(text)

    def _look(self, text: str) -> Hop | None:
        node = read_node(text)
        if node is None:
            return None
        address, port = node
        value = int(address)
        trusted = any(value & mask == network for mask, network in self._networks[address.version])
        return Hop(address, port, trusted)

    def _vouched(self, exchange: Exchange, walk: Walk) -> Peer:
        """Return the Peer with the scheme and the host that belong to the entry where the walk ended."""
        secure, plain, host = exchange.tls, False, exchange.named_host
        if self._proto and (scheme := self._written(exchange, self._proto, "proto", walk)) is not None:
            said = _SECURE[exchange.kind].get(scheme)
            if said is None:
                self._tell_invalid(exchange, "proto", self._proto, scheme, "http or https")
            else:
                secure, plain = said, not said
        if self._host and (name := self._written(exchange, self._host, "host", walk)) is not None:
            said_host = parse_host(name)
            if said_host is None:
                self._tell_invalid(exchange, "host", self._host, name, "host[:port]")
            host = said_host or host
        return Peer(walk.client, secure, host, plain)

    def _written(self, exchange: Exchange, header: bytes, parameter: str, walk: Walk) -> bytes | None:
        """Return what is written for the entry where the walk ended, or None where nothing is.

        A single value in a header of its own is what the outermost proxy set and the others passed on. In a list, each
        proxy has added a value as it added an address, so that both are counted from the right. A list too short for
        that says nothing about this entry, and is returned whole: it is no valid value.
        """
        if header == b"forwarded":
            value = walk.pairs.get(parameter)
            return None if value is None else value.encode("latin-1")
        lines = exchange.values(header)
        if not lines:
            return None
        joined = b",".join(lines)
        place = max(walk.read, 1)
        values = joined.rsplit(b",", place)
        if 1 < len(values) < place:
            return joined
        return values[0 if len(values) == 1 else -place].strip(b" \t")

    def _tell_rewritten(self, exchange: Exchange) -> None:
        if not self._has_told:
            self._has_told = True
            self._notice(
                "proxies.rewritten",
                "the server has already put an address from a header in the place of the socket's, so that the section "
                "proxies was not applied; start it without that, such as by uvicorn --no-proxy-headers",
                peer=exchange.peer,
                path=exchange.path,
            )

    def _tell_invalid(self, exchange: Exchange, field: str, header: bytes, value: bytes, wanted: str) -> None:
        self._notice(
            f"proxies.{field}-invalid",
            f"the value was ignored: it is not exactly {wanted}, or a list too short to say which of them is meant",
            header=header,
            value=value,
            peer=exchange.peer,
            path=exchange.path,
        )
