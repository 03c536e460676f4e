"""Counting by outcome: only answers of some statuses count."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from secguard.rate_limit import limited as limited_endpoint
from tests.helpers import attempt, http_scope, serve
from tests.limited_apps import Limited, limited


async def told(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers what it is told to."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    wanted = dict(scope["headers"]).get(b"x-status", b"200")
    if wanted == b"error":
        raise LookupError
    await send({"type": "http.response.start", "status": int(wanted), "headers": []})
    await send({"type": "http.response.body"})


def by_outcome(*statuses: Any, limits: str = "2/minute", **fields: Any) -> Limited:
    rule = {"paths": ["/"], "limits": limits, "statuses": statuses, "name": "login"}
    return limited("50/minute", told, rules=[rule], **fields)


def ask(site: Limited, *statuses: bytes) -> list[int]:
    return [site.ask(headers=[(b"x-status", status)]).status for status in statuses]


@pytest.mark.parametrize("strategy", ["fixed-window", "sliding-window", "moving-window"])
def test_only_failed_logins_count(strategy: str) -> None:
    site = by_outcome(401, strategy=strategy)
    assert ask(site, *[b"200"] * 5, b"401", b"204", b"401", b"200") == [200] * 5 + [401, 204, 401, 429]


def test_answer_tells_how_the_limit_stands_after_it() -> None:
    site = by_outcome(401)
    remaining = [site.ask(headers=[(b"x-status", status)]).header(b"ratelimit") for status in (b"200", b"401", b"302")]
    assert [(value or b"").split(b";")[1] for value in remaining] == [b"r=2", b"r=1", b"r=1"]


def test_class_of_statuses_counts() -> None:
    assert ask(by_outcome("4xx"), b"404", b"500", b"401", b"200") == [404, 500, 401, 429]


def test_guesses_in_parallel_do_not_slip_through() -> None:
    site = by_outcome(401)
    everybody_is_in, tries = asyncio.Event(), 0

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal tries
        tries += 1
        await everybody_is_in.wait()
        await told(scope, receive, send)

    guard = site.app
    guard.app = slow

    async def storm() -> list[int]:
        scopes = [http_scope(headers=[(b"x-status", b"401")]) for _ in range(20)]
        running = [asyncio.create_task(serve(guard, scope)) for scope in scopes]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        everybody_is_in.set()
        return [(await task).status for task in running]

    assert sorted(asyncio.run(storm())) == [401] * 2 + [429] * 18
    assert tries == 2


def test_error_of_the_app_is_an_answer() -> None:
    site = by_outcome(401)
    for _ in range(5):
        assert attempt(site.app, http_scope(headers=[(b"x-status", b"error")])).status == 500


def test_request_that_is_never_answered_counts() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    site = by_outcome(401)
    guard = site.app
    guard.app = silent
    for _ in range(2):
        attempt(guard, http_scope())
    assert site.ask().status == 429


def test_websocket_that_is_accepted_gets_its_units_back() -> None:
    site = by_outcome(401)
    for _ in range(5):
        assert site.ask(websocket=True).types == ["websocket.accept"]


def test_cost_is_given_back_whole_to_every_limit() -> None:
    site = by_outcome(401, limits="10/second; 10/hour", cost=5)
    assert ask(site, b"200", b"200", b"200", b"401") == [200, 200, 200, 401]
    assert site.ask(headers=[(b"x-status", b"200")]).header(b"ratelimit") == (
        b'"login-1s";r=5;t=1, "login-3600s";r=5;t=2760'
    )


def test_route_counts_by_outcome_beside_the_default() -> None:
    @limited_endpoint("2/minute", statuses=[401])
    async def login(request: Request) -> Response:
        return Response(status_code=int(request.headers["x-status"]))

    site = limited("50/minute", Starlette(routes=[Route("/", login)]))
    assert ask(site, b"200", b"200", b"401", b"200", b"401", b"200") == [200, 200, 401, 200, 401, 429]
    assert (site.ask(headers=[(b"x-status", b"200")]).header(b"ratelimit") or b"").startswith(b'"default";r=45')


def test_nothing_is_kept_of_requests_that_are_done() -> None:
    site = by_outcome(401)
    ask(site, *[b"200"] * 3)
    assert sum(len(windows) for windows in site.policy.local._windows.values()) <= 1
