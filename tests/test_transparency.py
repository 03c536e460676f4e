"""Law 2 with real frameworks: what an app does behind a Guard is what it does without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Send

from tests import streams
from tests.helpers import STARTS, Line, Message, Scope, Sent, http_scope, serve, websocket_scope

ALL_EXTENSIONS: dict[str, Any] = {
    "http.response.pathsend": {},
    "http.response.trailers": {},
    "http.response.early_hint": {},
    "http.response.zerocopysend": {},
    "http.response.push": {},
    "http.response.debug": {},
    "x.never-heard-of": {},
}
OWNED = {
    b"x-frame-options",
    b"x-content-type-options",
    b"strict-transport-security",
    b"referrer-policy",
    b"permissions-policy",
    b"cross-origin-opener-policy",
    b"cross-origin-resource-policy",
    b"origin-agent-cluster",
    b"cache-control",
}

APPS: dict[str, Callable[[], ASGIApp]] = {
    "starlette": lambda: Starlette(routes=streams.routes()),
    "fastapi": streams.fastapi,
}
POSTED: list[Message] = [
    {"type": "http.request", "body": b"one ", "more_body": True},
    {"type": "http.request", "body": b"two", "more_body": False},
]
SAID: list[Message] = [
    {"type": "websocket.connect"},
    {"type": "websocket.receive", "text": "hello"},
    {"type": "websocket.receive", "text": "bye"},
]
EXCHANGES: dict[str, tuple[Callable[[], Scope], list[Message]]] = {
    "streaming": (lambda: http_scope("/stream"), []),
    "streaming, to an old server": (lambda: http_scope("/stream", asgi={"version": "3.0", "spec_version": "2.0"}), []),
    "server-sent events": (lambda: http_scope("/events"), []),
    "a background task": (lambda: http_scope("/background"), []),
    "cookies": (lambda: http_scope("/cookies"), []),
    "a file": (lambda: http_scope("/file"), []),
    "a file, by its path": (lambda: http_scope("/file", extensions=ALL_EXTENSIONS), []),
    "part of a file": (lambda: http_scope("/file", [(b"range", b"bytes=0-9")]), []),
    "the head of a file": (lambda: http_scope("/file", method="HEAD"), []),
    "a redirect": (lambda: http_scope("/redirect"), []),
    "no content": (lambda: http_scope("/nothing"), []),
    "no page": (lambda: http_scope("/nowhere"), []),
    "a wrong method": (lambda: http_scope("/stream", method="DELETE"), []),
    "a posted body": (lambda: http_scope("/echo", method="POST"), POSTED),
    "no extensions": (lambda: http_scope("/extensions/"), []),
    "all extensions": (lambda: http_scope("/extensions/", extensions=ALL_EXTENSIONS), []),
    "an error": (lambda: http_scope("/raising"), []),
    "an error in the midst of a stream": (lambda: http_scope("/raising_late"), []),
    "a conversation": (lambda: websocket_scope("/talk", subprotocols=["chat"]), SAID),
    "a conversation that is broken off": (lambda: websocket_scope("/talk"), SAID[:2]),
    "a denied websocket": (lambda: websocket_scope("/deny"), []),
    "a websocket that is hung up on": (lambda: websocket_scope("/hang_up"), []),
    "no websocket": (lambda: websocket_scope("/nowhere"), []),
}


def foreign(headers: list[Line]) -> list[Line]:
    return [line for line in headers if line[0].lower() not in OWNED]


def same(guarded: Sent, bare: Sent) -> None:
    """Fail unless the same was sent, except for the headers that the policies own."""
    assert guarded.types == bare.types
    for ours, theirs in zip(guarded.messages, bare.messages, strict=True):
        if theirs["type"] in STARTS:
            assert foreign(ours["headers"]) == foreign(theirs.get("headers", []))
            assert {**ours, "headers": None} == {**theirs, "headers": None}
        else:
            assert ours == theirs
    assert (type(guarded.error), str(guarded.error)) == (type(bare.error), str(bare.error))


@pytest.mark.parametrize("make", APPS.values(), ids=APPS)
@pytest.mark.parametrize(("scope", "incoming"), EXCHANGES.values(), ids=EXCHANGES)
def test_a_guarded_app_sends_what_a_bare_one_does(
    make: Callable[[], ASGIApp], scope: Callable[[], Scope], incoming: list[Message]
) -> None:
    app = make()
    told: list[list[str]] = []
    sent: list[Sent] = []
    for tried in (app, streams.guard(app), streams.guard(streams.guard(app))):
        streams.told.clear()
        sent.append(asyncio.run(serve(tried, scope(), incoming)))
        told.append(list(streams.told))
    bare, once, twice = sent
    same(once, bare)
    same(twice, bare)
    assert told[1] == told[2] == told[0]
    if once.starts:
        assert len(once.values(b"x-content-type-options")) == 1


def test_pathsend_passes_with_the_headers_of_the_file() -> None:
    sent = asyncio.run(serve(streams.guarded, http_scope("/file", extensions=ALL_EXTENSIONS)))
    assert sent.types == ["http.response.start", "http.response.pathsend"]
    assert sent.messages[1]["path"] == str(streams.FILE)
    assert sent.header(b"content-length") == str(streams.FILE.stat().st_size).encode()


# --- as it happens ---


def test_a_chunk_leaves_as_soon_as_it_is_there() -> None:
    """Nothing is held back: every chunk is sent before the next one is made."""
    order: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for at in range(3):
            order.append(f"made {at}")
            await send({"type": "http.response.body", "body": b"%d" % at, "more_body": at < 2})

    async def run() -> None:
        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            order.append(f"sent {message.get('body', b'start').decode()}")

        await streams.guard(app)(http_scope(), receive, send)

    asyncio.run(run())
    assert order == ["sent start", "made 0", "sent 0", "made 1", "sent 1", "made 2", "sent 2"]


def leave_early(app: ASGIApp, path: str, *, raises: bool) -> list[str]:
    """Be a client that leaves after the second chunk, and a server that tells so in one way or the other."""
    streams.told.clear()

    async def run() -> None:
        gone = asyncio.Event()
        chunks = 0

        async def receive() -> Message:
            if not gone.is_set():  # as servers do: what they know already, they tell at once
                await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal chunks
            chunks += 1
            if chunks > 2:
                gone.set()
                if raises:
                    raise OSError("the client is gone")

        version = "2.4" if raises else "2.3"
        if path == "/polling":
            asyncio.get_running_loop().call_later(0.01, gone.set)
        async with asyncio.timeout(2):
            await app(http_scope(path, asgi={"version": "3.0", "spec_version": version}), receive, send)

    try:
        asyncio.run(run())
    except Exception as error:
        return [*streams.told, type(error).__name__]
    return list(streams.told)


@pytest.mark.parametrize("raises", [False, True], ids=["told by receive", "told by send"])
@pytest.mark.parametrize("path", ["/endless", "/polling"])
@pytest.mark.parametrize("make", APPS.values(), ids=APPS)
def test_an_app_learns_that_its_client_has_left(make: Callable[[], ASGIApp], path: str, raises: bool) -> None:
    app = make()
    bare = leave_early(app, path, raises=raises)
    assert "the client is gone" in bare
    assert leave_early(streams.guard(app), path, raises=raises) == bare


# --- context variables ---


class Signing:
    """A middleware that sets a context variable on the way in, and reads it on the way out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        streams.who.set("the middleware")
        await self.app(scope, receive, send)
        streams.told.append(f"outside: {streams.who.get()}")


@pytest.mark.parametrize("path", ["/stream", "/background", "/events"])
@pytest.mark.parametrize("version", ["2.0", "2.5"])
def test_context_variables_pass_in_both_directions(path: str, version: str) -> None:
    def play(app: ASGIApp) -> tuple[bytes, list[str]]:
        streams.told.clear()
        scope = http_scope(path, asgi={"version": "3.0", "spec_version": version})
        return asyncio.run(serve(app, scope)).body, list(streams.told)

    app = Starlette(routes=streams.routes(), middleware=[Middleware(Signing)])
    raw = Starlette(routes=streams.routes())
    assert play(streams.guard(app)) == play(app)
    assert play(Signing(streams.guard(raw))) == play(Signing(raw))
    body, told = play(Signing(streams.guard(raw)))
    assert "outside: the endpoint" in told or path == "/events"
    assert b"the endpoint" in body or path != "/stream"
