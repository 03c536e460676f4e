"""One Exchange for all Guards that see a request alike, and the paths that each of them sees."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Send

from secguard import Guard
from secguard.policy import Context, Exchange, Policy
from tests.helpers import Scope, drive, http_scope, plain


class Looking(Policy):
    """Keeps what it saw."""

    def __init__(self, context: Context | None = None) -> None:
        super().__init__(context)
        self.seen: list[Exchange] = []

    def admit(self, exchange: Exchange) -> None:
        self.seen.append(exchange)


def test_two_guards_and_the_endpoint_share_one_exchange() -> None:
    looking = Looking()
    scope = http_scope()
    drive(Guard(Guard(plain, policies=[looking]), policies=[looking]), scope)
    first, second = looking.seen
    assert first is second is scope["secguard"]


def test_a_guard_behind_a_mount_sees_the_mounted_paths() -> None:
    looking = Looking()
    app = Starlette()
    app.mount("/inner", Guard(plain, policies=[looking]))
    drive(Guard(app, policies=[looking]), http_scope("/inner/x"))
    outer, inner = looking.seen
    assert (outer.routed, inner.routed) == ("/inner/x", "/x")


class WithRootPath(Starlette):
    """What FastAPI(root_path=...) is."""

    root_path = "/api"


def test_a_guard_behind_a_dispatcher_knows_the_root_path_of_its_own_app() -> None:
    looking = Looking()
    inner = Guard(WithRootPath(), policies=[looking])

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    drive(Guard(dispatch, policies=[looking]), http_scope("/api/admin"))
    assert [seen.routed for seen in looking.seen] == ["/api/admin", "/admin"]
    assert "/admin" in looking.seen[1].paths


class Wrapper:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Agreeable:
    """Has every attribute, as mocks and some proxies do."""

    def __getattr__(self, name: str) -> Any:
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await plain(scope, receive, send)


def test_the_root_path_of_an_app_is_found_behind_its_wrappers() -> None:
    apps: list[tuple[ASGIApp, str]] = [
        (Wrapper(Wrapper(WithRootPath())), "/admin"),
        (WithRootPath().__call__, "/admin"),
        (Starlette(), "/api/admin"),
        (plain, "/api/admin"),
        (Agreeable(), "/api/admin"),
    ]
    for app, routed in apps:
        looking = Looking()
        drive(Guard(app, policies=[looking]), http_scope("/api/admin"))
        assert looking.seen[0].routed == routed
