"""What the tests share: scopes, an in-memory server, a sink that remembers, and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import pytest
from starlette.types import ASGIApp

from secguard.events import Event
from secguard.policy import Direct, Exchange, Resolver

Line: TypeAlias = tuple[bytes, bytes]
Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]

CLIENT = ("203.0.113.9", 50000)
HOST = b"example.com"
PATIENCE = 10.0  # seconds until a test that hangs is told so


def http_scope(
    path: str = "/",
    headers: Iterable[Line] = (),
    method: str = "GET",
    scheme: str = "https",
    client: tuple[str, Any] | None = CLIENT,
    *,
    host: bytes | None = HOST,
    **more: Any,
) -> Scope:
    """The scope of a request as servers make it. A Host line comes first unless `headers` has one or `host` is None."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "root_path": "",
        "headers": _with_host(headers, host),
        "client": client,
        "server": ("192.0.2.1", 443),
        "extensions": {},
        "state": {},
        **more,
    }


def websocket_scope(
    path: str = "/",
    headers: Iterable[Line] = (),
    scheme: str = "wss",
    client: tuple[str, Any] | None = CLIENT,
    *,
    denial: bool = True,
    host: bytes | None = HOST,
    **more: Any,
) -> Scope:
    """The scope of a websocket handshake, from a server with or without the denial response extension."""
    scope = http_scope(path, headers, "GET", scheme, client, host=host)
    del scope["method"]
    extensions: dict[str, Any] = {"websocket.http.response": {}} if denial else {}
    return {**scope, "type": "websocket", "subprotocols": [], "extensions": extensions, **more}


def _with_host(headers: Iterable[Line], host: bytes | None) -> list[Line]:
    lines = list(headers)
    named = any(name == b"host" for name, _ in lines)
    return lines if named or host is None else [(b"host", host), *lines]


def exchange(
    path: str = "/",
    headers: Iterable[Line] = (),
    *,
    websocket: bool = False,
    resolver: Resolver | None = None,
    app_root: str = "",
    **more: Any,
) -> Exchange:
    """One request as policies see it; `more` goes into its scope."""
    scope = websocket_scope(path, headers, **more) if websocket else http_scope(path, headers, **more)
    return Exchange(scope, resolver or Direct(), app_root)


@dataclass
class Sent:
    """What a server was sent during one exchange, and what the app raised in the end."""

    messages: list[Message] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.messages]

    @property
    def starts(self) -> list[Message]:
        return [message for message in self.messages if message["type"] in STARTS]

    @property
    def start(self) -> Message:
        (start,) = self.starts
        return start

    @property
    def status(self) -> int:
        return int(self.start.get("status", 101))

    @property
    def headers(self) -> list[Line]:
        headers: list[Line] = self.start["headers"]
        return headers

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages if message["type"].endswith(".body"))

    @property
    def closed(self) -> int | None:
        """The code that a websocket was closed with."""
        codes = [message.get("code", 1000) for message in self.messages if message["type"] == "websocket.close"]
        return codes[0] if codes else None

    def values(self, name: bytes) -> list[bytes]:
        return [value for own, value in self.headers if own.lower() == name]

    def header(self, name: bytes) -> bytes | None:
        """The value of the one line called `name`; a second line fails the test."""
        values = self.values(name)
        assert len(values) <= 1, f"{name!r} was sent {len(values)} times"
        return values[0] if values else None


STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
_ENDS = ("http.response.body", "websocket.http.response.body")


async def serve(app: ASGIApp, scope: Scope, incoming: Sequence[Message] = ()) -> Sent:
    """Be the server of one exchange; on a running loop. What the app raises is in `error`.

    Without `incoming`, a request has an empty body, and a websocket just connects. When that is used up, a websocket's
    client is gone, and a request's stays until the response is complete.
    """
    websocket = scope["type"] == "websocket"
    waiting = list(incoming) or [{"type": "websocket.connect"} if websocket else {"type": "http.request", "body": b""}]
    sent = Sent()
    complete = asyncio.Event()

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        if websocket:
            return {"type": "websocket.disconnect", "code": 1005}
        await complete.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.messages.append(message)
        if message["type"] in _ENDS and not message.get("more_body"):
            complete.set()

    try:
        async with asyncio.timeout(PATIENCE):
            await app(scope, receive, send)
    except Exception as error:
        sent.error = error
    return sent


def attempt(app: ASGIApp, scope: Scope, incoming: Sequence[Message] = ()) -> Sent:
    """Serve one exchange from beginning to end; what the app raised is in `error`."""
    return asyncio.run(serve(app, scope, incoming))


def drive(app: ASGIApp, scope: Scope, incoming: Sequence[Message] = ()) -> Sent:
    """Serve one exchange from beginning to end, and raise what the app raised."""
    sent = attempt(app, scope, incoming)
    if sent.error is not None:
        raise sent.error
    return sent


def step_through(app: ASGIApp, scope: Scope, incoming: Sequence[Message]) -> Sent:
    """Serve one exchange without an event loop: for apps that wait for nothing but `asyncio.sleep(0)`, and fast."""
    waiting = list(incoming)
    sent = Sent()

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": f"{scope['type']}.disconnect"}

    async def send(message: Message) -> None:
        sent.messages.append(message)

    async def whole() -> None:
        await app(scope, receive, send)

    stepped = whole()
    try:
        while True:
            stepped.send(None)
    except StopIteration:
        pass
    except Exception as error:
        sent.error = error.with_traceback(None)  # its frames hold `sent`: that would be a cycle of our own
    return sent


@dataclass
class EventLog:
    """A sink that keeps what it is handed."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def codes(self) -> list[str]:
        return [event.code for event in self.events]

    @property
    def told(self) -> list[tuple[str, str]]:
        """Action and code of each event."""
        return [(event.action, event.code) for event in self.events]

    @property
    def last(self) -> Event:
        return self.events[-1]


@dataclass
class Clock:
    """Time that stands still until it is moved."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


def clock(now: float = 1_700_000_000.0) -> Clock:
    return Clock(now)


async def plain(scope: Scope, receive: Any, send: Any) -> None:
    """The smallest app: `200 ok`, or an accepted websocket."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept", "headers": []})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok"})


def answering(status: int = 200, headers: Iterable[Line] = (), body: bytes = b"ok") -> ASGIApp:
    """An app that answers every request alike."""
    lines = list(headers)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(lines)})
        await send({"type": "http.response.body", "body": body})

    return app


def skip_at_home(reason: str) -> NoReturn:
    """Skip for this reason, or fail in CI, where everything ought to be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
