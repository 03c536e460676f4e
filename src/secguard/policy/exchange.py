"""The Exchange: one request as every policy sees it."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from os import urandom
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

from secguard._http import HOSTS, Host, Line
from secguard._paths import possible_paths, routings
from secguard.policy.address import Address, parse_address
from secguard.policy.lazy import lazy
from secguard.policy.peer import Peer, Resolver

Scope: TypeAlias = MutableMapping[str, Any]

SECURE_SCHEMES: Final = frozenset({"https", "wss"})
_NO_NOTES: Final[Mapping[object, Any]] = MappingProxyType({})
_NONCE_BYTES: Final = 16  # CSP 3 section 7.1: at least 128 bits

Allowed: TypeAlias = Literal["exact", "pattern", "any"]
"""How a CORS policy came to allow an origin: by its exact name, by a pattern, or because it allows all."""


class Exchange:
    """One request, http or websocket, as every policy sees it. Whatever takes work is done when first read.

    It is cached in the scope, where two Guards and the endpoint share it, and holds no reference back to the scope.
    `kind` is `http` or `websocket`, and `method` that of the request: a handshake is a GET (RFC 6455 section 4.1).
    `address` has host and port of the other end of the socket, as the server tells them.
    `lines` are the request's header lines as they came; `headers` is a mapping from name to value that holds the
    last line of each name, which is the only one where hygiene has passed and the name may not repeat. `named_host` is
    the Host header taken apart, and `tls` tells whether the scope says https or wss: both may be a proxy's and not the
    client's, which are `host` and `secure`. `status` is that of the answer, and None until it starts; `cut_short` tells
    that somebody was refused while the app was running, `unfound` that the app is to find nothing. `touched` tells
    that the endpoint has asked for something which changes the headers of its answer: the nonce, which `nonce_read` has
    once somebody has read it, or what policies remember of that in `notes`, each under a key of its own. `allowed` says
    how the CORS policy of this path came to allow its Origin (`any` without one, too), and is None where it did not.

    Example:
        >>> scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"example.com")]}
        >>> Exchange(scope, Direct()).host
        Host(name='example.com', port=None)
    """

    session_key: bytes | None = None
    """What tells this session from all others, where a policy further out has found one."""

    def __init__(self, scope: Scope, resolver: Resolver, app_root: str = "", outer: Exchange | None = None) -> None:
        lines = scope["headers"]
        if type(lines) is not list:  # ASGI allows any iterable, even one that can be read once only
            lines = scope["headers"] = list(lines)
        self.lines: list[Line] = lines
        if type(self) is Exchange:
            self.headers: dict[bytes, bytes] = dict(lines)
            self.named_host: Host | None = HOSTS[self.headers.get(b"host", b"")]
        self.kind: Literal["http", "websocket"] = scope["type"]
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        self.address: tuple[str, Any] | None = scope.get("client")
        self.tls: bool = scope.get("scheme") in SECURE_SCHEMES
        self._scope = dict(scope)  # one copy costs less than reading every key that somebody may ask for
        self._resolver = resolver
        self._app_root = app_root
        # Set here, for CPython 3.11 is slow to read and to set what a default of the class stands behind.
        self.status: int | None = None
        self.unfound = False
        self.cut_short = False
        self.touched = False
        self.nonce_read: str | None = None
        self.allowed: Allowed | None = None
        self.standings: list[Any] | None = None
        self.delivery: Any = None
        self.notes: Mapping[object, Any] = _NO_NOTES
        self.outer: Exchange | None = None
        # One of a Guard further out, which sees another path or scheme; not one of an app that has answered already.
        if outer is not None and outer.status is None:
            self.outer, self.touched, self.nonce_read = outer, outer.touched, outer.nonce_read
            self.allowed, self.standings = outer.allowed, outer.standings

    def speaks_for(self, scope: Scope, resolver: Resolver, app_root: str) -> bool:
        """Whether this is the Exchange that another Guard would make of `scope`.

        It is not where a mount, a method override or a middleware for proxies has changed the scope in between, nor
        where an app has answered already and another one is tried.
        """
        return (
            self.status is None
            and self._resolver is resolver
            and self._app_root == app_root
            and self.lines is scope["headers"]
            and all(self._scope.get(name) == scope.get(name) for name in _IDENTITY)
        )

    @property
    def root_path(self) -> str:
        """The root path that the server, or a mount, has set."""
        return self._scope.get("root_path") or ""

    @property
    def raw_path(self) -> bytes | None:
        """The path as sent, percent-encoded, where the server tells it."""
        return self._scope.get("raw_path")

    @property
    def query(self) -> bytes:
        """The query as sent, percent-encoded, without its question mark."""
        return self._scope.get("query_string") or b""

    @property
    def http_version(self) -> str:
        """`1.0`, `1.1`, `2` or `3`."""
        return self._scope.get("http_version") or "1.1"

    @lazy
    def identity(self) -> Peer:
        """The Peer, as the address resolver found it."""
        peer = self._resolver.resolve(self)
        self.client, self.secure, self.host = peer.client, peer.secure, peer.host  # they hide the lazy ones below
        return peer

    @lazy
    def client(self) -> Address | None:
        """The client's address: the nearest one that no trusted proxy vouches away. None on a unix socket."""
        return self.identity.client if self._resolver.trusts else parse_address(self.peer)

    @lazy
    def secure(self) -> bool:
        """Whether the client speaks https or wss."""
        return self.identity.secure if self._resolver.trusts else self.tls

    @lazy
    def host(self) -> Host | None:
        """The host that the client asked for, or None where the request names none that is well-formed."""
        return self.identity.host if self._resolver.trusts else self.named_host

    @property
    def peer(self) -> str | None:
        """The address of the other end of the socket, as the server wrote it."""
        return self.address[0] if self.address else None

    @property
    def on_unix_socket(self) -> bool:
        """Whether the other end is a unix socket, which has no address. Servers write None, "" or "unix:…"."""
        return not self.peer or self.peer.startswith("unix:")

    @property
    def readdressed(self) -> bool:
        """Whether the server has put another address in the place of the socket's.

        uvicorn, hypercorn and granian write port 0 beside what they took from a header. No socket has it: RFC 6335
        section 6 reserves it.
        """
        return self.address is not None and str(self.address[1]) == "0" and not self.on_unix_socket

    @property
    def prefix(self) -> str:
        """The root path in force: the app's own, else the server's."""
        return self._app_root or self.root_path

    @lazy
    def user(self) -> str | None:
        """Who the request is from, as an authentication outside has found out, or None."""
        return name_of(self._scope.get("user"))

    @lazy
    def routed(self) -> str:
        """The path as the framework will route it. Exemptions match this one."""
        routed, *others = routings(self.path, self.prefix)
        return "" if others else routed

    @lazy
    def paths(self) -> tuple[str, ...]:
        """Every path that the request may be served as. Refusing rules match any of them."""
        return possible_paths(self.path, (self.root_path, self._app_root))

    @property
    def nonce(self) -> str:
        """The nonce of this answer: 128 random bits in hexadecimal, made when first read, one for all Guards.

        Raises:
            RuntimeError: the answer has started, so that its header cannot name the nonce any more.
        """
        nonce = self.nonce_read
        if nonce is None:
            if self.status is not None:
                raise _too_late()
            self.touched = True
            nonce = self.nonce_read = self.outer.nonce if self.outer else urandom(_NONCE_BYTES).hex()
        return nonce

    def touch(self) -> None:
        """Say that what the endpoint asks for changes the headers of the answer.

        Raises:
            RuntimeError: the answer has started.
        """
        if self.status is not None:
            raise _too_late()
        self.touched = True

    @lazy
    def memory(self) -> dict[object, Any]:
        """What policies have to remember until the exchange is done, each under a key of its own: itself."""
        return {}

    def stand(self, standings: list[Any]) -> None:
        """Say how quotas stand, for everybody who tells of them: Guards further out, too."""
        exchange: Exchange | None = self
        while exchange is not None:
            exchange.standings, exchange = standings, exchange.outer

    def note(self, key: object, value: object) -> None:
        """Remember something until the answer, which it will change.

        Raises:
            RuntimeError: the answer has started.
        """
        self.touch()
        self.notes = {**self.notes, key: value}

    def lose(self) -> Mapping[str, Any]:
        """Become an exchange for a path that nobody serves, and return what changes in the scope.

        The new path is random and stands where the other stood below the root path, so that the app answers as it does
        to anybody who guesses.
        """
        root = self.prefix.rstrip("/")
        path = (root if f"{self.path}/".startswith(f"{root}/") else "") + "/" + urandom(_NONCE_BYTES).hex()
        changes = {"path": path, "raw_path": quote(path).encode()}
        self._scope.update(changes)
        self.path, self.unfound = path, True
        for name in ("routed", "paths"):
            self.__dict__.pop(name, None)
        return changes

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of all lines called `name`, in order."""
        if len(self.headers) == len(self.lines):  # no name comes twice
            return [self.headers[name]] if name in self.headers else []
        return [value for own, value in self.lines if own == name]


class UnreadExchange(Exchange):
    """The same, where most requests are judged without their headers: those are sorted when somebody asks."""

    @lazy
    def headers(self) -> dict[bytes, bytes]:
        """The last line of each name."""
        return dict(self.lines)

    @lazy
    def named_host(self) -> Host | None:
        """The Host header taken apart."""
        return HOSTS[self.headers.get(b"host", b"")]


def name_of(user: object) -> str | None:
    """Return the name of a user as Starlette's authentication leaves it in the scope, or None for one who has none."""
    if not getattr(user, "is_authenticated", False):
        return None
    try:
        return str(user.identity)  # type: ignore[attr-defined]  # whatever it is, it says so below
    except (AttributeError, NotImplementedError):  # Starlette's BaseUser leaves it open
        return getattr(user, "display_name", None)


def _too_late() -> RuntimeError:
    return RuntimeError(
        "this comes too late: the headers of the response have been sent; "
        "read the nonce, or change the policy, before the response starts"
    )


_IDENTITY: Final = ("type", "method", "path", "root_path", "scheme", "client")
