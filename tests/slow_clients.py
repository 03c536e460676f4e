"""Clients that take their time, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.types import ASGIApp

from tests.helpers import Message, Scope, Sent
from tests.virtual_time import run

Timetable = list[tuple[float, Message]]


def post(*parts: tuple[float, bytes], ends: bool = True) -> Timetable:
    """A body whose parts each take so many seconds to come. If it does not end, nothing more comes, ever."""
    table: Timetable = [(pause, {"type": "http.request", "body": part, "more_body": True}) for pause, part in parts]
    table[-1][1]["more_body"] = not ends
    return table


def talk(*pauses: float) -> Timetable:
    """A websocket's messages, after so many seconds each."""
    said = [(pause, {"type": "websocket.receive", "text": "x"}) for pause in pauses]
    return [(0.0, {"type": "websocket.connect"}), *said]


async def serve_slowly(
    app: ASGIApp, scope: Scope, incoming: Iterable[tuple[float, Message]]
) -> tuple[Sent, list[float]]:
    """Be a server whose client says each thing after a pause, and then no more. Return what was sent, and when."""
    waiting, sent, times = list(incoming), Sent(), []
    now = asyncio.get_running_loop().time
    began, came = now(), now()

    async def receive() -> Message:
        nonlocal came
        if not waiting:
            await asyncio.Event().wait()
        pause, message = waiting[0]
        await asyncio.sleep(came + pause - now())
        came = now()
        del waiting[0]
        return message

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.messages.append(message)
        times.append(now() - began)

    try:
        await app(scope, receive, send)
    except Exception as error:
        sent.error = error
    return sent, times


def attempt_slowly(app: ASGIApp, scope: Scope, incoming: Iterable[tuple[float, Message]]) -> tuple[Sent, list[float]]:
    """Serve one slow client from beginning to end."""
    return run(serve_slowly(app, scope, incoming))
