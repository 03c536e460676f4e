"""An app that does everything a response can do, bare and behind a Guard whose every hook is used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from secguard import Guard
from secguard._http import Lines
from secguard.headers import HeadersPolicy, HeadersSettings
from secguard.policy import Context, Exchange, Message, Outcome, Policy, Reply
from secguard.requests import RequestsPolicy, RequestsSettings

FILE: Final = Path(__file__)
who: ContextVar[str] = ContextVar("who", default="nobody")
told: Final[list[str]] = []  # what happened where no response tells


async def numbers(request: Request) -> AsyncIterator[bytes]:
    try:
        for at in range(5):
            yield b"%d %s\n" % (at, who.get().encode())
            await asyncio.sleep(0)
    finally:
        told.append("the stream has ended")


async def stream(request: Request) -> Response:
    who.set("the endpoint")
    return StreamingResponse(numbers(request), media_type="text/plain")


async def events(request: Request) -> Response:
    async def tell() -> AsyncIterator[str]:
        for at in range(3):
            yield f"event: tick\ndata: {at}\n\n"
            await asyncio.sleep(0)

    return StreamingResponse(tell(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def endless(request: Request) -> Response:
    async def forever() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more\n"
                await asyncio.sleep(0.001)
        finally:
            told.append("the client is gone")

    return StreamingResponse(forever())


async def polling(request: Request) -> Response:
    while not await request.is_disconnected():  # noqa: ASYNC110 - that is how it is done with Starlette
        await asyncio.sleep(0.001)
    told.append("the client is gone")
    return PlainTextResponse("nobody reads this")


async def background(request: Request) -> Response:
    async def later() -> None:
        await asyncio.sleep(0)
        told.append(f"the task ran for {who.get()}")

    who.set("the endpoint")
    return PlainTextResponse("sent", background=BackgroundTask(later))


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def seen(request: Request) -> Response:
    """Tell which headers have come, one name a line."""
    return PlainTextResponse("\n".join(name for name, _ in request.headers.items()))


async def cookies(request: Request) -> Response:
    response = PlainTextResponse("baked", headers={"X-Frame-Options": "DENY", "Vary": "Accept", "ETag": '"1"'})
    for name in ("one", "two", "one"):
        response.set_cookie(name, "x")
    return response


async def file(request: Request) -> Response:
    return FileResponse(FILE, media_type="text/plain")


async def redirect(request: Request) -> Response:
    return RedirectResponse("/stream")


async def nothing(request: Request) -> Response:
    return Response(status_code=204)


async def raising(request: Request) -> Response:
    raise LookupError("boom")


async def raising_late(request: Request) -> Response:
    async def few() -> AsyncIterator[bytes]:
        yield b"so far"
        raise LookupError("boom")

    return StreamingResponse(few())


async def extensions(scope: Scope, receive: Receive, send: Send) -> None:
    """Use every extension that the server offers."""
    offered = scope.get("extensions") or {}
    if "http.response.early_hint" in offered:
        await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload; as=style"]})
    if "http.response.push" in offered:
        await send({"type": "http.response.push", "path": "/style.css", "headers": [(b"accept", b"text/css")]})
    if "x.never-heard-of" in offered:
        await send({"type": "x.never-heard-of", "of": object})
    trailers = "http.response.trailers" in offered
    headers = [(b"content-type", b"text/plain"), (b"trailer", b"x-checksum")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": trailers})
    if "http.response.zerocopysend" in offered:
        await send({"type": "http.response.zerocopysend", "file": 0, "offset": 0, "count": 9, "more_body": True})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await send({"type": "http.response.body", "body": b"b", "more_body": False})
    if trailers:
        await send({"type": "http.response.trailers", "headers": [(b"X-Frame-Options", b"x")], "more_trailers": True})
        await send({"type": "http.response.trailers", "headers": [(b"x-checksum", b"1")]})


async def talk(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol="chat", headers=[(b"x-own", b"1")])
    async for text in websocket.iter_text():
        await websocket.send_text(text)
        await websocket.send_bytes(text.encode())
        if text == "bye":
            await websocket.close(4001, "bye")
            return


async def deny(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("not you", 403, {"X-Frame-Options": "DENY"}))


async def hang_up(websocket: WebSocket) -> None:
    await websocket.close(4002)


def routes() -> list[BaseRoute]:
    endpoints: list[Any] = [stream, events, endless, polling, background, cookies, file, redirect, nothing]
    return [
        *(Route(f"/{endpoint.__name__}", endpoint) for endpoint in (*endpoints, raising, raising_late)),
        Route("/echo", echo, methods=["POST"]),
        Route("/seen", seen, methods=["POST"]),
        Mount("/extensions", extensions),
        *(WebSocketRoute(f"/{endpoint.__name__}", endpoint) for endpoint in (talk, deny, hang_up)),
    ]


class EveryHook(Policy):
    """Looks at everything, waits in every hook, and lets everything be."""

    async def admit(self, exchange: Exchange) -> Reply | None:
        await asyncio.sleep(0)
        return self.context.refuse(exchange, HTTPStatus.FORBIDDEN, "x.y", "no") if exchange.path == "/refused" else None

    async def finish(self, exchange: Exchange, headers: Lines) -> None:
        await asyncio.sleep(0)

    async def on_receive(self, exchange: Exchange, message: Message) -> Reply | None:
        await asyncio.sleep(0)
        return None

    async def done(self, exchange: Exchange, outcome: Outcome) -> None:
        await asyncio.sleep(0)


def guard(app: ASGIApp) -> Guard:
    context = Context(sinks=())
    return Guard(
        app,
        policies=[
            HeadersPolicy(HeadersSettings(), context),
            RequestsPolicy(RequestsSettings(), context),
            EveryHook(context),
        ],
    )


def fastapi() -> FastAPI:
    app = FastAPI()
    app.router.routes += routes()
    return app


bare: Final[ASGIApp] = Starlette(routes=routes())
guarded: Final[ASGIApp] = guard(Starlette(routes=routes()))
