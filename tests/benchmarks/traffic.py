"""Requests as a browser sends them and a server hands them on, and the shortest way to drive an app with them.

The browser is that of somebody signed in: its cookie holds a session that Starlette's SessionMiddleware accepts.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from itsdangerous import TimestampSigner
from starlette.types import ASGIApp, Message, Scope

Line: TypeAlias = tuple[bytes, bytes]
Batch: TypeAlias = Callable[[ASGIApp, list[Scope]], None]

_SECONDS = re.compile(rb";t=[0-9]+")  # which tick between two requests

SESSION_KEY = "a key for measurements only"
_SESSION = TimestampSigner(SESSION_KEY).sign(b64encode(json.dumps({"user": 17, "csrf": "f3a9c1d2"}).encode()))

BROWSER_LINES: tuple[Line, ...] = (
    (b"host", b"www.example.com"),
    (b"connection", b"keep-alive"),
    (b"sec-ch-ua", b'"Chromium";v="156", "Not.A/Brand";v="8"'),
    (b"sec-ch-ua-mobile", b"?0"),
    (b"sec-ch-ua-platform", b'"Linux"'),
    (b"upgrade-insecure-requests", b"1"),
    (
        b"user-agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
    ),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    (b"sec-fetch-site", b"none"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-user", b"?1"),
    (b"sec-fetch-dest", b"document"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"accept-language", b"en-GB,en;q=0.9"),
    (b"cookie", b"theme=dark; _ga=GA1.1.1234567890.1234567890; session=" + _SESSION),
)


@dataclass(frozen=True)
class Traffic:
    """One request, made anew as often as it is asked for."""

    path: str = "/articles/latest"
    lines: tuple[Line, ...] = BROWSER_LINES
    scheme: str = "https"
    client: str | None = "203.0.113.9"
    method: str = "GET"

    @cached_property
    def _head(self) -> bytes:
        return b"".join(name + value for name, value in self.lines)

    @cached_property
    def _cuts(self) -> tuple[tuple[int, int, int], ...]:
        cuts, at = [], 0
        for name, value in self.lines:
            cuts.append((at, at + len(name), at + len(name) + len(value)))
            at = cuts[-1][2]
        return tuple(cuts)

    def scope(self) -> Scope:
        """Make the scope of one request. Its strings are new ones, whose hashes nobody has computed yet."""
        head, raw_path = self._head, self.path.encode()
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("192.0.2.1", 443),
            "client": (self.client, 50000) if self.client is not None else None,
            "scheme": self.scheme,
            "method": self.method,
            "root_path": "",
            "path": raw_path.decode(),
            "raw_path": raw_path,
            "query_string": b"page=2",
            "headers": [(head[start:end], head[end:stop]) for start, end, stop in self._cuts],
            "state": {},
        }

    def scopes(self, count: int) -> list[Scope]:
        """Make many, so that making them is not measured."""
        return [self.scope() for _ in range(count)]

    @property
    def request(self) -> bytes:
        """The request as it goes over a socket."""
        lines = b"".join(b"%b: %b\r\n" % line for line in self.lines)
        return b"%b %b?page=2 HTTP/1.1\r\n%b\r\n" % (self.method.encode(), self.path.encode(), lines)


BROWSER = Traffic()
ALLOWED = Traffic(lines=(*BROWSER_LINES, (b"origin", b"https://app.example.com")))
PROXIED = Traffic(
    lines=(*BROWSER_LINES, (b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https")),
    scheme="http",
    client="10.0.0.2",
)


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    pass


async def _serve(app: ASGIApp, scopes: list[Scope]) -> None:
    while scopes:
        await app(scopes.pop(), _receive, _send)


def _step(app: ASGIApp, scopes: list[Scope]) -> None:
    """Serve without an event loop, which an app that never really waits does not need."""
    coroutine = _serve(app, scopes)
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("the app waits")


def batch_for(app: ASGIApp, traffic: Traffic) -> Batch:
    """Return what serves many requests at the least cost: without an event loop wherever that is possible."""
    try:
        _step(app, traffic.scopes(1))
    except RuntimeError:  # anyio's "no event loop" is one too
        loop = asyncio.new_event_loop()
        return lambda app, scopes: loop.run_until_complete(_serve(app, scopes))
    return _step


def answer(app: ASGIApp, scope: Scope) -> list[Message]:
    """Serve one request on an event loop, and return what was sent."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def serve() -> None:
        await app(scope, _receive, send)

    asyncio.run(serve())
    return sent


def headers_of(sent: list[Message]) -> list[Line]:
    """Return the header lines of an answer, names in lower case, sorted."""
    headers: list[Any] = sent[0]["headers"]
    return sorted((name.lower(), _SECONDS.sub(b";t=", value)) for name, value in headers)
