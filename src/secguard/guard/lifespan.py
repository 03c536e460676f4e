"""What policies keep open while the server runs, such as a store's connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secguard.policy import Policy

_ENDS: Final = frozenset({"lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"})


def living(app: ASGIApp, policies: Sequence[Policy]) -> ASGIApp:
    """Return the app with policies that are opened before it starts, and closed when it has stopped."""

    async def live(scope: Scope, receive: Receive, send: Send) -> None:
        opened: list[Policy] = []
        failed = False

        async def close() -> None:
            while opened:
                await opened.pop().close()

        async def receive_opening() -> Message:
            nonlocal failed
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    for policy in policies:
                        await policy.open()
                        opened.append(policy)
                except Exception as error:
                    # An exception alone would tell the server that lifespan is not supported, and it would go on.
                    failed = True
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    raise
            return message

        async def send_closing(message: Message) -> None:
            if message["type"] in _ENDS:
                await close()  # before the server hears of it: it may stop the loop at once
            if not failed:
                await send(message)

        try:
            await app(scope, receive_opening, send_closing)
        finally:
            await close()

    return live
