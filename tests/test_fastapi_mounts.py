"""Where the documentation of FastAPI apps is found and served: whatever stands around them, and by when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute, Host, Mount, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from secguard import Guard, Settings, protect
from secguard.csp import CSPMiddleware
from secguard.fastapi import serve_docs
from tests.fastapi_pages import policy, read


def settings(**sections: Any) -> Settings:
    return Settings(environment="development", **sections)


def inner(**options: Any) -> FastAPI:
    return FastAPI(title="Inner", **options)


def including() -> BaseRoute:
    outer, router = FastAPI(), APIRouter()
    router.mount("/s", inner())
    outer.include_router(router, prefix="/v")
    return outer.routes[-1]


ROUTES: dict[str, tuple[Callable[[], BaseRoute], str]] = {
    "mounted": (lambda: Mount("/s", inner()), "/s"),
    "mounted behind a middleware": (lambda: Mount("/s", CORSMiddleware(inner(), allow_origins=["*"])), "/s"),
    "mounted with a middleware": (lambda: Mount("/s", inner(), middleware=[Middleware(GZipMiddleware)]), "/s"),
    "mounted in a mount": (lambda: Mount("/v", routes=[Mount("/s", inner())]), "/v/s"),
    "mounted in a router that is included": (including, "/v/s"),
    "mounted with a Guard of its own": (lambda: Mount("/s", Guard(inner(), settings())), "/s"),
    "mounted with a Guard that leaves the policy to others": (lambda: Mount("/s", Guard(inner(), policies=[])), "/s"),
    "mounted and protected": (lambda: Mount("/s", protect(inner(), settings())), "/s"),
    "of a host": (lambda: Host("testserver", inner()), ""),
    "of a host behind a middleware": (lambda: Host("testserver", GZipMiddleware(inner())), ""),
    "of a host with a Guard of its own": (lambda: Host("testserver", Guard(inner(), settings())), ""),
}


def lives(app: ASGIApp, path: str = "") -> bool:
    """Whether all that the inner app's page loads is there, and let in by its policy."""
    client = TestClient(app)
    answer, page = client.get(f"{path}/docs"), read(app, f"{path}/docs")
    assert page.texts["title"] == "Inner - Swagger UI"
    assert [client.get(address).status_code for address in page.addresses] == [200, 200, 200]
    return policy(answer)["script-src"][0].startswith("'nonce-") and bool(page.loads[0].get("nonce"))


@pytest.mark.parametrize("outer", [FastAPI, Starlette])
@pytest.mark.parametrize(("make", "path"), ROUTES.values(), ids=ROUTES)
def test_protect_serves_every_app_inside(make: Callable[[], BaseRoute], path: str, outer: type[Starlette]) -> None:
    assert lives(protect(outer(routes=[make()]), settings()), path)


@pytest.mark.parametrize("outer", [Router, Starlette])
@pytest.mark.parametrize(("make", "path"), ROUTES.values(), ids=ROUTES)
def test_guard_serves_every_app_inside(
    make: Callable[[], BaseRoute], path: str, outer: type[Router | Starlette]
) -> None:
    assert lives(Guard(outer(routes=[make()]), settings()), path)


WRAPS: dict[str, Callable[[FastAPI], ASGIApp]] = {
    "Guard": lambda app: Guard(app, settings()),
    "Guard and middlewares": lambda app: Guard(GZipMiddleware(CORSMiddleware(app)), settings()),
    "Guard in a Guard": lambda app: Guard(Guard(app, settings()), settings()),
    "Guard around a protected app": lambda app: Guard(protect(app, settings()), settings()),
    "CSPMiddleware": CSPMiddleware,
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_what_wraps_an_app_serves_its_pages(wrap: Callable[[FastAPI], ASGIApp]) -> None:
    assert lives(wrap(inner()))


def test_guard_without_a_policy_leaves_the_pages_alone() -> None:
    app = inner()
    routes = list(app.routes)
    Guard(app, settings(csp=None))
    assert app.routes == routes


def test_pages_are_served_once_however_many_guards_there_are() -> None:
    app = inner()
    served = Guard(app, settings())
    routes = list(app.routes)
    protect(Starlette(routes=[Mount("/a", served), Mount("/b", app)]), settings())
    Guard(Guard(served, settings()), settings())
    serve_docs(served)
    assert app.routes == routes


def test_protect_changes_no_route_before_the_first_request() -> None:
    app = inner()
    routes = list(app.routes)
    protect(app, settings())
    assert app.routes == routes
    app.mount("/later", inner())
    assert lives(app, "/later")


def test_what_is_mounted_after_the_guard_was_made_is_served_by_hand() -> None:
    app = Starlette()
    guard = Guard(app, settings())
    late = inner()
    app.mount("/late", late)
    assert "<script>" in TestClient(guard).get("/late/docs").text
    serve_docs(late)
    assert lives(guard, "/late")


def test_middleware_of_the_app_itself_is_served_by_hand() -> None:
    app = inner()
    app.add_middleware(CSPMiddleware)
    assert "<script>" in TestClient(app).get("/docs").text
    serve_docs(app)
    assert lives(app)


class Bottomless:
    """Wraps another one, which wraps another one."""

    @property
    def app(self) -> Bottomless:
        return Bottomless()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class Circular:
    """An endpoint that holds the app it belongs to."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


def test_looking_for_apps_comes_to_an_end() -> None:
    app = inner()
    app.mount("/circular", Circular(app))
    app.mount("/bottomless", Bottomless())
    app.mount("/s", inner())
    guard = Guard(app, settings())
    assert lives(guard)
    assert lives(guard, "/s")
