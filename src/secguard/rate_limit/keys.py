"""What a request is counted by: a few bytes for the address, the user, the session, a header, or what code says.

1. An IPv4 address is itself, an IPv6 address its network, and everything else a keyed hash of its parts, each of which
   tells its length. No two of them are alike: they have 4, 8 or 16, and 15 bytes.
2. Who has no user, no session, no such header, or nothing that code would say, is counted by the address.
3. Whoever sends a new value in a header pays for it with the address as well, so that rotating them gets nobody far.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, inet_pton
from typing import Any, Final, TypeAlias

from secguard.policy import Address, Context, Exchange, parse_address
from secguard.rate_limit.grammar import Key, Keyed, KeyFunction, header_of

GLOBAL: Final = b"*"
UNKNOWN: Final = b""  # who has no address
_SIZE: Final = 15  # bytes of a hash: with what Python puts around them, 48


Identity: TypeAlias = tuple[bytes, bytes | None]
"""The key of who is counted, and of who else pays for somebody new."""

Identify: TypeAlias = Callable[[Exchange], Identity | Awaitable[Identity]]

_EVERYBODY: Final[Identity] = (GLOBAL, None)


class Identities:
    """Finds out who is counted. One for a policy: it has the key of the hash, and the length of an IPv6 prefix.

    Example:
        >>> Identities(Context(), 64).of_text("2001:db8::1") == Identities(Context(), 64).of_text("2001:db8::2")
        True
    """

    def __init__(self, context: Context, ipv6_prefix: int) -> None:
        self.hash_key = next(iter(context.keys.derive("limiter-hash", "rate_limit")), b"")
        self._context = context
        self.address_of = self._clients if context.resolver.trusts else self._peers
        self._host_bits = 128 - ipv6_prefix
        self._size = 8 if ipv6_prefix <= 64 else 16
        self._told = False

    def by(self, key: Key) -> Identify:
        """Return what finds out who is counted by this key, and whether it has to be awaited is what it returns."""
        if callable(key):
            return self._by_function(key)
        if header := header_of(key):
            return self._by_header(header)
        return {
            "ip": self.by_address,
            "user": self._by_user,
            "session": self._by_session,
            "global": _everybody,
        }[key]

    def _peers(self, exchange: Exchange) -> bytes:
        """Return the key of the client's address, where nobody vouches for another.

        Nothing is remembered of it: what that spares a few clients, it costs each of a million.
        """
        try:
            return inet_pton(AF_INET, exchange.address[0])  # type: ignore[index]  # a tenth of what ipaddress takes
        except (OSError, ValueError, TypeError):
            return self._clients(exchange)

    def _clients(self, exchange: Exchange) -> bytes:
        if exchange.client is not None:
            return self.of_address(exchange.client)
        if not self._told:
            self._told = True
            self._context.notice("rate_limit.unknown-client", _UNKNOWN, exchange, peer=exchange.peer)
        return UNKNOWN

    def by_address(self, exchange: Exchange) -> Identity:
        """Return the identity of the client's address."""
        return self.address_of(exchange), None

    def of_address(self, address: Address) -> bytes:
        """Return the key of an address, of which IPv6 only has its network in it."""
        if isinstance(address, IPv4Address):
            return address.packed
        return (int(address) >> self._host_bits << self._host_bits).to_bytes(16)[: self._size]

    def of_text(self, text: str) -> bytes:
        """Return the key of what code gave: an address, or a name of anything else."""
        if (address := parse_address(text)) is not None:
            return self.of_address(address)
        return self._hash(b"name", text.encode("utf-8", "surrogatepass"))

    def written(self, key: Key, text: str) -> bytes:
        """Return the key of what somebody wrote who knows what is counted by."""
        if callable(key) or key == "ip":
            return self.of_text(text)
        if header := header_of(key):
            return self.of_header(header, _as_sent(text))
        if key == "session":
            return self._hash(b"session", _as_sent(text))
        if key == "user":
            return self.of_user(text)
        return self.of_text(text) if text else GLOBAL

    def of_header(self, name: bytes, value: bytes) -> bytes:
        """Return the key of a header's value."""
        return self._hash(b"header:" + name, value)

    def of_user(self, name: str) -> bytes:
        """Return the key of a user."""
        return self._hash(b"user", name.encode("utf-8", "surrogatepass"))

    def _hash(self, kind: bytes, value: bytes) -> bytes:
        return blake2b(b"%d:%b%b" % (len(kind), kind, value), digest_size=_SIZE, key=self.hash_key).digest()

    def _by_user(self, exchange: Exchange) -> Identity:
        return self.by_address(exchange) if exchange.user is None else (self.of_user(exchange.user), None)

    def _by_session(self, exchange: Exchange) -> Identity:
        session = exchange.session_key
        return self.by_address(exchange) if session is None else (self._hash(b"session", session), None)

    def _by_header(self, name: bytes) -> Identify:
        def by_header(exchange: Exchange) -> Identity:
            values, address = exchange.values(name), self.by_address(exchange)
            # Two lines of the name could be two clients, or one that wants to be taken for many.
            return (self.of_header(name, values[0]), address[0]) if len(values) == 1 else address

        return by_header

    def _by_function(self, function: KeyFunction) -> Identify:
        def by_function(exchange: Exchange) -> Identity | Awaitable[Identity]:
            keyed = function(exchange)
            return waiting(exchange, keyed) if isinstance(keyed, Awaitable) else self._of_any(exchange, keyed)

        async def waiting(exchange: Exchange, keyed: Awaitable[Keyed]) -> Identity:
            return self._of_any(exchange, await keyed)

        return by_function

    def _of_any(self, exchange: Exchange, keyed: Any) -> Identity:
        if keyed is None:
            return self.by_address(exchange)
        if isinstance(keyed, bytes):
            return self._hash(b"name", keyed), None
        if isinstance(keyed, str | int) and not isinstance(keyed, bool):
            return self.of_text(str(keyed)), None
        if isinstance(keyed, IPv4Address | IPv6Address):
            return self.of_address(keyed), None
        raise TypeError(f"a key is a text, bytes, a number, an address or None, and no {type(keyed).__name__}")


def _as_sent(text: str) -> bytes:
    """Return the bytes of a text as a header has them. What does not fit into one is written in some way, too."""
    return text.encode("latin-1") if max(text, default="") <= "\xff" else text.encode("utf-8", "surrogatepass")


def _everybody(exchange: Exchange) -> Identity:
    return _EVERYBODY


_UNKNOWN: Final = (
    "clients without an address are all counted as one; behind a proxy on a unix socket, set "
    'SECGUARD_PROXIES__TRUSTED=unix, and in tests TestClient(app, client=("127.0.0.1", 50000))'
)
