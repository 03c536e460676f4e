"""What operators do from code: look, forget, shut out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from secguard.rate_limit import Limit, RateLimits
from tests.limited_apps import Limited, limited

LOGIN = {"paths": ["/login"], "limits": "2/minute; 9/hour", "name": "login"}


def operations(site: Limited) -> RateLimits:
    return RateLimits(site.policy)


def remaining(site: Limited, name: str | Limit, key: str) -> list[int]:
    return [standing.remaining for standing in asyncio.run(operations(site).peek(name, key))]


def test_peek_tells_how_limits_stand_and_counts_nothing() -> None:
    site = limited("5/minute", rules=[LOGIN])
    site.statuses(2)
    site.statuses(2, "/login")
    for _ in range(3):
        assert remaining(site, "default", "203.0.113.9") == [3]
        assert remaining(site, "login", "203.0.113.9") == [0, 7]
        assert remaining(site, "default", "192.0.2.1") == [5]


def test_reset_lets_a_key_in_again_and_no_other() -> None:
    site = limited("1/minute")
    for client in ("192.0.2.1", "192.0.2.2"):
        site.ask(client=client)
    asyncio.run(operations(site).reset("default", "192.0.2.1"))
    assert [site.ask(client=client).status for client in ("192.0.2.1", "192.0.2.2")] == [200, 429]


def test_block_refuses_a_key_for_some_time() -> None:
    site = limited("5/minute")
    asyncio.run(operations(site).block("default", "203.0.113.9", seconds=90))
    refused = site.ask()
    assert (refused.status, refused.header(b"retry-after")) == (429, b"91")
    assert site.log.codes == ["rate_limit.blocked"]
    assert site.ask(client="192.0.2.1").status == 200
    (standing,) = asyncio.run(operations(site).peek("default", "203.0.113.9"))
    assert (standing.blocked, standing.refused) == (True, True)
    site.clock.move(91)
    assert site.ask().status == 200


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), 10**12])
def test_block_lasts_a_time_that_somebody_can_mean(seconds: float) -> None:
    with pytest.raises(ValueError, match="ten years"):
        asyncio.run(operations(limited("5/minute")).block("default", "192.0.2.1", seconds=seconds))


def test_reset_ends_a_block() -> None:
    site = limited("5/minute")
    asyncio.run(operations(site).block("default", "2001:db8::1", seconds=3600))
    assert site.ask(client="2001:db8::2").status == 429, "an IPv6 client is its network"
    asyncio.run(operations(site).reset("default", "2001:db8::3"))
    assert site.ask(client="2001:db8::2").status == 200


@pytest.mark.parametrize(
    ("key", "written", "headers"),
    [
        pytest.param("header:x-api-key", "abc", [(b"x-api-key", b"abc")], id="value of a header"),
        pytest.param("global", "", [], id="everybody"),
        pytest.param("user", "ann", [(b"x-user", b"ann")], id="name of a user"),
        pytest.param(lambda exchange: "team-7", "team-7", [], id="what code returns"),
        pytest.param(lambda exchange: "192.0.2.9", "192.0.2.9", [], id="address that code returns"),
        pytest.param("ip", "203.0.113.9", [], id="address"),
    ],
)
def test_key_is_written_as_whatever_is_counted_by(key: Any, written: str, headers: Any) -> None:
    from starlette.authentication import SimpleUser

    site = limited("5/minute", key=key)
    user = SimpleUser("ann") if key == "user" else None
    asyncio.run(operations(site).block("default", written, seconds=60))
    assert site.ask(headers=headers, user=user).status == 429


def test_session_is_written_as_it_tells_itself_apart() -> None:
    site = limited("5/minute", key="session")
    made = site.policy.identities
    assert made.written("session", "abc") != made.written("user", "abc")
    asyncio.run(operations(site).block("default", "abc", seconds=60))


def test_limit_of_a_route_is_named_by_itself() -> None:
    chat = Limit("3/minute", name="chat")

    async def page(request: Request) -> Response:
        await chat.take(request)
        limits = RateLimits.of(request)
        return JSONResponse([standing.remaining for standing in await limits.peek(chat, "203.0.113.9")])

    site = limited(app=Starlette(routes=[Route("/", page)]))
    assert [site.ask().body for _ in range(2)] == [b"[2]", b"[1]"]
    assert remaining(site, chat, "203.0.113.9") == [1]
    asyncio.run(operations(site).reset(chat, "203.0.113.9"))
    assert remaining(site, chat, "203.0.113.9") == [3]


def test_limits_that_are_not_there_are_told_with_those_that_are() -> None:
    site = limited("5/minute", rules=[LOGIN])
    with pytest.raises(LookupError, match="'signup'; there are: default, login"):
        asyncio.run(operations(site).peek("signup", "192.0.2.1"))
    with pytest.raises(LookupError, match="there are: none"):
        asyncio.run(operations(limited()).peek("default", "192.0.2.1"))
    with pytest.raises(LookupError, match="give it one"):
        asyncio.run(operations(site).peek(Limit("5/minute"), "192.0.2.1"))
