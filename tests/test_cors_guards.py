"""CORS through Guards: alone, among other policies, and in front of real apps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware as StarlettesMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Send

from secguard import Guard, Settings, protect
from secguard.cors import CORSMiddleware, CORSPolicy, CORSSettings
from secguard.events import Event
from secguard.guard.inside import inside
from secguard.policy import Context, Exchange, Policy, Reply
from tests.helpers import (
    EventLog,
    Line,
    Scope,
    Sent,
    answering,
    attempt,
    drive,
    http_scope,
    plain,
    serve,
    websocket_scope,
)

APP = b"https://app.example.com"
FIELDS: dict[str, Any] = {
    "allow_origins": [APP.decode(), "https://*.example.org"],
    "allow_credentials": True,
    "expose_headers": ["X-Total", "X-Page"],
    "allow_headers": ["X-Token"],
    "rules": [{"paths": ["/assets"], "allow_origins": ["*"], "allow_credentials": False, "expose_headers": ["*"]}],
}
TOLD = [
    (b"access-control-allow-origin", APP),
    (b"access-control-allow-credentials", b"true"),
    (b"access-control-expose-headers", b"X-Total, X-Page"),
]
ASKED: list[Line] = [(b"access-control-request-method", b"GET"), (b"access-control-request-headers", b"x-token")]

Build = Callable[..., ASGIApp]


def settings(**fields: Any) -> CORSSettings:
    return CORSSettings.model_validate({**FIELDS, **fields})


def alone(app: ASGIApp, log: EventLog | None = None, **fields: Any) -> ASGIApp:
    return CORSMiddleware(app, settings(**fields), sinks=(log or EventLog(),))


def among_others(app: ASGIApp, log: EventLog | None = None, **fields: Any) -> ASGIApp:
    # Without csrf, which refuses the handshakes of strangers: tests/test_csrf_cors.py has both.
    made = Settings(_env_file=None, cors=settings(**fields), hosts={"allowed": ["example.com"]}, csrf=None)
    return Guard(app, policies=made.policies(sinks=(log or EventLog(),)))


both = pytest.mark.parametrize("build", [alone, among_others])


def get(origin: bytes | None = APP, path: str = "/", **more: Any) -> Scope:
    return http_scope(path, [] if origin is None else [(b"origin", origin)], **more)


def preflight(origin: bytes = APP, path: str = "/", *lines: Line) -> Scope:
    return http_scope(path, [(b"origin", origin), *(lines or ASKED)], "OPTIONS")


def said(sent: Sent) -> list[Line]:
    """Return the lines about CORS, of which none may come twice."""
    lines = [line for line in sent.headers if line[0].lower().startswith(b"access-control-")]
    assert len({name.lower() for name, _ in lines}) == len(lines)
    return lines


# Responses


@both
def test_an_allowed_origin_is_told_so(build: Build) -> None:
    sent = drive(build(plain), get())
    assert sorted(said(sent)) == sorted(TOLD)
    assert sent.header(b"vary") == b"Origin"
    below = drive(build(plain), get(b"https://www.example.org"))
    assert below.header(b"access-control-allow-origin") == b"https://www.example.org"


@both
@pytest.mark.parametrize("origin", [b"https://evil.test", b"null", b"nonsense", None])
def test_every_other_origin_is_told_nothing_and_yet_caches_are(build: Build, origin: bytes | None) -> None:
    sent = drive(build(plain), get(origin))
    assert (sent.status, sent.body) == (200, b"ok")
    assert said(sent) == []
    assert sent.header(b"vary") == b"Origin"


@both
@pytest.mark.parametrize("origin", [APP, b"https://evil.test", b"null", None])
def test_where_everybody_is_allowed_every_response_says_so_and_nothing_varies(build: Build, origin: bytes) -> None:
    sent = drive(build(plain), get(origin, "/assets/app.css"))
    assert sorted(said(sent)) == [
        (b"access-control-allow-origin", b"*"),
        (b"access-control-expose-headers", b"*"),
    ]
    assert sent.values(b"vary") == []
    assert sent.header(b"cross-origin-resource-policy") == b"cross-origin"


@both
@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (b"Accept-Encoding", b"Accept-Encoding, Origin"),
        (b"Accept-Encoding, Origin", b"Accept-Encoding, Origin"),
        (b"origin", b"origin"),
        (b"*", b"*"),
    ],
)
def test_vary_joins_the_apps_and_names_nothing_twice(build: Build, own: bytes, expected: bytes) -> None:
    app = answering(headers=[(b"Vary", own)])
    assert drive(build(app), get()).header(b"vary") == expected
    assert drive(build(app), get(None)).header(b"vary") == expected
    assert drive(build(app), get(path="/assets")).header(b"vary") == own


@both
@pytest.mark.parametrize("origin", [APP, b"https://evil.test", None])
@pytest.mark.parametrize("path", ["/", "/assets"])
def test_what_the_app_says_itself_is_replaced_and_told_of_once(build: Build, origin: bytes, path: str) -> None:
    log = EventLog()
    own = [
        (b"Access-Control-Allow-Origin", b"https://evil.test"),
        (b"access-control-allow-ORIGIN", b"*"),
        (b"Access-Control-Allow-Credentials", b"true"),
        (b"Access-Control-Expose-Headers", b"Authorization"),
        (b"Access-Control-Allow-Methods", b"*"),
        (b"Access-Control-Allow-Headers", b"*"),
        (b"Access-Control-Allow-Private-Network", b"true"),
        (b"Access-Control-Max-Age", b"1"),
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
    ]
    app = build(answering(headers=own), log)
    quiet = build(answering(headers=own[-2:]))
    for _ in range(3):
        sent = drive(app, get(origin, path))
        assert sorted(said(sent)) == sorted(said(drive(quiet, get(origin, path))))
        assert sent.values(b"set-cookie") == [b"a=1", b"b=2"]
    assert log.told == [("noticed", "cors.second")]
    assert log.last.detail["value"] == b"https://evil.test"


def test_what_the_app_says_itself_stands_where_no_policy_is() -> None:
    log = EventLog()
    fields: dict[str, Any] = {"allow_origins": []}
    own = (b"Access-Control-Allow-Origin", b"https://evil.test")
    assert said(drive(alone(answering(headers=[own]), log, **fields), get())) == [own]
    assert drive(alone(plain, log, **fields), get()).values(b"vary") == []
    assert drive(alone(answering(405), log, **fields), preflight()).status == 405
    assert log.events == []


def test_a_response_that_is_changed_outside_leaves_the_next_one_alone() -> None:
    guarded = alone(plain)

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        async def spoil(message: Any) -> None:
            if "headers" in message:
                message["headers"].clear()
            await send(message)

        await guarded(scope, receive, spoil)

    for scope in (get(), preflight()):
        assert drive(outer, dict(scope)).headers == []
        assert said(drive(guarded, dict(scope)))


class Limiting(Policy):
    """Stands in for what counts, and for what looks at bodies."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.asked = 0

    def admit(self, exchange: Exchange) -> Reply | None:
        self.asked += 1
        if exchange.path == "/429":
            return self.context.refuse(exchange, HTTPStatus.TOO_MANY_REQUESTS, "test.limit", "too many")
        return None

    def on_receive(self, exchange: Exchange, message: Any) -> Reply | None:
        if exchange.path == "/413":
            return self.context.refuse(exchange, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "test.body", "too large")
        return None


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if scope["path"] == "/500":
        raise ValueError("broken")
    await plain(scope, receive, send)


@pytest.mark.parametrize("status", [403, 413, 429, 500, 404])
def test_every_error_can_be_read_by_an_allowed_origin(status: int) -> None:
    context = Context(sinks=(EventLog(),))
    app = answering(status) if status in {403, 404} else failing
    guard = Guard(app, policies=[CORSPolicy(settings(), context), Limiting(context)])
    sent = attempt(guard, get(path=f"/{status}"))
    assert sent.status == status
    assert sorted(said(sent)) == sorted(TOLD)
    assert sent.header(b"vary") == b"Origin"
    stranger = attempt(guard, get(b"https://evil.test", f"/{status}"))
    assert (stranger.status, said(stranger)) == (status, [])


def test_a_refusal_of_an_inner_policy_can_be_read() -> None:
    sent = drive(among_others(plain), get(host=b"evil.test"))
    assert sent.status == 400
    assert sorted(said(sent)) == sorted(TOLD)


# Preflights


@both
def test_a_preflight_is_answered_before_anything_counts_it_or_the_app_sees_it(build: Build) -> None:
    asked = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])

    sent = drive(build(app), preflight())
    assert (sent.status, sent.body, asked) == (200, b"OK", [])
    assert sent.header(b"access-control-allow-origin") == APP
    assert sent.header(b"access-control-max-age") == b"600"
    assert sent.header(b"cache-control") is None
    context = Context(sinks=())
    limiting = Limiting(context)
    drive(Guard(app, policies=[CORSPolicy(settings(), context), limiting]), preflight())
    assert limiting.asked == 0


@both
def test_one_that_fails_is_refused_without_a_word_about_cors(build: Build) -> None:
    log = EventLog()
    sent = drive(build(plain, log), preflight(b"https://evil.test"))
    assert (sent.status, sent.body) == (403, b"Disallowed CORS origin https://evil.test\n")
    assert said(sent) == []
    assert sent.header(b"cache-control") == b"no-store"
    assert sent.header(b"content-type") == b"text/plain; charset=utf-8"
    assert log.told == [("refused", "cors.preflight")]
    assert log.last.status == 403


@both
@pytest.mark.parametrize("rehearsal", [{"mode": "report"}])
def test_a_refusal_can_be_rehearsed(build: Build, rehearsal: Mapping[str, str]) -> None:
    log = EventLog()
    sent = drive(build(answering(204), log, **rehearsal), preflight(b"https://evil.test"))
    assert (sent.status, said(sent)) == (204, [])
    assert log.told == [("rehearsed", "cors.preflight")]
    assert drive(build(answering(204), log, **rehearsal), preflight()).status == 200


def test_a_preflight_that_fails_can_be_read_by_nobody_even_where_a_request_could() -> None:
    sent = drive(alone(plain), preflight(APP, "/", (b"access-control-request-method", b"PUT")))
    assert (sent.status, said(sent)) == (403, [])
    assert said(drive(alone(plain), get())) != []


# Websockets


@both
@pytest.mark.parametrize(
    ("origin", "path", "allowed"),
    [
        (APP, "/", "exact"),
        (b"https://www.example.org", "/", "pattern"),
        (b"https://evil.test", "/", None),
        (b"https://evil.test", "/assets", "any"),
        (None, "/assets", "any"),  # what all may read, an <img> may load, which brings no Origin
    ],
)
def test_how_an_origin_is_allowed_is_left_for_others_to_read(
    build: Build, origin: bytes | None, path: str, allowed: str | None
) -> None:
    found = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope["secguard"].allowed)
        await plain(scope, receive, send)

    lines = [] if origin is None else [(b"origin", origin)]
    assert drive(build(app), http_scope(path, lines)).status == 200
    assert drive(build(app), websocket_scope(path, lines)).types == ["websocket.accept"]
    assert found == [allowed, allowed]


@both
def test_a_handshake_is_no_preflight_and_is_never_refused(build: Build) -> None:
    log = EventLog()
    sent = drive(build(plain, log), websocket_scope("/", [(b"origin", b"https://evil.test"), *ASKED]))
    assert (sent.types, log.events) == (["websocket.accept"], [])
    assert sent.header(b"vary") == b"Origin"


def test_two_guards_tell_an_origin_what_each_of_them_means() -> None:
    """Law 1: the outer one's words stand, as they would in one Guard."""
    context = Context(sinks=(EventLog(),))
    inner = CORSPolicy(settings(expose_headers=["X-Inner"]), context)
    outer = CORSPolicy(settings(expose_headers=["X-Outer"]), context)
    for app in (
        Guard(plain, policies=[outer, inner]),
        Guard(Guard(plain, policies=[inner]), policies=[outer]),
    ):
        sent = drive(app, get())
        assert sent.header(b"access-control-expose-headers") == b"X-Outer"
        assert sent.header(b"access-control-allow-origin") == APP


def test_an_origin_that_a_middleware_takes_away_in_between_is_none() -> None:
    inner = alone(plain)

    async def stripping(scope: Scope, receive: Receive, send: Send) -> None:
        lines = [line for line in scope["headers"] if line[0] != b"origin"]
        await inner({**scope, "headers": lines}, receive, send)

    assert sorted(said(drive(alone(stripping), get()))) == sorted(TOLD)


# Paths


ROOT: dict[str, Any] = {"root_path": "/api"}


@both
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/api/assets/x", b"*"),
        ("/assets/x", b"*"),
        ("/api/users", APP),
        ("/x/api/assets", None),  # Litestar serves /assets there, and others what it says
        ("/apiassets", None),
    ],
)
def test_no_policy_holds_where_frameworks_disagree_about_the_path(build: Build, path: str, told: bytes | None) -> None:
    app = build(plain)
    sent = drive(app, get(path=path, **ROOT))
    assert sent.header(b"access-control-allow-origin") == told
    if told is None:
        assert said(sent) == []
        assert sent.values(b"vary") == []
        assert drive(build(answering(405)), {**preflight(path=path), **ROOT}).status == 405


def test_without_rules_it_is_the_same_policy_whatever_the_path() -> None:
    app = alone(plain, rules=[])
    for path in ("/", "/x/api/assets", "//x", ""):
        assert drive(app, get(path=path, **ROOT)).header(b"access-control-allow-origin") == APP
        assert drive(app, {**preflight(path=path), **ROOT}).status == 200


def test_a_rule_may_close_what_the_section_opens() -> None:
    app = alone(answering(405), rules=[{"paths": ["/admin"], "allow_origins": []}])
    assert said(drive(app, get(path="/admin/keys"))) == []
    assert drive(app, preflight(path="/admin/keys")).status == 405
    assert drive(app, preflight(path="/administrator")).status == 200


# Who may embed


def corp(path: str = "/assets", own: list[Line] | None = None, **sections: Any) -> bytes | None:
    made = Settings(_env_file=None, **{"cors": settings(), **sections})
    app = Guard(answering(headers=own or []), policies=made.policies(sinks=()))
    return drive(app, get(path=path)).header(b"cross-origin-resource-policy")


NAME = "cross_origin_resource_policy"


def test_what_everybody_may_read_everybody_may_embed() -> None:
    assert corp() == b"cross-origin"
    assert corp("/") == b"same-site"
    assert corp(profile="strict") == b"cross-origin"
    assert corp("/", profile="strict") == b"same-origin"


@pytest.mark.parametrize(
    "headers",
    [
        {NAME: "same-site"},
        {NAME: None},
        {"rules": [{"paths": ["/assets/app.css", "/assets"], NAME: "same-site"}]},
        {"rules": [{"paths": ["/"], NAME: "same-site"}]},
        {NAME: "same-site", "rules": [{"paths": ["/other"], NAME: "same-origin"}]},
    ],
    ids=str,
)
def test_what_somebody_set_in_headers_stands(headers: dict[str, Any]) -> None:
    expected = None if headers == {NAME: None} else b"same-site"
    assert corp("/assets/app.css", headers=headers) == expected


def test_what_somebody_set_in_the_environment_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SECGUARD_HEADERS__{NAME.upper()}", "same-origin")
    assert corp() == b"same-origin"


def test_what_somebody_set_for_other_paths_does_not_concern_it() -> None:
    assert corp(headers={"rules": [{"paths": ["/other"], NAME: "same-origin"}]}) == b"cross-origin"
    assert corp(headers={"rules": [{"paths": ["/assets"], "frame_options": "DENY"}]}) == b"cross-origin"


def test_the_apps_own_word_stands() -> None:
    assert corp(own=[(b"Cross-Origin-Resource-Policy", b"same-origin")]) == b"same-origin"


def test_it_may_be_switched_off() -> None:
    assert corp(cors=settings(embeddable=False)) == b"same-site"
    assert corp(headers=None) == b"cross-origin"
    closed = drive(alone(plain, embeddable=False), get(path="/assets"))
    assert closed.values(b"cross-origin-resource-policy") == []


# A second CORS middleware inside


def endpoint(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


SECOND = Middleware(StarlettesMiddleware, allow_origins=["*"])
HOLDING: dict[str, ASGIApp] = {
    "on the app": Starlette(middleware=[SECOND]),
    "on a FastAPI app": FastAPI(middleware=[SECOND]),
    "around the app": StarlettesMiddleware(Starlette(), allow_origins=["*"]),
    "around the app, behind another": GZipMiddleware(StarlettesMiddleware(Starlette(), allow_origins=["*"])),
    "ours": CORSMiddleware(plain, settings(), sinks=()),
    "ours, on the app": Starlette(middleware=[Middleware(CORSMiddleware, settings=settings())]),
    "on an app that is mounted": Starlette(routes=[Mount("/x", Starlette(middleware=[SECOND]))]),
    "on a mount": Starlette(routes=[Mount("/x", routes=[Route("/", endpoint)], middleware=[SECOND])]),
    "on a route": Starlette(routes=[Route("/", endpoint, middleware=[SECOND])]),
    "on a router": Router([Route("/", endpoint)], middleware=[SECOND]),
}
WITHOUT: dict[str, ASGIApp] = {
    "a plain app": plain,
    "a Starlette app": Starlette(routes=[Route("/", endpoint), Mount("/x", Starlette())]),
    "another middleware": Starlette(middleware=[Middleware(GZipMiddleware)]),
}


def met(app: object) -> list[Event]:
    log = EventLog()
    policy = CORSPolicy(settings(), Context(sinks=(log,)))
    policy.meet(app)
    policy.meet(app)
    return log.events


@pytest.mark.parametrize("app", HOLDING.values(), ids=HOLDING)
def test_a_second_one_inside_is_told_of_once(app: ASGIApp) -> None:
    (event,) = met(app)
    assert (event.action, event.code) == ("noticed", "cors.second")
    assert "leave the cors section off" in event.reason


@pytest.mark.parametrize("app", WITHOUT.values(), ids=WITHOUT)
def test_where_there_is_none_nothing_is_told(app: ASGIApp) -> None:
    assert met(app) == []


def test_what_is_inside_is_found_once_and_without_end() -> None:
    shared = Starlette(routes=[Route("/", endpoint)])
    app = Starlette(routes=[Mount("/a", shared), Mount("/b", shared)])
    app.routes.append(Mount("/again", app))
    assert sum(part is shared for part in inside(app)) == 1
    assert sum(part is app for part in inside(app)) == 1

    class Endless:
        @property
        def app(self) -> object:
            return Endless()

    assert len(list(inside(Endless()))) == 32


# Real apps


def test_protect_answers_for_an_app_with_all_that_it_has() -> None:
    app = Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"]), Route("/broken", lambda request: 1 / 0)])
    app.add_middleware(GZipMiddleware, minimum_size=0)
    protect(app, Settings(_env_file=None, cors=settings()))
    client = TestClient(app, "https://testserver", raise_server_exceptions=False)
    origin = {"Origin": APP.decode()}
    assert client.get("/", headers=origin).headers["access-control-allow-origin"] == APP.decode()
    assert client.get("/", headers=origin).headers["vary"] == "Accept-Encoding, Origin"
    for path, status in (("/none", 404), ("/broken", 500)):
        answer = client.get(path, headers=origin)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, APP.decode())
    asked = {**origin, "Access-Control-Request-Method": "GET"}
    assert client.options("/", headers=asked).text == "OK"
    refused = client.options("/", headers={**asked, "Origin": "https://evil.test"})
    assert (refused.status_code, refused.text) == (403, "Disallowed CORS origin https://evil.test\n")
    assert refused.headers["x-content-type-options"] == "nosniff"


def test_starlette_adds_it_as_a_middleware() -> None:
    app = Starlette(routes=[Route("/", endpoint)])
    app.add_middleware(CORSMiddleware, settings=settings())
    answer = TestClient(app).get("/", headers={"Origin": APP.decode()})
    assert answer.headers["access-control-allow-origin"] == APP.decode()


def test_requests_at_once_do_not_see_each_other() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        await plain(scope, receive, send)

    async def together() -> list[Sent]:
        app = alone(slow)
        origins = [b"https://%d.example.org" % at for at in range(20)]
        return await asyncio.gather(*(serve(app, get(origin)) for origin in origins))

    told = [sent.header(b"access-control-allow-origin") for sent in asyncio.run(together())]
    assert told == [b"https://%d.example.org" % at for at in range(20)]


def test_line_that_somebody_else_declares_keeps_its_turn() -> None:
    """What CORS sets is set last where nobody outside has a word about it, and in its place where somebody has."""
    told = settings(allow_origins=[APP.decode()])
    for extra, sent in (
        ({"X-Other": "1"}, APP),
        ({"Access-Control-Allow-Origin": "https://fixed.test"}, b"https://fixed.test"),
    ):
        made = Settings(_env_file=None, cors=told, headers={"extra": extra}, csrf=None)
        assert drive(Guard(plain, made), get()).header(b"access-control-allow-origin") == sent


def test_second_one_that_is_added_after_protect_is_told_of_at_start() -> None:
    log = EventLog()
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok"))])
    made = Settings(_env_file=None, cors={"allow_origins": [APP.decode()]}, csrf=None)

    class Told:
        def policies(self) -> Sequence[Policy]:
            return made.policies(sinks=(log,))

    protect(app, Told())
    app.add_middleware(StarlettesMiddleware, allow_origins=["*"])
    assert log.codes == []
    drive(app, http_scope("/"))
    assert log.codes == ["cors.second"]
