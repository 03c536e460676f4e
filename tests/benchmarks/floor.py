"""The honest floor: the work of everything that is on, in one hand-inlined middleware, with no regard for beauty.

It is as fast as we could make it, and tests/test_benchmarks.py compares it with secguard, answer by answer. What it
does not have is settings, and csp(request), which changes the policy of one response. A request of a browser takes the
first branch of every test.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address, ip_network
from math import ceil
from os import urandom
from socket import AF_INET, inet_pton
from time import time
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from anyio import current_time, move_on_after
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.benchmarks import by_hand
from tests.benchmarks.by_hand import LINES, SECURE_LINES, STARTS, Owned, always
from tests.benchmarks.origins import APP, EVERYDAY_BUT_VARY, GRANT, VARY, owning, preflight, settle_all
from tests.benchmarks.traffic import Line

ALLOWED_NAME: Final = "example.com"
MOST_LINES: Final = 100
MOST_BYTES: Final = 65536
MOST_BODY: Final = 10 * 1024 * 1024  # and of a websocket's message
PATIENCE: Final = 30.0  # seconds for the next part of a body,
RATE: Final = 500  # and so many bytes a second when they are over
AMOUNT: Final = 1_000_000_000  # requests in
WINDOW: Final = 60  # seconds
MOST_KEYS: Final = 100_000
_BITS: Final = 30
_MASK: Final = (1 << _BITS) - 1
_OVERFLOW: Final = b"\xff"
_LIMIT: Final = b"ratelimit"
_LIMIT_POLICY: Final[Line] = (_LIMIT + b"-policy", b'"default";q=%d;w=%d' % (AMOUNT, WINDOW))
_REMEMBERED: Final = 256
_DENIED: Final = (ip_network("192.0.2.0/24"), ip_network("2001:db8:bad::/48"))
_LONGEST_ADDRESS: Final = 45  # letters

_HOST: Final = re.compile(rb"([A-Za-z0-9_][A-Za-z0-9_.\-]*|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?")
_BAD_PATH: Final = re.compile(
    r"\A(?!/)|(?:/|%2f){2}|(?:/|%2f)(?:\.|%2e){1,2}(?:/|%2f|;|%3b|\Z)|\\|%5c|[\x00-\x1f\x7f-\x9f]|%[01][0-9a-f]|%7f"
    "|\N{REPLACEMENT CHARACTER}|[\ud800-\udfff]|%ef%bf%bd",
    re.IGNORECASE,
)
_TRACES: Final = re.compile(
    rb"forwarded|via|x-real-ip|x-scheme|x-url-scheme|front-end-https|x-arr-ssl|x-client-ip|x-cluster-client-ip"
    rb"|true-client-ip|cf-connecting-ip|cf-ray|cf-visitor|fastly-client-ip|cdn-loop|cloudfront-forwarded-proto"
    rb"|x-forwarded-.*"
)
_EXEMPT: Final = re.compile(r"/\.well-known/acme-challenge(?:/|\Z)")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_READING: Final = _SAFE - {"OPTIONS"}  # which may be a preflight
_ACTING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_METHODS: Final = _SAFE | _ACTING
_CLOSE: Final[Line] = (b"connection", b"close")
_REASONS: Final = {
    307: b"Temporary Redirect",
    400: b"Bad Request",
    403: b"Forbidden",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: HTTPStatus(413).phrase.encode(),  # Python 3.13 has the newer one
    431: b"Request Header Fields Too Large",
}
_ERROR: Final = b"Internal Server Error\n"

_CSP: Final = b"content-security-policy"
_POLICY: Final = (  # on https; the last directive is sent there only
    b"default-src 'none'; script-src 'self' 'nonce'; style-src 'self' 'nonce'; img-src 'self' data: blob:; "
    b"media-src 'self'; font-src 'self'; connect-src 'self'; frame-src 'self'; worker-src 'self' blob:; "
    b"manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'; "
    b"upgrade-insecure-requests"
)
_SECURE_PARTS: Final = _POLICY.replace(b"'nonce'", b"'nonce-|'").split(b"|")
_PARTS: Final = [part.removesuffix(b"; upgrade-insecure-requests") for part in _SECURE_PARTS]
_OUTSIDE: Final[list[Line]] = [*LINES, (_CSP, b"".join(_PARTS).replace(b" 'nonce-'", b""))]  # of cors
_SECURE_OUTSIDE: Final[list[Line]] = [*SECURE_LINES, (_CSP, b"".join(_SECURE_PARTS).replace(b" 'nonce-'", b""))]
READY: Final[list[Line]] = [VARY, *_OUTSIDE]
SECURE_READY: Final[list[Line]] = [VARY, *_SECURE_OUTSIDE]
_READY_FOR: Final[dict[bytes | None, list[Line]]] = {None: READY, APP: [*GRANT, *READY]}
_SECURE_READY_FOR: Final[dict[bytes | None, list[Line]]] = {None: SECURE_READY, APP: [*GRANT, *SECURE_READY]}
_POLICIES: Final = frozenset({_CSP, _CSP + b"-report-only"})
_LIMITS: Final = dict.fromkeys((_LIMIT, _LIMIT_POLICY[0]), lambda _: False)
OWNED: Final[Owned] = owning({**by_hand.OWNED, **dict.fromkeys(_POLICIES, always), **_LIMITS})
_CACHING: Final = b"cache-control"
_EVERYDAY_BUT_CACHING: Final = EVERYDAY_BUT_VARY - {_CACHING}
_NO_STORE: Final[Line] = (_CACHING, b"no-store")


@dataclass(slots=True)
class _Body:
    """What has come of a body so far, and how long that took."""

    received: int = 0
    waited: float = 0.0
    complete: bool = False


class _Reply(NamedTuple):
    """What is answered in the app's place; what stands outside of cors answers without its lines."""

    status: int
    lines: list[Line]
    body: bytes
    is_outside: bool = False


def _refusal(status: int, *lines: Line, is_outside: bool = False) -> _Reply:
    return _Reply(status, [*lines], _REASONS[status] + b"\n", is_outside)


class _State(dict[str, Any]):
    """The state of a request, with what was there in it: it makes the nonce when that is read."""

    __slots__ = ("body", "held", "limits", "nonce", "refused", "started")
    limits: list[Line] | None
    body: _Body | None
    held: dict[str, Any]
    nonce: str | None
    refused: bool
    started: bool

    def __missing__(self, name: str) -> Any:
        if name != "csp_nonce":
            return self.held[name]
        if self.nonce is None:
            if self.started:
                raise RuntimeError("the nonce was read after the response had started")
            self.nonce = urandom(16).hex()
        return self.nonce

    def __setitem__(self, name: str, value: Any) -> None:
        dict.__setitem__(self, name, value)
        self.held[name] = value

    def __delitem__(self, name: str) -> None:
        dict.__delitem__(self, name)
        self.held.pop(name, None)


class HonestFloor:
    """Headers, a policy with its nonce, hygiene, CORS, hosts, https, addresses, a rate limit, the origin, limits."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.welcome: set[bytes] = set()  # Host values that passed, a few
        self.known: set[str] = set()  # addresses of clients that passed, as the server writes them, a few
        self.serves_tls = False
        self.young: dict[bytes, int] = {}  # counts of this window, and above them those of the last
        self.old: dict[bytes, int] = {}
        self.held = 0
        self.ends = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        lines = scope["headers"]
        if type(lines) is not list:
            lines = scope["headers"] = list(lines)
        secure = scope.get("scheme") in {"https", "wss"}
        fields = dict(lines)
        readies = _SECURE_READY_FOR if secure else _READY_FOR
        ready = readies.get(fields.get(b"origin")) or readies[None]
        state = _State()  # without an __init__, which would cost more than what it is there for
        state.held = held if (held := scope.get("state")) is not None else {}
        if held:
            state.update(held)
        state.nonce = state.body = state.limits = None
        state.started = state.refused = False
        scope["state"] = state

        def forward(message: Message) -> Awaitable[None]:
            if state.refused:
                return _discard(message)
            if message["type"] in STARTS:
                state.started = True
                headers = message.get("headers", ())
                if type(headers) is not list:
                    headers = list(headers)
                if state.nonce:
                    headers = _with_nonce(headers, ready, secure, state.nonce, message.get("status"))
                elif message.get("status") == 304:
                    headers = settle_all(headers, ready[:-1], OWNED, _POLICIES)
                else:
                    for name, _ in headers:
                        if name not in EVERYDAY_BUT_VARY and name.lower() in OWNED:
                            headers = settle_all(headers, ready, OWNED, _POLICIES)
                            break
                    else:
                        headers = headers + ready  # half the cost of unpacking both
                if state.limits is not None:
                    headers += state.limits
                message = message.copy() if type(message) is dict else dict(message)
                message["headers"] = headers
            return send(message)

        path = scope["path"]
        usual = (
            len(lines) == len(fields) <= MOST_LINES
            and len(b"".join([*fields, *fields.values()])) <= MOST_BYTES
            and b"transfer-encoding" not in fields
            and fields.get(b"host") in self.welcome
            and path
            and path[0] == "/"
            and "//" not in path
            and "/." not in path
            and "%" not in path
            and "\\" not in path
            and path.isascii()
            and path.isprintable()
            and secure is self.serves_tls
            and (
                scope.get("method") in _READING
                or (fields.get(b"sec-fetch-site") == b"same-origin" and scope.get("method") in _ACTING)
            )
            and b"content-length" not in fields
            and (client := scope.get("client"))
            and client[0] in self.known
        )
        reply = None if usual else self.examine(scope, lines, fields, path, secure)
        if reply is None:
            now = time()
            if now >= self.ends:
                self.turn(now)
            try:
                key = inet_pton(AF_INET, scope["client"][0])
            except OSError:
                address = _address(scope)
                key = address.packed[:8] if address else b""
            packed = self.young.get(key, -1)
            if 0 <= packed <= _MASK:
                left = AMOUNT - packed - 1
            else:
                last, this = (packed >> _BITS, packed & _MASK) if packed > 0 else (self.old.get(key, 0) & _MASK, 0)
                left = AMOUNT - int(last * min((self.ends - now) / WINDOW, 1.0)) - this - 1
                if packed < 0:
                    if self.held >= MOST_KEYS and key not in self.old:
                        key = _OVERFLOW
                    self.held += key not in self.old
                    self.old.pop(key, None)
                    packed = last << _BITS
            if left >= 0:
                self.young[key] = packed + 1
            state.limits = [_LIMIT_POLICY, (_LIMIT, b'"default";r=%d;t=%d' % (left, ceil(self.ends - now)))]
            if not usual:
                reply = self.judge(scope, fields, secure)
        if reply is not None:
            if reply.is_outside:
                own = [*reply.lines, *(_SECURE_OUTSIDE if secure else _OUTSIDE)]
                await _answer(scope, send, reply.status, own, reply.body)
            else:
                await _answer(scope, forward, reply.status, reply.lines, reply.body)
            return
        try:
            await self.app(scope, partial(_take, state, scope, receive, send, forward), forward)
        except Exception:
            if state.refused:
                return
            if not state.started and scope["type"] == "http":
                await _answer(scope, forward, 500, [], _ERROR)
            raise

    def examine(
        self, scope: Scope, lines: list[Line], fields: dict[bytes, bytes], path: str, secure: bool
    ) -> _Reply | None:
        """Take the long way: decide exactly what the short way could not."""
        host, origin, method = fields.get(b"host"), fields.get(b"origin"), scope.get("method", "GET")
        name = parse_host(host or b"")
        if len(lines) > MOST_LINES or sum(len(name) + len(value) for name, value in lines) > MOST_BYTES:
            return _refusal(431, is_outside=True)
        if (
            (len(fields) < len(lines) and _repeats(lines))
            or (b"transfer-encoding" in fields and b"content-length" in fields)
            or name is None
            or (_BAD_PATH.search(path) and not (path == "*" and method == "OPTIONS"))
        ):
            return _refusal(400, is_outside=True)
        if method == "OPTIONS" and origin is not None and b"access-control-request-method" in fields:
            return _Reply(*preflight(lines, origin), is_outside=True)
        if not f".{name.partition(':')[0]}".endswith(f".{ALLOWED_NAME}"):
            return _refusal(400)
        if host is not None and len(self.welcome) < _REMEMBERED:
            self.welcome.add(host)
        straight = not any(map(_TRACES.fullmatch, fields))
        client = _address(scope)
        if secure:
            self.serves_tls = self.serves_tls or straight
        elif self.serves_tls and straight and not _EXEMPT.match(path) and client and client.is_global:
            target = quote(scope["raw_path"], safe="%:/[]@!$&'()*+,;=~") + "?" + scope["query_string"].decode()
            return _refusal(307, (b"location", f"https://{name}{target}".encode()))
        if client is None or any(client in network for network in _DENIED):
            return _refusal(403)
        if len(self.known) >= _REMEMBERED:
            self.known.clear()
        if len(scope["client"][0]) <= _LONGEST_ADDRESS:
            self.known.add(scope["client"][0])
        return None

    def turn(self, now: float) -> None:
        """Begin another window of the limit."""
        end = (now // WINDOW + 1) * WINDOW
        self.old = self.young if end - self.ends <= WINDOW else {}
        self.young, self.ends, self.held = {}, end, len(self.old)

    def judge(self, scope: Scope, fields: dict[bytes, bytes], secure: bool) -> _Reply | None:
        """Decide what stands behind the limit."""
        method, name = scope.get("method", "GET"), parse_host(fields.get(b"host", b"")) or ""
        if (method not in _SAFE or scope["type"] == "websocket") and _acts_from_elsewhere(scope, fields, name, secure):
            return _refusal(403)
        if method not in _METHODS:
            return _refusal(405, (b"allow", ", ".join(sorted(_METHODS)).encode()))
        length = fields.get(b"content-length")
        if length is not None and scope["type"] == "http":
            status = 400 if not length.isdigit() else 413 if int(length[:40]) > MOST_BODY else 0
            if status:
                return _refusal(status, *_closing(scope))
        return None


async def _take(state: _State, scope: Scope, receive: Receive, send: Send, forward: Send) -> Message:
    """Receive what may come, and no more."""
    if state.refused:
        return _gone(scope)
    if scope["type"] == "websocket":
        message = await receive()
        said = message.get("bytes") or b""
        if (text := message.get("text")) and len(text) * 4 > MOST_BODY:
            said = text.encode()
        if len(said) > MOST_BODY:
            state.refused = True
            await send({"type": "websocket.close", "code": 1009, "reason": ""})
            return _gone(scope)
        return message
    body = state.body = state.body or _Body()
    if body.complete:
        return await receive()
    began, came = current_time(), False
    message = _gone(scope)
    with move_on_after(max(0.0, min(PATIENCE, PATIENCE + body.received / RATE - body.waited))):
        message = await receive()
        came = True
    body.waited += current_time() - began
    body.received += len(message.get("body", b""))
    body.complete = not message.get("more_body")
    if came and body.received <= MOST_BODY:
        return message
    if not state.started:
        status = 413 if came else 408
        await _answer(scope, forward, status, _closing(scope), _REASONS[status] + b"\n")
    state.refused = True
    return _gone(scope)


def _gone(scope: Scope) -> Message:
    return {"type": f"{scope['type']}.disconnect", "code": 1006}


def _closing(scope: Scope) -> list[Line]:
    return [_CLOSE] if scope["http_version"].startswith("1") else []


async def _discard(message: Message) -> None:
    """Take what an app sends after its client was refused."""


def _with_nonce(headers: list[Line], ready: list[Line], secure: bool, nonce: str, status: int | None) -> list[Line]:
    """Send the policy that names the nonce, unless it is a 304, and keep the response out of shared caches."""
    ready = ready[:-1]
    if status != 304:
        ready.append((_CSP, nonce.encode().join(_SECURE_PARTS if secure else _PARTS)))
    for name, _ in headers:
        if name not in _EVERYDAY_BUT_CACHING and ((lower := name.lower()) in OWNED or lower == _CACHING):
            return _kept_private(settle_all(headers, ready, OWNED, _POLICIES))
    ready.append(_NO_STORE)
    return headers + ready


def _kept_private(headers: list[Line]) -> list[Line]:
    held = [value for name, value in headers if name.lower() == _CACHING]
    if not held:
        return [*headers, _NO_STORE]
    said = [element for value in held for part in value.split(b",") if (element := part.strip(b" \t"))]
    kept = [element for element in said if element.partition(b"=")[0].lower() not in {b"public", b"s-maxage"}]
    words = {element.lower() for element in kept}
    if b"private" not in words and (b"no-store" not in words or b"must-understand" in words):
        kept.append(b"private")
    if kept == said:
        return headers
    return [*(line for line in headers if line[0].lower() != _CACHING), (_CACHING, b", ".join(kept))]


def _acts_from_elsewhere(scope: Scope, fields: dict[bytes, bytes], host: str, secure: bool) -> bool:
    site, origin = fields.get(b"sec-fetch-site"), fields.get(b"origin")
    if origin == APP:
        return False
    if site is not None and (site not in {b"same-origin", b"none"} or scope["type"] == "http"):
        return site not in {b"same-origin", b"none"}
    if origin is None:
        return False
    scheme, _, place = origin.decode("latin-1").partition("://")
    name, _, port = host.partition(":")
    own = name if port in {"", {"https": "443", "http": "80"}.get(scheme)} else host
    return place != own or scheme not in ({"https"} if secure else {"https", "http"})


def _address(scope: Scope) -> IPv4Address | IPv6Address | None:
    """Return the client's address, without a zone id, and as IPv4 where it was mapped."""
    client = scope.get("client")
    bare = ((client and client[0]) or "").partition("%")[0]
    if len(bare) > _LONGEST_ADDRESS:
        return None
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


async def _answer(scope: Scope, send: Send, status: int, lines: list[Line], body: bytes) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", ()):
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    prefix = "http.response" if scope["type"] == "http" else "websocket.http.response"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        *lines,
        *([_NO_STORE] if status != 200 else []),  # which only a preflight gets
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": f"{prefix}.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": b"" if scope.get("method") == "HEAD" else body})


def _repeats(lines: list[Line]) -> bool:
    singles = [
        name
        for name, _ in lines
        if name in {b"host", b"origin", b"content-length", b"content-type"} or name.startswith(b"sec-fetch-")
    ]
    return len(singles) > len(set(singles))


def parse_host(value: bytes) -> str | None:
    """Return the host in lower case, with its port, or None where it is not `host[:port]`."""
    match = _HOST.fullmatch(value) if len(value) < 260 else None
    if match is None or b".." in match[1] or len(match[1]) > 254 or (match[3] and not 0 < int(match[3]) < 65536):
        return None
    name = match[1].decode().lower().removesuffix(".")
    if match[2]:
        try:
            name = f"[{IPv6Address(match[2].decode())}]"
        except AddressValueError:
            return None
    return f"{name}:{int(match[3])}" if match[3] else name
