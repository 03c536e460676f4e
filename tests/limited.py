"""What real servers serve where limits are tried: an app behind a RequestsMiddleware that tells what it has done."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from secguard.requests import RequestsMiddleware, RequestsRule, RequestsSettings

MOST = 100_000  # bytes of a body, and of a message
SOON = 0.2  # seconds

ran: list[str] = []


def resident() -> int:
    """Bytes of memory that this process has (Linux only, else 0)."""
    status = Path(f"/proc/{os.getpid()}/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


async def write(request: Request) -> Response:
    ran.append("write")
    return PlainTextResponse("written")


async def read(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))  # all of it at once, as most endpoints do


async def state(request: Request) -> Response:
    return JSONResponse({"ran": len(ran), "resident": resident()})


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(str(len(text)))


site = Starlette(
    routes=[
        Route("/write", write, methods=["POST"]),
        *(Route(path, read, methods=["POST"]) for path in ("/read", "/slow", "/held")),
        Route("/state", state),
        *(WebSocketRoute(path, chat) for path in ("/chat", "/idle", "/few")),
        Route("/", read),
    ]
)
app = RequestsMiddleware(
    site,
    RequestsSettings(
        max_body_size=MOST,
        max_message_size=MOST,
        rules=[
            RequestsRule(paths=["/slow"], body_timeout=SOON),
            RequestsRule(paths=["/held"], max_concurrency=2, max_queue=0),
            RequestsRule(paths=["/idle"], websocket_idle_timeout=SOON),
            RequestsRule(paths=["/few"], max_websockets=1),
        ],
    ),
)
