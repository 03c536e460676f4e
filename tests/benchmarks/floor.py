"""The honest floor: the work of everything that is on, in one hand-inlined middleware, with no regard for beauty.

It is as fast as we could make it, and nothing is left out: tests/test_benchmarks.py compares it with secguard, answer
by answer. What it does not have is settings. A request of a browser takes the first branch of every test.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from ipaddress import AddressValueError, IPv6Address, ip_address
from typing import Final
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.benchmarks.by_hand import EVERYDAY, LINES, OWNED, SECURE_LINES, STARTS, settle
from tests.benchmarks.traffic import Line

ALLOWED_NAME: Final = "example.com"
MOST_LINES: Final = 100
MOST_BYTES: Final = 65536
_REMEMBERED: Final = 256

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
_REASONS: Final = {307: b"Temporary Redirect", 400: b"Bad Request", 431: b"Request Header Fields Too Large"}
_ERROR: Final = b"Internal Server Error\n"


class HonestFloor:
    """Headers, request hygiene, an allow-list of example.com and the names below it, and the https redirect."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.welcome: set[bytes] = set()  # Host values that passed, a few
        self.serves_tls = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        lines = scope["headers"]
        if type(lines) is not list:
            lines = scope["headers"] = list(lines)
        secure = scope.get("scheme") in {"https", "wss"}
        ready = SECURE_LINES if secure else LINES
        started = False

        def forward(message: Message) -> Awaitable[None]:
            nonlocal started
            if message["type"] in STARTS:
                started = True
                headers = message.get("headers", ())
                if type(headers) is not list:
                    headers = list(headers)
                for name, _ in headers:
                    if name not in EVERYDAY and name.lower() in OWNED:
                        headers = settle(headers, ready)
                        break
                else:
                    headers = headers + ready  # half the cost of unpacking both
                message = message.copy() if type(message) is dict else dict(message)
                message["headers"] = headers
            return send(message)

        fields = dict(lines)
        path = scope["path"]
        if not (
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
        ) and (reply := self.examine(scope, lines, fields, path, secure)):
            await _answer(scope, forward, *reply)
            return
        try:
            await self.app(scope, receive, forward)
        except Exception:
            if not started and scope["type"] == "http":
                await _answer(scope, forward, 500, [], _ERROR)
            raise

    def examine(
        self, scope: Scope, lines: list[Line], fields: dict[bytes, bytes], path: str, secure: bool
    ) -> tuple[int, list[Line], bytes] | None:
        """Take the long way: decide exactly what the short way could not."""
        host = fields.get(b"host")
        name = parse_host(host or b"")
        status = 0
        if len(lines) > MOST_LINES or sum(len(name) + len(value) for name, value in lines) > MOST_BYTES:
            status = 431
        elif (
            (len(fields) < len(lines) and _repeats(lines))
            or (b"transfer-encoding" in fields and b"content-length" in fields)
            or name is None
            or (_BAD_PATH.search(path) and not (path == "*" and scope["method"] == "OPTIONS"))
            or not f".{name.partition(':')[0]}".endswith(f".{ALLOWED_NAME}")
        ):
            status = 400
        if status:
            return status, [], _REASONS[status] + b"\n"
        if host is not None and len(self.welcome) < _REMEMBERED:
            self.welcome.add(host)
        straight = not any(map(_TRACES.fullmatch, fields))
        if secure:
            self.serves_tls = self.serves_tls or straight
        elif self.serves_tls and straight and not _EXEMPT.match(path) and _is_from_afar(scope):
            target = quote(scope["raw_path"], safe="%:/[]@!$&'()*+,;=~") + "?" + scope["query_string"].decode()
            return 307, [(b"location", f"https://{name}{target}".encode())], _REASONS[307] + b"\n"
        return None


def _is_from_afar(scope: Scope) -> bool:
    client = scope.get("client")
    return client is not None and ip_address(client[0]).is_global


async def _answer(scope: Scope, send: Send, status: int, lines: list[Line], body: bytes) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", ()):
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    prefix = "http.response" if scope["type"] == "http" else "websocket.http.response"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        *lines,
        (b"cache-control", b"no-store"),
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
