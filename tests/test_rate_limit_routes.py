"""Limits that routes have of their own: Starlette's endpoints, and whatever awaits `take`."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from secguard import Guard, Settings, protect
from secguard.rate_limit import Limit, RateLimitMiddleware, RateLimitSettings
from secguard.rate_limit import limited as limit_endpoint
from tests.helpers import Message, Sent, attempt, drive, http_scope, step_through, websocket_scope
from tests.limited_apps import Limited, limited
from tests.test_isolation import no_garbage


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


def site_of(*routes: Any, **fields: Any) -> Limited:
    return limited(app=Starlette(routes=list(routes)), **fields)


@limit_endpoint("2/minute")
async def slow(request: Request) -> Response:
    """Say it slowly."""
    return PlainTextResponse("slow")


@limit_endpoint("2/minute")
def threaded(request: Request) -> Response:
    return PlainTextResponse("threaded")


class Page(HTTPEndpoint):
    @limit_endpoint("2/minute")
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("page")


@pytest.mark.parametrize("endpoint", [slow, threaded, Page, functools.partial(slow)])
def test_endpoint_is_limited(endpoint: Any) -> None:
    site = site_of(Route("/", endpoint))
    assert site.statuses(3) == [200, 200, 429]
    assert site.log.told == [("refused", "rate_limit.exceeded")]


def test_refusal_of_a_route_is_the_guards() -> None:
    site = site_of(Route("/a/{x}", slow), default="9/minute")
    site.statuses(2, "/a/1")
    refused = site.ask("/a/2")
    assert refused.header(b"content-type") == b"application/problem+json"
    assert json.loads(refused.body)["violated-policies"] == ["/a/{x}"]
    assert refused.header(b"cache-control") == b"no-store"
    assert refused.header(b"retry-after")
    assert refused.header(b"ratelimit-policy") == b'"default";q=9;w=60, "/a/{x}";q=2;w=60'


def test_endpoint_keeps_its_name_and_its_words() -> None:
    assert slow.__name__ == "slow"
    assert slow.__doc__ == "Say it slowly."


def test_endpoint_does_not_run_where_it_is_refused() -> None:
    ran = []

    @limit_endpoint("1/minute")
    async def once(request: Request) -> Response:
        ran.append(request)
        return PlainTextResponse("once")

    assert site_of(Route("/", once)).statuses(3) == [200, 429, 429]
    assert len(ran) == 1


def test_each_endpoint_has_a_count_of_its_own_unless_a_name_is_shared() -> None:
    def endpoint(**options: Any) -> Callable[..., Any]:
        return limit_endpoint("1/minute", **options)(hello)

    apart = site_of(Route("/a", endpoint()), Route("/b", endpoint()))
    assert [apart.ask(path).status for path in ("/a", "/b", "/a")] == [200, 200, 429]
    shared = site_of(Route("/a", endpoint(name="both")), Route("/b", endpoint(name="both")))
    assert [shared.ask(path).status for path in ("/a", "/b")] == [200, 429]


def test_routes_on_mounts_and_nested_routers_are_limited() -> None:
    nested = Router(routes=[Mount("/deep", routes=[Route("/x/{id}", slow)])])
    site = site_of(Mount("/m", nested), Mount("/app", Starlette(routes=[Route("/y", slow)])))
    assert [site.ask(f"/m/deep/x/{number}").status for number in range(3)] == [200, 200, 429]
    assert site.statuses(3, "/app/y") == [200, 200, 429]


@pytest.mark.parametrize("path", ["/bare", "/m/bare"])
def test_app_without_a_route_has_a_count_too(path: str) -> None:
    limit = Limit("1/minute")

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        await limit.take(HTTPConnection(scope))
        await PlainTextResponse("bare")(scope, receive, send)

    app = limited(app=bare) if path == "/bare" else site_of(Mount("/m", bare))
    first, second = app.ask(path), attempt(app.app, http_scope(path))
    assert (first.status, second.status) == (200, 429)


def test_rule_of_the_settings_and_limit_of_the_route_both_hold() -> None:
    site = site_of(Route("/", slow), default="1/minute")
    assert site.statuses(2) == [200, 429]
    assert json.loads(site.ask().body)["violated-policies"] == ["default"]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"default": "9/minute"}, id="one limit for all"),
        pytest.param({"default": "9/minute; 99/hour"}, id="two limits for all"),
        pytest.param({"default": "9/minute", "key": lambda exchange: "me"}, id="code for a key"),
        pytest.param({"rules": [{"paths": ["/"], "limits": "9/minute"}]}, id="a rule"),
        pytest.param({"rules": [{"paths": ["/"], "limits": "9/minute", "statuses": [429]}]}, id="a rule by outcome"),
    ],
)
def test_what_a_route_refuses_is_counted_for_nobody(fields: dict[str, Any]) -> None:
    site = site_of(Route("/", slow), Route("/free", hello), **fields)
    remaining = [(site.ask().header(b"ratelimit") or b"").split(b";")[1] for _ in range(8)]
    by_outcome = "statuses" in str(fields)  # then the two that were answered count for nothing as well
    assert remaining == ([b"r=9"] * 8 if by_outcome else [b"r=8", *[b"r=7"] * 7])


@pytest.mark.parametrize("section_key", ["ip", "user", "session", "global", "header:x-api-key"])
@pytest.mark.parametrize("name", ["ann", "日本", "\ud800", "192.0.2.9"])
def test_any_name_that_an_endpoint_knows_has_a_count_of_its_own(section_key: str, name: str) -> None:
    by_name = Limit("1/minute", name="name")

    async def login(request: Request) -> Response:
        await by_name.take(request, key=name if request.headers["x-who"] == "they" else "another")
        return PlainTextResponse("in")

    site = limited(app=Starlette(routes=[Route("/", login)]), key=section_key)
    tries = [site.ask(headers=[(b"x-who", who)]).status for who in (b"they", b"they", b"me")]
    assert tries == [200, 429, 200]


def test_what_the_second_limit_of_a_route_refuses_is_counted_for_nobody() -> None:
    wide, narrow = Limit("8/minute", name="wide"), Limit("1/minute", name="narrow")

    async def both(request: Request) -> Response:
        await wide.take(request)
        await narrow.take(request)
        return PlainTextResponse("ok")

    site = site_of(Route("/", both), default="9/minute")
    told = [site.ask().header(b"ratelimit") or b"" for _ in range(5)]
    assert [part.split(b";")[1] for part in told[-1].split(b", ")] == [b"r=8", b"r=7", b"r=0"]


def test_limits_of_one_endpoint_by_other_keys_are_others() -> None:
    by_address, by_all = Limit("2/minute"), Limit("2/minute", key="global")

    async def both(request: Request) -> Response:
        await by_address.take(request)
        await by_all.take(request)
        return PlainTextResponse("ok")

    assert site_of(Route("/", both)).statuses(3) == [200, 200, 429]


def test_what_a_route_would_refuse_in_a_rehearsal_is_counted() -> None:
    site = site_of(Route("/", slow), default="9/minute", mode="report")
    remaining = [(site.ask().header(b"ratelimit") or b"").split(b";")[1] for _ in range(4)]
    assert remaining == [b"r=8", b"r=7", b"r=6", b"r=5"]


def test_code_says_by_which_key_a_request_is_counted_when_it_knows() -> None:
    by_name = Limit("1/minute", name="name")

    async def login(request: Request) -> Response:
        await by_name.take(request, key=(await request.body()).decode())
        return PlainTextResponse("in")

    site = limited(app=Starlette(routes=[Route("/", login, methods=["POST"])]))

    def attempt_as(name: bytes, client: str) -> int:
        scope = http_scope(method="POST", client=(client, 1))
        return attempt(site.app, scope, [{"type": "http.request", "body": name}]).status

    assert [attempt_as(b"ann", "192.0.2.1"), attempt_as(b"ann", "192.0.2.2"), attempt_as(b"bob", "192.0.2.1")] == [
        200, 429, 200,
    ]  # fmt: skip


def test_exemptions_hold_for_routes_too() -> None:
    site = site_of(Route("/", slow), exempt={"networks": ["203.0.113.9"]})
    assert site.statuses(4) == [200] * 4


def test_refusal_of_a_route_can_be_rehearsed() -> None:
    site = site_of(Route("/", slow), mode="report")
    assert site.statuses(3) == [200] * 3
    assert site.log.told == [("rehearsed", "rate_limit.exceeded")]


class Tokens(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        return AuthCredentials(), SimpleUser(conn.headers["x-user"])


def test_user_that_an_authentication_inside_has_found_is_counted() -> None:
    endpoint = limit_endpoint("1/minute", key="user")(hello)
    inside = Middleware(AuthenticationMiddleware, backend=Tokens())
    site = limited(app=Starlette(routes=[Route("/", endpoint)], middleware=[inside]))
    assert [site.ask(headers=[(b"x-user", name)]).status for name in (b"a", b"b", b"a")] == [200, 200, 429]


def test_guard_that_counts_nothing_itself_counts_for_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECGUARD_RATE_LIMIT", "on")
    app = protect(Starlette(routes=[Route("/", slow)]), Settings(_env_file=None))
    client = TestClient(app, base_url="https://testserver", client=("192.0.2.1", 1))
    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]
    assert "strict-transport-security" in client.get("/").headers


@pytest.mark.parametrize(
    "around", [lambda app: app, lambda app: Guard(app, Settings(_env_file=None))], ids=["bare", "guarded"]
)
def test_limit_that_nobody_counts_is_an_error_that_says_what_to_do(around: Callable[[ASGIApp], ASGIApp]) -> None:
    sent = attempt(around(Starlette(routes=[Route("/", slow)])), http_scope())
    assert isinstance(sent.error, RuntimeError)
    assert "SECGUARD_RATE_LIMIT=on" in str(sent.error)


def test_mistake_in_a_limit_stops_the_start() -> None:
    with pytest.raises(ValidationError, match="write 100/minute"):
        limit_endpoint("often")
    with pytest.raises(ValidationError, match="is no status"):
        Limit("5/minute", statuses=[42])


def test_endpoint_without_a_request_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="takes no request"):

        @limit_endpoint("5/minute")
        async def nothing() -> None: ...

    @limit_endpoint("5/minute")
    async def other(number: int) -> None: ...

    with pytest.raises(TypeError, match="takes no request"):
        other(7).send(None)


def test_limits_that_are_made_for_each_request_share_a_count_and_no_memory() -> None:
    async def careless(request: Request) -> Response:
        await Limit("2000/minute").take(request)
        return PlainTextResponse("ok")

    site = site_of(Route("/", careless))
    assert site.statuses(1500) == [200] * 1500
    assert (site.ask().header(b"ratelimit") or b"").startswith(b'"/";r=499;')
    assert len(site.policy.plans._by_route) <= 1024


def test_limit_that_is_taken_twice_is_told_of_once() -> None:
    limit = Limit("9/minute")

    async def twice(request: Request) -> Response:
        await limit.take(request)
        await limit.take(request)
        return PlainTextResponse("ok")

    assert site_of(Route("/", twice)).ask().header(b"ratelimit") == b'"/";r=7;t=60'


def test_limit_leaves_no_cycle_behind() -> None:
    limit = Limit("5/minute")

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        await limit.take(HTTPConnection(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    site = limited("99/minute", bare)
    step_through(site.app, http_scope(), [])
    with no_garbage():
        for status in (*[200] * 4, 429):
            scope = http_scope()
            sent = step_through(site.app, scope, [])
            assert sent.status == status
            assert not hasattr(scope["secguard"], "delivery") or scope["secguard"].delivery is None
            del sent, scope
    assert site.ask().status == 429


# --- websockets ---

chat = Limit("2/second", name="chat")


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await chat.take(websocket)
        await websocket.send_text(text)


class Talk(WebSocketEndpoint):
    encoding = "text"

    @limit_endpoint("2/second", name="chat")
    async def on_receive(self, websocket: WebSocket, data: str) -> None:
        await websocket.send_text(data)


def says(*texts: str) -> list[Message]:
    return [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": text} for text in texts)]


def open_and_say(site: Limited, *texts: str) -> Sent:
    return attempt(site.app, websocket_scope(), says(*texts))


@pytest.mark.parametrize("endpoint", [talk, Talk])
def test_messages_are_limited_and_the_socket_is_closed(endpoint: Any) -> None:
    site = site_of(WebSocketRoute("/", endpoint))
    sent = open_and_say(site, "a", "b", "c", "d")
    assert sent.types == ["websocket.accept", "websocket.send", "websocket.send", "websocket.close"]
    assert sent.closed == 1013
    assert sent.error is None
    assert site.log.told == [("refused", "rate_limit.exceeded")]
    site.clock.move(2)
    assert open_and_say(site, "a").types[:2] == ["websocket.accept", "websocket.send"]


def test_messages_that_have_been_counted_leave_nothing_behind() -> None:
    site = limited(app=Starlette(routes=[WebSocketRoute("/", talk)]))
    scope = websocket_scope()
    attempt(site.app, scope, says("a", "b"))
    assert scope["secguard"].standings is None


def test_handshakes_are_limited() -> None:
    @limit_endpoint("1/minute")
    async def once(websocket: WebSocket) -> None:
        await websocket.accept()

    site = site_of(WebSocketRoute("/", once))
    assert open_and_say(site).types == ["websocket.accept"]
    denied = open_and_say(site)
    assert denied.status == 429
    assert denied.header(b"ratelimit-policy") == b'"/";q=1;w=60'
    assert attempt(site.app, websocket_scope(denial=False)).closed == 1013


def test_a_limit_stands_alone_around_any_app() -> None:
    app = RateLimitMiddleware(Starlette(routes=[Route("/", slow)]), RateLimitSettings(), sinks=())
    assert [drive(app, http_scope()).status for _ in range(3)] == [200, 200, 429]
