"""The nonce: made when it is read, one for each request, in every list that asks for it, and in no cache."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from jinja2 import DictLoader, Environment
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.templating import Jinja2Templates
from starlette.types import Receive, Send

from secguard.csp import NONCE, NONE, STRICT_DYNAMIC, CSPMiddleware, CSPSettings, csp
from secguard.policy import Profile
from tests.csp_pages import ENFORCED, REPORT_ONLY, load, only, read, read_nonce
from tests.helpers import Line, Scope, attempt, drive, http_scope, serve, websocket_scope

PROFILES: tuple[Profile, ...] = ("web", "strict", "api")


def policies(sent: Any) -> bytes:
    """Everything that was sent by way of policies."""
    return b"\n".join(sent.header(name) or b"" for name in (ENFORCED, REPORT_ONLY))


# --- made when it is read, anew for every request ---


def test_a_nonce_is_a_text_of_128_bits_or_more_that_nobody_can_guess() -> None:
    """CSP 3 section 7.1."""
    made = [load(read_nonce).body.decode() for _ in range(200)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[0-9a-f]{32,}|[A-Za-z0-9+/_-]{22,}", nonce) for nonce in made)
    assert all(len(set(letters)) > 4 for letters in zip(*made, strict=True)), "each letter of it is random"


def test_a_nonce_is_the_same_throughout_a_request() -> None:
    def ask(request: HTTPConnection) -> str:
        other = HTTPConnection(request.scope)
        (nonce,) = {read_nonce(request), read_nonce(request), read_nonce(other), request.scope["state"]["csp_nonce"]}
        return str(nonce)

    sent = load(ask)
    assert f"'nonce-{sent.body.decode()}'" in only(sent.header(ENFORCED))["script-src"]


def test_requests_at_once_have_a_nonce_each() -> None:
    """PITFALLS: the nonce in a module global, shared by concurrent requests."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        turns = int(scope["path"].removeprefix("/"))
        for _ in range(turns % 7):
            await asyncio.sleep(0)
        early = read_nonce(HTTPConnection(scope)) if turns % 3 else None
        for _ in range(turns % 5):
            await asyncio.sleep(0)
        if turns % 3 == 1:
            csp(HTTPConnection(scope)).add(img_src=f"https://{turns}.example")
        await asyncio.sleep(0)
        assert early is None or early == read_nonce(HTTPConnection(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": (early or "").encode()})

    async def together() -> None:
        guard = CSPMiddleware(app, CSPSettings(rollout="report"))
        answers = await asyncio.gather(*(serve(guard, http_scope(f"/{at}")) for at in range(90)))
        for at, sent in enumerate(answers):
            own = re.findall(rb"'nonce-([^']*)'", policies(sent))
            assert own == [sent.body] * (4 if at % 3 else 0)
            assert (b"https://%d.example" % at in policies(sent)) is (at % 3 == 1)
            assert policies(sent).count(b".example") == 2 * (at % 3 == 1)
        read_ones = [sent.body for sent in answers if sent.body]
        assert len(set(read_ones)) == len(read_ones) == 60

    asyncio.run(together())


def test_a_nonce_stands_in_every_list_that_asks_for_one() -> None:
    asking = ("default_src", "script_src", "script_src_elem", "style_src", "style_src_elem")
    sent = load(
        read_nonce,
        directives=dict.fromkeys(asking, (NONCE, "https://a.example")) | {"img_src": "https:"},
        report_only={"style_src": NONCE},
        rollout="report",
    )
    nonce = f"'nonce-{sent.body.decode()}'"
    enforced, (rehearsed, own) = only(sent.header(ENFORCED)), read(sent.header(REPORT_ONLY))
    for policy in (enforced, rehearsed):
        assert [policy[name.replace("_", "-")] for name in asking] == [(nonce, "https://a.example")] * len(asking)
        assert policy["img-src"] == ("https:",)
    assert own == {"style-src": (nonce,)}


@pytest.mark.parametrize("source", ["https://cdn.example.com/'nonce'", "https://cdn.example.com/'nonce'/a.js"])
def test_a_path_that_is_called_nonce_is_no_place_for_one(source: str) -> None:
    """A quote may stand in a path (RFC 3986 section 3.3)."""
    for ask in (None, read_nonce):
        sent = load(ask, profile="api", directives={"img_src": source})
        assert only(sent.header(ENFORCED))["img-src"] == (source,)


# --- unread ---


@pytest.mark.parametrize("rollout", ["enforce", "report"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("status", [200, 304, 404])
def test_where_nobody_reads_it_no_header_holds_a_nonce(profile: Profile, rollout: str, status: int) -> None:
    """PITFALLS: 'nonce-None' in the header."""
    own = {"script_src_elem": [NONCE, STRICT_DYNAMIC], "style_src_elem": NONCE}
    for directives in ({}, own):
        sent = load(profile=profile, rollout=rollout, report_only=own, directives=directives, status=status)
        assert b"nonce" not in policies(sent)
        assert sent.values(b"cache-control") == []


@pytest.mark.parametrize(
    ("sources", "unread"),
    [
        ([NONCE], ("'none'",)),
        ([NONCE, "'self'"], ("'self'",)),
        ([NONCE, STRICT_DYNAMIC], ("'none'",)),
        ([NONCE, STRICT_DYNAMIC, "'unsafe-inline'", "https:", "'self'"], ("'none'",)),
        ([NONCE, STRICT_DYNAMIC, "'unsafe-eval'"], ("'none'",)),
        (["https:", NONCE, "'report-sample'"], ("https:", "'report-sample'")),
    ],
)
def test_a_list_without_its_nonce_never_says_more(sources: list[str], unread: tuple[str, ...]) -> None:
    """Beside 'strict-dynamic' hosts are ignored: without it they would be obeyed (CSP 3 section 8.2)."""
    assert only(load(directives={"script_src": sources}).header(ENFORCED))["script-src"] == unread


@pytest.mark.parametrize("value", [None, "", "mine"])
def test_a_nonce_of_ones_own_hides_ours_and_stands_in_no_header(value: str | None) -> None:
    def ask(request: HTTPConnection) -> object:
        request.state.csp_nonce = value
        return request.state.csp_nonce

    sent = load(ask)
    assert sent.body == str(value).encode()
    assert b"nonce" not in policies(sent)


# --- too late ---


async def after_the_start(scope: Scope, receive: Receive, send: Send) -> None:
    websocket = scope["type"] == "websocket"
    start = {"type": "websocket.accept"} if websocket else {"type": "http.response.start", "status": 200}
    await send({**start, "headers": []})
    read_nonce(HTTPConnection(scope))


async def after_a_denial(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
    read_nonce(HTTPConnection(scope))


async def streaming(request: Request) -> Response:
    async def chunks() -> Any:
        yield f"<script nonce={read_nonce(request)}>"

    return StreamingResponse(chunks())


async def in_the_background(request: Request) -> Response:
    return PlainTextResponse("ok", background=BackgroundTask(read_nonce, request))


LATE: dict[str, tuple[Any, Callable[[], Scope]]] = {
    "after the response has started": (after_the_start, http_scope),
    "after a websocket was accepted": (after_the_start, websocket_scope),
    "after a websocket was denied": (after_a_denial, websocket_scope),
    "in a stream": (Starlette(routes=[Route("/", streaming)]), http_scope),
    "in a background task": (Starlette(routes=[Route("/", in_the_background)]), http_scope),
}


@pytest.mark.parametrize(("app", "make_scope"), LATE.values(), ids=LATE)
def test_a_nonce_that_is_read_too_late_is_an_error_that_says_so(app: Any, make_scope: Callable[[], Scope]) -> None:
    """PITFALLS: a nonce read after the header was written silently useless."""
    sent = attempt(CSPMiddleware(app), make_scope())
    assert b"nonce" not in policies(sent)
    assert isinstance(sent.error, RuntimeError)
    assert "too late" in str(sent.error)
    assert "before the response starts" in str(sent.error)


def test_a_nonce_that_was_read_in_time_may_be_read_again_later() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        early = read_nonce(HTTPConnection(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert read_nonce(HTTPConnection(scope)) == early
        await send({"type": "http.response.body", "body": b""})

    drive(CSPMiddleware(app), http_scope())


async def reading_behind_the_endpoint(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers["x-told"] = read_nonce(request)
    return response


def test_a_middleware_inside_may_read_it_while_the_answer_is_still_on_its_way() -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("ok")

    inner = [Middleware(BaseHTTPMiddleware, dispatch=reading_behind_the_endpoint)]
    sent = drive(CSPMiddleware(Starlette(routes=[Route("/", endpoint)], middleware=inner)), http_scope())
    assert b"'nonce-%b'" % (sent.header(b"x-told") or b"?") in policies(sent)


def test_a_template_reads_it_in_one_line() -> None:
    pages = {"page.html": '<script nonce="{{ request.state.csp_nonce }}">1</script>'}
    templates = Jinja2Templates(env=Environment(loader=DictLoader(pages), autoescape=True))

    async def endpoint(request: Request) -> Response:
        return templates.TemplateResponse(request, "page.html")

    sent = drive(CSPMiddleware(Starlette(routes=[Route("/", endpoint)])), http_scope())
    (nonce,) = re.findall(rb'^<script nonce="([^"]+)">1</script>$', sent.body)
    assert b"'nonce-%b'" % nonce in policies(sent)


# --- 304 ---


@pytest.mark.parametrize("ask", [None, read_nonce], ids=["unread", "read"])
@pytest.mark.parametrize("profile", ["web", "strict"])
def test_a_304_leaves_the_stored_page_the_nonce_that_it_came_with(
    profile: Profile, ask: Callable[[HTTPConnection], object] | None
) -> None:
    """PITFALLS: a fresh nonce on a 304, which updates the headers of what is stored (RFC 9111 section 3.2)."""
    sent = load(ask, profile=profile, rollout="report", status=304)
    assert policies(sent) == b"\n"


@pytest.mark.parametrize("ask", [None, read_nonce], ids=["unread", "read"])
def test_a_304_carries_a_policy_that_holds_no_nonce(ask: Callable[[HTTPConnection], object] | None) -> None:
    plain = {"script_src": "'self'", "style_src": "'self'"}
    cases: list[tuple[Profile, dict[str, str]]] = [("api", {}), ("web", plain)]
    for profile, directives in cases:
        sent = load(ask, profile=profile, directives=directives, report_only={"script_src": NONCE}, status=304)
        usual = load(profile=profile, directives=directives)
        assert sent.header(ENFORCED) == usual.header(ENFORCED)
        assert sent.header(REPORT_ONLY) is None


def test_a_304_carries_an_amended_policy_where_that_holds_no_nonce() -> None:
    def without(request: HTTPConnection) -> object:
        return csp(request).replace(script_src="'self'", style_src=NONE)

    sent = load(without, status=304)
    assert only(sent.header(ENFORCED))["script-src"] == ("'self'",)
    assert load(lambda request: csp(request).add(img_src="https:"), status=304).header(ENFORCED) is None
    asking = load(lambda request: csp(request).replace(script_src=NONCE), profile="api", status=304)
    assert asking.header(ENFORCED) is None


# --- caches ---

KEPT: list[tuple[list[str], bytes]] = [
    ([], b"no-store"),
    (["no-store"], b"no-store"),
    (["private"], b"private"),
    (["Private, max-age=60"], b"Private, max-age=60"),
    (["public"], b"private"),
    (["PUBLIC, max-age=60"], b"max-age=60, private"),
    (["max-age=60"], b"max-age=60, private"),
    (["no-cache"], b"no-cache, private"),
    (["s-maxage=60"], b"private"),
    (["S-MaxAge=60, max-age=5"], b"max-age=5, private"),
    (["public, no-store"], b"no-store"),
    (["public, private, s-maxage=1"], b"private"),
    (["public", "max-age=60"], b"max-age=60, private"),
    (["immutable,max-age=60,public"], b"immutable, max-age=60, private"),
    (['private="set-cookie"'], b'private="set-cookie", private'),
    (['no-cache="a, b", public'], b'no-cache="a, b", private'),
]


@pytest.mark.parametrize(("said", "expected"), KEPT, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("case", [bytes.lower, bytes.title])
def test_what_a_page_with_a_nonce_says_of_caches(said: list[str], expected: bytes, case: Any) -> None:
    """PITFALLS: cached pages carrying stale nonces. What shared caches keep (RFC 9111 section 5.2.2), they show."""
    lines: list[Line] = [(case(b"cache-control"), value.encode()) for value in said]
    assert load(read_nonce, headers=lines).header(b"cache-control") == expected
    for ask in (None, lambda request: csp(request).add(img_src="https:")):
        assert load(ask, headers=lines).values(b"cache-control") == [line[1] for line in lines], "no nonce, no business"
