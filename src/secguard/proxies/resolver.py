"""The resolver for apps behind proxies. Its rules stand in the docstring of the package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
_FORWARDED: Final = b"forwarded"
_FORWARDED_FOR: Final = b"x-forwarded-for"

# What is longer is not remembered: an address has brackets, a zone id and a port; a header has a few of them.
_LONGEST_HOP: Final = 64
_LONGEST_WALK: Final = 256


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

    `client` is None where not even the first entry is an address. `read` counts the entries, `pairs` belong to the last
    of them, and `sockets` are those that were written with a port.
    """

    client: Address | None
    read: int
    pairs: Mapping[str, str]
    sockets: frozenset[tuple[Address, str]]


_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_NOWHERE: Final = Walk(None, 0, _NOTHING, frozenset())


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
        self._header = header.encode()
        # A walk depends on what is written and on nothing else: one client's requests all look alike.
        self._remembered_hop = lru_cache(maxsize=4096)(self._look)
        self._remembered_walk = lru_cache(maxsize=1024)(self._follow)

    def resolve(self, exchange: Exchange) -> Peer:
        """Return the Peer, as far as those who are trusted vouch for it."""
        unix = exchange.on_unix_socket
        own = None if unix else self._hop(exchange.peer or "")
        client, trusted = (own.address, own.trusted) if own else (None, unix and self._unix)
        readdressed = exchange.readdressed
        if trusted and not readdressed:
            walk = self._walk(exchange, self._header)
            if self._header == _FORWARDED or not _names_socket(walk, exchange, client):
                return self._vouched(exchange, walk, client)
            readdressed = True
        if not self._has_told and (
            readdressed or _names_socket(self._walk(exchange, _FORWARDED_FOR), exchange, client)
        ):
            self._tell_rewritten(exchange)
        return Peer(client, exchange.tls, exchange.named_host)

    def _walk(self, exchange: Exchange, header: bytes) -> Walk:
        """Follow what is written in all lines of the header."""
        if header not in exchange.headers:
            return _NOWHERE
        written = b",".join(exchange.values(header))
        return (self._remembered_walk if len(written) <= _LONGEST_WALK else self._follow)(header, written)

    def _follow(self, header: bytes, written: bytes) -> Walk:
        """Follow the entries, the nearest first, up to the one whose address is not ours, or is none."""
        client = None
        sockets = set()
        read = 0
        pairs = _NOTHING
        entries = (_elements if header == _FORWARDED else _items)(written.decode("latin-1"))
        for entry, pairs in islice(entries, self._max_hops):  # noqa: B007 - those of the last entry are returned
            read += 1
            hop = self._hop(entry)
            if hop is None:
                break
            client = hop.address
            if hop.port:
                sockets.add((client, hop.port))
            if not hop.trusted:
                break
        return Walk(client, read, pairs, frozenset(sockets))

    def _hop(self, text: str) -> Hop | None:
        return self._remembered_hop(text) if len(text) <= _LONGEST_HOP else self._look(text)

    def _look(self, text: str) -> Hop | None:
        node = read_node(text)
        if node is None:
            return None
        address, port = node
        value = int(address)
        trusted = any(value & mask == network for mask, network in self._networks[address.version])
        return Hop(address, port, trusted)

    def _vouched(self, exchange: Exchange, walk: Walk, nearest: Address | None) -> Peer:
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
        return Peer(walk.client or nearest, secure, host, plain)

    def _written(self, exchange: Exchange, header: bytes, parameter: str, walk: Walk) -> bytes | None:
        """Return what is written for the entry where the walk ended, or None where nothing is.

        A single value in a header of its own is what the outermost proxy set and the others passed on. In a list, each
        proxy has added a value as it added an address, so that both are counted from the right. A list too short for
        that says nothing about this entry, and is returned whole: it is no valid value.
        """
        if header == _FORWARDED:
            value = walk.pairs.get(parameter)
            return None if value is None else value.encode("latin-1")
        if header not in exchange.headers:
            return None
        joined = b",".join(exchange.values(header))
        place = max(walk.read, 1)
        values = joined.rsplit(b",", place)
        if 1 < len(values) < place:
            return joined
        return values[0 if len(values) == 1 else -place].strip(b" \t")

    def _tell_rewritten(self, exchange: Exchange) -> None:
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


def _items(text: str) -> Iterator[Entry]:
    """Yield the entries of X-Forwarded-For, the last one first."""
    for item in last_items(text):
        yield item, _NOTHING


def _elements(text: str) -> Iterator[Entry]:
    """Yield the elements of Forwarded, the last one first."""
    for element in last_elements(text):
        pairs = read_element(element)
        yield pairs.get("for", ""), pairs


def _names_socket(walk: Walk, exchange: Exchange, own: Address | None) -> bool:
    """Whether an entry is the very socket that the server speaks of: then it has been there before."""
    return own is not None and (own, str(exchange.address and exchange.address[1])) in walk.sockets
