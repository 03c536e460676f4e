"""The app that everything is wrapped around, in two kinds: one that sets no header of ours, and one that does."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.benchmarks.floor import READY

PATH = "/articles/latest"
ARTICLE = {"id": 17, "title": "A small article", "tags": ["asgi", "security"], "draft": False}
OWN_LINES: Mapping[str, str] = {name.decode(): value.decode() for name, value in READY}


def text_app() -> Starlette:
    """Make the bare app: one route, a short text."""

    async def latest(_: Request) -> Response:
        return PlainTextResponse("A small article.\n")

    return Starlette(routes=[Route(PATH, latest)])


def nonce_app() -> Starlette:
    """Make the bare app again; its endpoint reads the nonce of the response."""

    async def latest(request: Request) -> Response:
        assert request.state.csp_nonce
        return PlainTextResponse("A small article.\n")

    return Starlette(routes=[Route(PATH, latest)])


def asgi_app() -> ASGIApp:
    """Make an app without a framework, which leaves nothing to measure but what stands around it."""

    async def latest(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"A small article.\n"})

    return latest


def asgi_nonce_app() -> ASGIApp:
    """Make it again; it reads the nonce of the response."""

    async def latest(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["state"]["csp_nonce"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"A small article.\n"})

    return latest


def json_app() -> Starlette:
    """Make an app whose JSON answer has a header that hardening owns too, which is the slow path of every wrapper."""

    async def latest(_: Request) -> Response:
        return JSONResponse(ARTICLE, headers={"X-Frame-Options": "DENY"})

    return Starlette(routes=[Route(PATH, latest)])


def own_lines_app() -> Starlette:
    """Make an app that sets the header lines of the `web` profile itself, as apps do: by hand, on its responses."""

    async def latest(_: Request) -> Response:
        return PlainTextResponse("A small article.\n", headers=OWN_LINES)

    return Starlette(routes=[Route(PATH, latest)])
