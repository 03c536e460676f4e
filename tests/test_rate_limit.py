"""Rate limits: what is let in, what is refused, and what both are told."""

import json
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from secguard import Guard, Settings
from secguard.events import Event
from secguard.policy import Exchange, Mode, Reply
from secguard.rate_limit import RateLimitMiddleware, RateLimitSettings, Standing
from tests.helpers import EventLog, answering, attempt, clock, drive, http_scope, plain, websocket_scope
from tests.limited_apps import limited

STRATEGIES = ("fixed-window", "sliding-window", "moving-window")


def alone(app: ASGIApp, log: EventLog, mode: Mode = "enforce", **fields: object) -> ASGIApp:
    section = RateLimitSettings.model_validate({"default": "2/minute", "mode": mode, **fields})
    return RateLimitMiddleware(app, section, sinks=(log,), clock=clock())


def in_a_guard(app: ASGIApp, log: EventLog, mode: Mode = "enforce", **fields: object) -> ASGIApp:
    settings = Settings(_env_file=None, rate_limit={"default": "2/minute", "mode": mode, **fields})
    return Guard(app, policies=settings.policies(sinks=(log,), clock=clock()))


BUILDS = pytest.mark.parametrize("build", [alone, in_a_guard])


@BUILDS
def test_requests_beyond_the_limit_are_refused(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(plain, log)
    assert [drive(app, http_scope()).status for _ in range(4)] == [200, 200, 429, 429]
    assert log.told == [("refused", "rate_limit.exceeded")] * 2
    assert log.last.status == 429
    assert log.last.client == "203.0.113.9"
    assert dict(log.last.detail)["limits"] == "default"


@BUILDS
def test_websockets_are_counted_with_the_rest_and_denied(build: Callable[..., ASGIApp]) -> None:
    app = build(plain, EventLog())
    assert drive(app, websocket_scope()).types == ["websocket.accept"]
    assert drive(app, http_scope()).status == 200
    denied = drive(app, websocket_scope())
    assert denied.types[0] == "websocket.http.response.start"
    assert denied.status == 429
    assert denied.header(b"retry-after") is not None
    assert drive(app, websocket_scope(denial=False)).closed == 1013


@BUILDS
def test_refusal_can_be_rehearsed(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(plain, log, "report")
    assert [drive(app, http_scope()).status for _ in range(3)] == [200, 200, 200]
    assert log.told == [("rehearsed", "rate_limit.exceeded")]


@BUILDS
def test_every_answer_tells_how_the_limit_stands(build: Callable[..., ASGIApp]) -> None:
    app = build(plain, EventLog())
    first, second, refused = (drive(app, http_scope()) for _ in range(3))
    assert [sent.header(b"ratelimit-policy") for sent in (first, second, refused)] == [b'"default";q=2;w=60'] * 3
    remaining = [(sent.header(b"ratelimit") or b"").split(b";")[1] for sent in (first, second, refused)]
    assert remaining == [b"r=1", b"r=0", b"r=0"]
    accepted = drive(build(plain, EventLog()), websocket_scope())
    assert accepted.header(b"ratelimit-policy") == b'"default";q=2;w=60'


def test_refusal_is_a_problem_that_no_cache_keeps_and_that_says_when_to_come_back() -> None:
    site = limited("1/minute")
    site.ask()
    site.clock.move(10)
    refused = site.ask()
    assert refused.header(b"content-type") == b"application/problem+json"
    assert refused.header(b"cache-control") == b"no-store"
    assert json.loads(refused.body) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "violated-policies": ["default"],
    }
    assert refused.header(b"retry-after") == b"51"  # the window of the clock ends, and then the last one fades


def test_refusal_says_why_in_development_only() -> None:
    site = limited("1/minute", context={"environment": "development"})
    site.ask()
    assert json.loads(site.ask().body)["detail"].startswith("rate_limit.exceeded: ")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_who_waits_as_long_as_it_says_is_let_in(strategy: str) -> None:
    site = limited("3/minute; 50/hour", strategy=strategy)
    for step in range(200):
        refused = site.ask()
        if refused.status == 429:
            after = int(refused.header(b"retry-after") or 0)
            told = [int(part.rpartition(b"t=")[2]) for part in (refused.header(b"ratelimit") or b"").split(b",")]
            assert after == max(told) if after > 60 else after >= min(told)
            site.clock.move(after)
            assert site.ask().status == 200, step
        site.clock.move(step % 7)


def test_jitter_only_ever_adds_to_what_a_client_has_to_wait() -> None:
    site = limited("1/minute", strategy="fixed-window", jitter=5)
    site.ask()
    waits = {int(site.ask().header(b"retry-after") or 0) for _ in range(200)}
    assert waits > {61, 66} or waits >= {62, 63, 64, 65}
    assert min(waits) >= 61
    assert max(waits) <= 66


def test_request_that_one_limit_refuses_is_counted_for_none() -> None:
    site = limited("2/second; 5/hour", strategy="fixed-window")
    assert site.statuses(10) == [200, 200] + [429] * 8
    site.clock.move(1)
    assert site.statuses(2) == [200, 200]
    site.clock.move(1)
    assert site.statuses(2) == [200, 429]
    assert [part.split(b";")[0] for part in (site.ask().header(b"ratelimit") or b"").split(b", ")] == [
        b'"default-1s"',
        b'"default-3600s"',
    ]


def test_only_the_limit_that_is_reached_is_named() -> None:
    site = limited("2/second; 5/hour", strategy="fixed-window")
    site.statuses(2)
    assert json.loads(site.ask().body)["violated-policies"] == ["default-1s"]


def test_each_address_has_a_count_of_its_own() -> None:
    site = limited("1/minute")
    assert [site.ask(client=client).status for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [200, 200, 429]


def test_fixed_window_lets_twice_the_limit_through_at_its_edge_and_the_default_does_not() -> None:
    admitted = {}
    for strategy in STRATEGIES:
        site = limited("100/minute", strategy=strategy)
        site.ask()
        site.clock.move(59)
        before = site.statuses(99)
        site.clock.move(2)
        admitted[strategy] = (before + site.statuses(100)).count(200)
    assert admitted["fixed-window"] == 199
    assert admitted["moving-window"] == 100
    assert admitted["sliding-window"] == 101  # a second in sixty has faded of the last window


def test_paths_of_one_rule_share_a_count_whatever_is_in_them() -> None:
    site = limited(rules=[{"paths": ["/users/{id}"], "limits": "2/minute"}])
    assert [site.ask(f"/users/{number}").status for number in range(4)] == [200, 200, 429, 429]


def test_first_message_is_the_only_one_that_is_touched() -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"a", b"b", b"c"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    sent = limited("5/minute", stream).ask()
    assert sent.types == ["http.response.start", *["http.response.body"] * 4]
    assert sent.body == b"abc"


def test_nobody_else_speaks_under_our_names() -> None:
    theirs = [(b"RateLimit", b"theirs"), (b"ratelimit-policy", b"theirs"), (b"Set-Cookie", b"a=b")]
    sent = limited("5/minute", answering(headers=theirs)).ask()
    assert sent.header(b"ratelimit-policy") == b'"default";q=5;w=60'
    assert sent.header(b"ratelimit") == b'"default";r=4;t=60'
    assert sent.header(b"set-cookie") == b"a=b"


def test_without_a_limit_nothing_is_counted_and_nothing_told() -> None:
    site = limited()
    assert site.statuses(20) == [200] * 20
    assert site.ask().header(b"ratelimit") is None
    assert len(site.policy.local) == 0


def test_errors_tell_how_the_limit_stands_too() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError

    guard = limited("5/minute", broken)
    sent = attempt(guard.app, http_scope())
    assert sent.status == 500
    assert sent.header(b"ratelimit-policy") == b'"default";q=5;w=60'


def test_guard_around_a_guard_counts_once() -> None:
    log, now = EventLog(), clock()
    settings = Settings(_env_file=None, rate_limit={"default": "3/minute"})
    inner = Guard(plain, policies=settings.policies(sinks=(log,), clock=now))
    outer = Guard(inner, policies=settings.policies(sinks=(log,), clock=now))
    sent = [drive(outer, http_scope()) for _ in range(4)]
    assert [it.status for it in sent] == [200, 200, 200, 429]
    assert sent[1].header(b"ratelimit-policy") == b'"default";q=3;w=60'
    assert (sent[1].header(b"ratelimit") or b"").startswith(b'"default";r=1;')


def test_protected_app_mounted_in_a_protected_app_counts_once_and_adds_its_own() -> None:
    from starlette.routing import Mount

    inner = Starlette(routes=[Route("/x", lambda request: PlainTextResponse("x"))])
    own = {"default": "3/minute", "rules": [{"paths": ["/x"], "limits": "2/hour", "name": "x"}]}
    mounted = Guard(inner, policies=Settings(_env_file=None, rate_limit=own).policies(sinks=()))
    site = Starlette(routes=[Mount("/m", mounted)])
    outer = Guard(site, policies=Settings(_env_file=None, rate_limit={"default": "9/minute"}).policies(sinks=()))
    sent = [drive(outer, http_scope("/m/x")) for _ in range(3)]
    assert [it.status for it in sent] == [200, 200, 429]
    assert sent[0].header(b"ratelimit-policy") == b'"default";q=9;w=60, "x";q=2;w=3600'
    assert sent[2].header(b"ratelimit-policy") == b'"default";q=9;w=60, "x";q=2;w=3600'


def test_inner_limits_are_told_where_the_outer_guard_counts_nothing() -> None:
    from starlette.routing import Mount

    inner = Guard(plain, policies=Settings(_env_file=None, rate_limit={"default": "9/minute"}).policies(sinks=()))
    exempting = {"default": "5/minute", "exempt": {"paths": ["/m"]}}
    outer = Guard(
        Starlette(routes=[Mount("/m", inner)]),
        policies=Settings(_env_file=None, rate_limit=exempting).policies(sinks=()),
    )
    assert drive(outer, http_scope("/m/x")).header(b"ratelimit-policy") == b'"default";q=9;w=60'


def custom(exchange: Exchange, standings: list[Standing]) -> Reply:
    labels = ", ".join(standing.quota.label for standing in standings if standing.refused)
    return Reply(
        503, ((b"content-type", b"text/html"), (b"Retry-After", b"99")), f"<p>{labels}".encode(), cacheable=True
    )


async def custom_later(exchange: Exchange, standings: list[Standing]) -> Reply:
    return custom(exchange, standings)


@pytest.mark.parametrize("refusal", [custom, custom_later])
def test_code_can_answer_in_its_own_words(refusal: Callable[..., Reply]) -> None:
    site = limited("1/minute", refusal=refusal)
    site.ask()
    sent = site.ask()
    assert sent.status == 503
    assert sent.body == b"<p>default"
    assert sent.header(b"retry-after") == b"99"
    assert sent.header(b"cache-control") == b"no-store"
    assert sent.header(b"ratelimit-policy") == b'"default";q=1;w=60'
    assert (site.log.last.code, site.log.last.status) == ("rate_limit.exceeded", 503)


def test_code_can_answer_in_its_own_words_at_a_route_with_two_limits_and_code_for_a_key() -> None:
    async def key(exchange: Exchange) -> str:
        return "everybody"

    site = limited("1/minute; 5/hour", refusal=custom_later, key=key)
    assert [site.ask(client=client).status for client in ("192.0.2.1", "192.0.2.2")] == [200, 503]


def test_starlette_adds_it_as_a_middleware() -> None:
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello"))])
    app.add_middleware(RateLimitMiddleware, settings=RateLimitSettings(default="1/minute"), sinks=())
    client = TestClient(app, client=("192.0.2.1", 50000))
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]


def test_refusal_carries_the_headers_of_everything_outside() -> None:
    settings = Settings(
        _env_file=None,
        rate_limit={"default": "1/minute"},
        cors={"allow_origins": ["https://a.example"], "expose_headers": ["RateLimit"]},
    )
    app = Guard(plain, policies=settings.policies(sinks=()))
    _, sent = [drive(app, http_scope(headers=[(b"origin", b"https://a.example")])) for _ in range(2)]
    assert sent.status == 429
    assert sent.header(b"access-control-allow-origin") == b"https://a.example"
    assert sent.header(b"strict-transport-security")
    assert sent.header(b"content-security-policy")


def test_preflight_is_not_counted() -> None:
    settings = Settings(
        _env_file=None, rate_limit={"default": "1/minute"}, cors={"allow_origins": ["https://a.example"]}
    )
    app = Guard(plain, policies=settings.policies(sinks=()))
    asked = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"GET")]
    assert [drive(app, http_scope(headers=asked, method="OPTIONS")).status for _ in range(3)] == [200] * 3


def test_flood_of_new_keys_shares_one_count_and_somebody_is_told() -> None:
    site = limited("3/minute", max_keys=10)
    known = [f"192.0.2.{number}" for number in range(10)]
    assert [site.ask(client=client).status for client in known] == [200] * 10
    flood = [site.ask(client=f"198.51.100.{number}").status for number in range(20)]
    assert flood == [200] * 3 + [429] * 17
    assert [site.ask(client=client).status for client in known] == [200] * 10, "no live count is forgotten"
    assert len(site.policy.local) <= 11
    told: list[Event] = [event for event in site.log.events if event.code == "rate_limit.full"]
    assert len(told) == 1
    assert dict(told[0].detail) == {"max_keys": 10}
