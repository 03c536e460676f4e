"""A policy that the app sends itself stands. Where that overrules what was asked of ours, an Event says so (law 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from secguard.csp import CSPMiddleware, CSPSettings, csp
from tests.csp_pages import ENFORCED, REPORT_ONLY, page, read_nonce
from tests.helpers import EventLog, Sent, drive, http_scope

OWN = (b"Content-Security-Policy", b"default-src 'self'")


def add(request: HTTPConnection) -> str:
    csp(request).add(img_src="https://cdn.example.com")
    return "amended"


def hear(
    ask: Callable[[HTTPConnection], object] | None, *lines: tuple[bytes, bytes], status: int = 200, **fields: Any
) -> tuple[Sent, EventLog]:
    log = EventLog()
    app = CSPMiddleware(page(ask, status, lines), CSPSettings(**fields), sinks=(log,))
    return drive(app, http_scope("/page")), log


@pytest.mark.parametrize("ask", [read_nonce, add], ids=["a nonce", "an amendment"])
def test_what_an_own_policy_overrules_is_told(ask: Callable[[HTTPConnection], object]) -> None:
    sent, log = hear(ask, OWN)
    assert sent.header(ENFORCED) == OWN[1]
    (event,) = log.events
    assert (event.action, event.code, event.path) == ("noticed", "csp.overruled", "/page")
    assert event.detail == {"header": "content-security-policy"}
    assert "a policy of its own" in event.reason


def test_a_report_only_policy_that_is_overruled_is_told_by_its_name() -> None:
    report_only = {"script_src": "'nonce'"}
    sent, log = hear(read_nonce, (REPORT_ONLY, b"img-src *"), report_only=report_only)
    assert sent.header(REPORT_ONLY) == b"img-src *"
    assert [event.detail for event in log.events] == [{"header": REPORT_ONLY.decode()}]


def test_an_own_policy_that_names_the_nonce_overrules_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        own = f"script-src 'nonce-{read_nonce(HTTPConnection(scope))}'"
        await page(None, 200, [(ENFORCED, own.encode())])(scope, receive, send)

    log = EventLog()
    assert b"script-src 'nonce-" in (drive(CSPMiddleware(app, sinks=(log,)), http_scope()).header(ENFORCED) or b"")
    assert log.events == []


@pytest.mark.parametrize(
    ("ask", "lines", "status"),
    [
        (None, [OWN], 200),
        (read_nonce, [], 200),
        (read_nonce, [(b"cache-control", b"public")], 200),
        (add, [], 200),
        (read_nonce, [OWN], 304),
        (add, [OWN], 304),
    ],
    ids=["nothing was asked", "ours is sent", "ours beside a header", "amended", "a 304", "an amended 304"],
)
def test_nothing_is_told_where_nothing_is_lost(
    ask: Callable[[HTTPConnection], object] | None, lines: list[tuple[bytes, bytes]], status: int
) -> None:
    assert hear(ask, *lines, status=status)[1].events == []


def test_a_policy_without_a_nonce_misses_none() -> None:
    assert hear(read_nonce, OWN, directives={"script_src": "'self'", "style_src": "'self'"})[1].events == []


def test_what_comes_too_late_for_the_inner_of_two_guards_is_told() -> None:
    """Middleware of the outer app reads the nonce when the mounted app has sent its header."""

    def between(app: Any) -> Any:
        async def reading(scope: Scope, receive: Receive, send: Send) -> None:
            async def forward(message: Message) -> None:
                if message["type"] == "http.response.start":
                    read_nonce(Request(scope))
                await send(message)

            await app(dict(scope), receive, forward)

        return reading

    log = EventLog()
    mounted = Starlette(routes=[Mount("/in", app=CSPMiddleware(page(None)))])
    sent = drive(CSPMiddleware(between(mounted), sinks=(log,)), http_scope("/in/page"))
    assert b"nonce" not in (sent.header(ENFORCED) or b"")
    assert log.codes == ["csp.overruled"]
