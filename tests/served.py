"""What the real servers serve: the sites of tests.frameworks and the endpoints of tests.streams."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from tests import frameworks, streams


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Choose by the header `x-site`: `refusing starlette`, `guarded`, `bare`."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    site = dict(scope["headers"]).get(b"x-site", b"guarded")
    if b" " in site:
        await frameworks.site(scope, receive, send)
    else:
        await (streams.guarded if site == b"guarded" else streams.bare)(scope, receive, send)
