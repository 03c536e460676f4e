"""Limits in a shared store: a whole app on a real server, crowds of requests, and an ear on the wire."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import hiredis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from secguard.guard import Guard
from secguard.policy import Context
from secguard.rate_limit import Limit, RateLimitPolicy, RateLimits, RateLimitSettings
from tests.helpers import EventLog, Line, Scope, Sent, http_scope, serve, websocket_scope
from tests.serving import LOOPBACK

WHO = "203.0.113.9"
AGES = "year"  # a window that does not end while a test runs

chat = Limit(f"4/{AGES}", name="chat")


async def _hello(request: Request) -> Response:
    return PlainTextResponse("hello", int(request.query_params.get("status", "200")))


async def _talk(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            text = await websocket.receive_text()
            await chat.take(websocket)
            await websocket.send_text(text)
    except WebSocketDisconnect:
        pass


def site() -> Starlette:
    """An app that answers with whatever status it is asked for, and talks."""
    return Starlette(routes=[WebSocketRoute("/talk", _talk), Route("/{path:path}", _hello)])


@dataclass
class Shared:
    """A protected app, and what came of it."""

    app: ASGIApp
    policy: RateLimitPolicy
    log: EventLog

    @property
    def limits(self) -> RateLimits:
        return RateLimits(self.policy)

    async def ask(
        self, path: str = "/", client: str = "203.0.113.9", headers: Iterable[Line] = (), **more: Any
    ) -> Sent:
        """Send one request, which no error may come of."""
        sent = await serve(self.app, http_scope(path, headers, client=(client, 50000), **more))
        assert sent.error is None, sent.error
        return sent

    async def open(self, path: str = "/talk", client: str = WHO, *texts: str) -> Sent:
        """Open a websocket, and say something."""
        incoming = [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": text} for text in texts)]
        sent = await serve(self.app, websocket_scope(path, client=(client, 50000)), incoming)
        assert sent.error is None, sent.error
        return sent

    async def crowd(self, clients: Iterable[str], path: str = "/", **more: Any) -> dict[str, Counter[int]]:
        """Send all requests at once, and count what each client was answered."""
        clients = list(clients)
        sent = await asyncio.gather(*(self.ask(path, client, **more) for client in clients))
        answered: dict[str, Counter[int]] = {client: Counter() for client in clients}
        for client, answer in zip(clients, sent, strict=True):
            answered[client][answer.status] += 1
        return answered


@asynccontextmanager
async def sharing(
    storage: str, default: str | Sequence[str] = (), app: ASGIApp | None = None, **fields: Any
) -> AsyncIterator[Shared]:
    """Protect an app by limits in a store, from its start to its end. The timeout is long: this machine is busy."""
    log = EventLog()
    section = {"default": default, "storage": storage, "store_timeout": 5, **fields}
    policy = RateLimitPolicy(RateLimitSettings.model_validate(section), Context(sinks=(log,)))
    guard = Guard(app or site(), policies=[policy])
    async with living(guard):
        yield Shared(guard, policy, log)


@asynccontextmanager
async def living(app: ASGIApp) -> AsyncIterator[None]:
    """Be the server that starts an app, and stops it in the end."""
    said: asyncio.Queue[Scope] = asyncio.Queue()
    heard: asyncio.Queue[Scope] = asyncio.Queue()
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    life = asyncio.ensure_future(app(scope, said.get, heard.put))
    await said.put({"type": "lifespan.startup"})
    assert (await heard.get())["type"] == "lifespan.startup.complete"
    yield
    await said.put({"type": "lifespan.shutdown"})
    assert (await heard.get())["type"] == "lifespan.shutdown.complete"
    await life


@dataclass
class Ear:
    """What clients say to a server, in between: which commands, and how often they wait for an answer."""

    port: int = 0
    commands: list[str] = field(default_factory=list)
    sendings: int = 0

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}"

    def heard(self) -> list[str]:
        """Return the commands since the last look, but for those of a connection's beginning."""
        commands, self.commands = [name for name in self.commands if name not in {"CLIENT", "HELLO"}], []
        return commands


@asynccontextmanager
async def overheard(port: int) -> AsyncIterator[Ear]:
    """Stand between clients and the server on a port."""
    ear = Ear()
    tasks: set[asyncio.Task[None]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(LOOPBACK, port)
        back = asyncio.create_task(_pass(their_reader, writer, None))
        tasks.add(back)
        await _pass(reader, their_writer, ear)

    async with await asyncio.start_server(meet, LOOPBACK) as server:
        ear.port = server.sockets[0].getsockname()[1]
        yield ear
        server.close()
        for task in tasks:
            task.cancel()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ear: Ear | None) -> None:
    commands = hiredis.Reader()
    try:
        while data := await reader.read(65536):
            if ear is not None:
                ear.sendings += 1
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    ear.commands.append(command[0].decode().upper())
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
