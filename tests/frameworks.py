"""The same small site in every framework, each behind a Guard that refuses /admin and one that exempts /hook only.

What an endpoint answers tells which one was reached: `reached admin` is what must never be read.
`SITES` is served by real servers too, as `tests.frameworks:site`; the header `x-site` chooses.
"""

from __future__ import annotations

import warnings
from http import HTTPStatus
from typing import Any, Final

import django  # type: ignore[import-untyped]
import litestar
from django.conf import settings as django_settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
from django.urls import re_path  # type: ignore[import-untyped]
from fastapi import FastAPI
from quart import Quart
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from secguard import Guard
from secguard._paths import PathRules
from secguard.policy import Context, Exchange, Policy, Reply
from secguard.requests import RequestsPolicy, RequestsSettings

PAGES: Final = ("admin", "hook", "public")


# --- the policies in front ---


class RefusingAdmin(Policy):
    """A refusing rule, as sections write it: any path the request may be served as."""

    refused = PathRules([["/admin"]])

    def admit(self, exchange: Exchange) -> Reply | None:
        if self.refused.match(exchange.paths):
            return self.context.refuse(exchange, HTTPStatus.FORBIDDEN, "paths.admin", "no")
        return None


class ExemptingHook(Policy):
    """A refusal of everything, with one exemption: the path as it is routed."""

    exempt = PathRules([["/hook"]])

    def admit(self, exchange: Exchange) -> Reply | None:
        if self.exempt.match((exchange.routed,)):
            return None
        return self.context.refuse(exchange, HTTPStatus.FORBIDDEN, "paths.all", "no")


def behind(policy: type[Policy], app: ASGIApp) -> Guard:
    context = Context(sinks=())
    return Guard(app, policies=[RequestsPolicy(RequestsSettings(), context), policy(context)])


# --- Starlette and FastAPI ---


def page(name: str) -> Any:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(f"reached {name}")

    return endpoint


def socket(name: str) -> Any:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept(headers=[(b"x-reached", name.encode())])
        await websocket.close()

    return endpoint


def routes(*names: str) -> list[BaseRoute]:
    return [
        made
        for name in names
        for rest in ("", "/{rest:path}")
        for made in (Route(f"/{name}{rest}", page(name)), WebSocketRoute(f"/{name}{rest}", socket(name)))
    ]


def mounts() -> list[BaseRoute]:
    inner = [Route("/{rest:path}", page("admin")), WebSocketRoute("/{rest:path}", socket("admin"))]
    return [Mount("/admin", routes=inner), *routes("hook", "public")]


def fastapi(root_path: str = "") -> FastAPI:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer ones advise against root_path
        app = FastAPI(root_path=root_path)
    app.router.routes += routes(*PAGES)
    return app


# --- Litestar ---


def litestar_site() -> litestar.Litestar:
    def handlers(name: str) -> list[Any]:
        @litestar.get([f"/{name}", f"/{name}/{{rest:path}}"], name=name, media_type="text/plain")
        async def endpoint() -> str:
            return f"reached {name}"

        @litestar.websocket([f"/{name}", f"/{name}/{{rest:path}}"], name=f"{name}-socket")
        async def talking(socket: litestar.WebSocket[Any, Any, Any]) -> None:
            await socket.accept(headers={"x-reached": name})
            await socket.close()

        return [endpoint, talking]

    made = [handler for name in PAGES for handler in handlers(name)]
    return litestar.Litestar(made, openapi_config=None, logging_config=None)


# --- Quart ---


def quart_site() -> Quart:
    app = Quart("secguard_site", root_path="/nonexistent")
    for name in PAGES:

        async def endpoint(rest: str = "", name: str = name) -> str:
            return f"reached {name}"

        async def talking(rest: str = "", name: str = name) -> None:
            from quart import websocket

            await websocket.accept(headers={"x-reached": name})

        for at, rest in enumerate(("", "/", "/<path:rest>")):
            app.add_url_rule(f"/{name}{rest}", f"{name}{at}", endpoint)
            app.add_websocket(f"/{name}{rest}", f"{name}{at}-socket", talking)
    return app


# --- Django ---


def view(name: str) -> Any:
    async def answer(request: HttpRequest, **_: str) -> HttpResponse:
        return HttpResponse(f"reached {name}", content_type="text/plain")

    return answer


urlpatterns = [re_path(rf"^{name}(?:/.*)?$", view(name)) for name in PAGES]


def django_site() -> ASGIApp:
    if not django_settings.configured:
        django_settings.configure(
            ROOT_URLCONF=__name__,
            SECRET_KEY="not a secret",
            ALLOWED_HOSTS=["*"],
            MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
            LOGGING_CONFIG=None,
        )
        django.setup()
    app: ASGIApp = get_asgi_application()
    return app


SITES: Final[dict[str, Any]] = {  # Litestar and Quart have ASGI types of their own
    "starlette": Starlette(routes=routes(*PAGES)),
    "starlette-mounts": Starlette(routes=mounts()),
    "fastapi": fastapi(),
    "fastapi-root-path": fastapi("/api"),
    "litestar": litestar_site(),
    "quart": quart_site(),
    "django": django_site(),
}
SOCKETS: Final = [name for name in SITES if name != "django"]  # get_asgi_application() knows no websockets
REFUSING: Final = {name: behind(RefusingAdmin, app) for name, app in SITES.items()}
EXEMPTING: Final = {name: behind(ExemptingHook, app) for name, app in SITES.items()}


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    """The site and the Guard that the request asks for: `x-site: refusing starlette`."""
    if scope["type"] == "lifespan":
        raise NotImplementedError("no lifespan here")
    guard, _, name = dict(scope["headers"])[b"x-site"].decode().partition(" ")
    sites: dict[str, Any] = {"refusing": REFUSING, "exempting": EXEMPTING, "open": SITES}
    await sites[guard][name](scope, receive, send)
