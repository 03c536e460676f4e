"""What the workers of a fleet serve: an app that everything around it is configured for by the environment."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from secguard import protect
from tests.serving import LOOPBACK, uvicorn


async def _worker(request: Request) -> Response:
    return PlainTextResponse(str(os.getpid()))


async def _talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive()


def app() -> Starlette:
    """Make the app. The workers ask for it, and nobody who imports this."""
    return protect(Starlette(routes=[WebSocketRoute("/{path:path}", _talk), Route("/{path:path}", _worker)]))


@contextmanager
def fleet(storage: str, **variables: str) -> Iterator[int]:
    """Serve the app with two workers behind what they take for a proxy, and yield the port."""
    settings = {
        "SECGUARD_HTTPS": "off",
        "SECGUARD_PROXIES__TRUSTED": LOOPBACK,
        "SECGUARD_PROXIES__HEADER": "x-forwarded-for",
        "SECGUARD_RATE_LIMIT__STORAGE": storage,
        "SECGUARD_RATE_LIMIT__EXEMPT__PATHS": "/worker",
        **{f"SECGUARD_RATE_LIMIT__{name}": value for name, value in variables.items()},
    }
    options = ("--factory", "--workers", "2", "--no-proxy-headers", "--log-level", "info")
    with uvicorn("tests.fleet:app", *options, variables=settings) as port:
        yield port


class Line:
    """A connection to some worker, which stays open. One request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.worker = b""

    @classmethod
    async def to(cls, port: int) -> Self:
        line = cls(*await asyncio.open_connection(LOOPBACK, port))
        _, line.worker = await line.ask("/worker", "203.0.113.1")
        return line

    async def ask(self, path: str, client: str, *headers: str) -> tuple[int, bytes]:
        """Send a request on behalf of a client, and return status and body."""
        lines = (f"GET {path} HTTP/1.1", "host: example.com", f"x-forwarded-for: {client}", *headers, "", "")
        self._writer.write("\r\n".join(lines).encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        return int(head.split()[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


class Crowd:
    """Lines to all workers."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines

    async def ask(self, requests: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], Counter[int]]:
        """Send requests over all lines at once, and count the answers to each that is alike."""
        waiting = list(requests)
        answered: dict[tuple[str, ...], Counter[int]] = {request: Counter() for request in waiting}

        async def talk(line: Line) -> None:
            while waiting:
                request = waiting.pop()
                answered[request][(await line.ask(*request))[0]] += 1

        await asyncio.gather(*map(talk, self.lines))
        return answered


@asynccontextmanager
async def crowd(port: int, size: int = 40) -> AsyncIterator[Crowd]:
    """Open lines, half of them to each of two workers."""
    lines: list[Line] = []
    try:
        async with asyncio.timeout(20):
            while len(lines) < size:
                line = await Line.to(port)
                if sum(other.worker == line.worker for other in lines) < size // 2:
                    lines.append(line)
                else:
                    line.close()  # one worker is quicker to accept than the other
        assert len({line.worker for line in lines}) == 2
        yield Crowd(lines)
    finally:
        for line in lines:
            line.close()
