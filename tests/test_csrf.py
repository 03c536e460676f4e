"""Cross-origin protection: the four rules, what is exempt, and what is told. `isolate` is in test_csrf_isolation.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from secguard import Guard, Settings
from secguard.csrf import CSRFMiddleware, CSRFPolicy, CSRFSettings
from secguard.policy import Context, Exchange, Mode, Policy, Reply
from secguard.policy.exchange import Allowed
from secguard.proxies import ProxiesSettings
from tests.csrf_requests import (
    CROSS_SITE,
    FETCHED,
    FOREIGN,
    ISOLATED,
    LOADED,
    NONE,
    NULL,
    ORIGIN,
    OWN,
    SAME_ORIGIN,
    SAME_SITE,
    SIBLING,
    SIBLINGS,
    TRUSTING,
    origin,
    refusal,
    site,
    verdict,
)
from tests.helpers import EventLog, Line, drive, exchange, http_scope, plain, websocket_scope

# An http POST: what is set, what it carries, and which rule refuses it.
POSTED: list[tuple[str, dict[str, Any], tuple[Line, ...], str]] = [
    ("trusted origin passes from another site", TRUSTING, (SIBLING, CROSS_SITE), "passes"),
    ("trusted origin passes from a sibling", TRUSTING, (SIBLING, SAME_SITE), "passes"),
    ("trusted origin passes without Sec-Fetch-Site", TRUSTING, (SIBLING,), "passes"),
    ("trusted origin of an app's own scheme", TRUSTING, (origin(b"capacitor://localhost"), CROSS_SITE), "passes"),
    ("origin that merely begins like a trusted one", TRUSTING, (origin(b"https://app.example.com.evil.test"),),
     "rule 4"),
    ("trusted name under another scheme", TRUSTING, (origin(b"http://app.example.com"), CROSS_SITE), "rule 3"),
    ("trusted name with a port", TRUSTING, (origin(b"https://app.example.com:8443"), CROSS_SITE), "rule 3"),
    ("trusted name in capitals, which no browser writes", TRUSTING, (origin(b"https://APP.example.com"), CROSS_SITE),
     "rule 3"),
    ("another origin beside trusted ones", TRUSTING, (FOREIGN, CROSS_SITE), "rule 3"),
    ("trusted origin twice", TRUSTING, (SIBLING, SIBLING, CROSS_SITE), "passes"),

    ("same origin", {}, (OWN, SAME_ORIGIN), "passes"),
    ("visitor's own doing", {}, (NONE,), "passes"),
    ("same origin on a page with no-referrer", {}, (NULL, SAME_ORIGIN), "passes"),
    ("same origin, whatever Host a proxy made of it", {}, (OWN, SAME_ORIGIN, (b"host", b"backend:8000")), "passes"),
    ("another site", {}, (FOREIGN, CROSS_SITE), "rule 3"),
    ("another site without Origin", {}, (CROSS_SITE,), "rule 3"),
    ("another site in a sandboxed frame", {}, (NULL, CROSS_SITE), "rule 3"),
    ("another site that claims our origin", {}, (OWN, CROSS_SITE), "rule 3"),
    ("sibling", {}, (SIBLING, SAME_SITE), "rule 3"),
    ("sibling where all are trusted", SIBLINGS, (SIBLING, SAME_SITE), "passes"),
    ("another site where siblings are trusted", SIBLINGS, (FOREIGN, CROSS_SITE), "rule 3"),
    ("value of Sec-Fetch-Site that nobody knows", {}, (OWN, site(b"same-planet")), "rule 3"),
    ("value in capitals", {}, (OWN, site(b"Same-Origin")), "rule 3"),
    ("list of values", {}, (OWN, site(b"same-origin, cross-site")), "rule 3"),
    ("empty Sec-Fetch-Site", {}, (OWN, site(b"")), "rule 3"),
    ("same origin where an origin is required", ORIGIN, (SAME_ORIGIN,), "passes"),

    ("neither line", {}, (), "passes"),
    ("neither line where an origin is required", ORIGIN, (), "rule 4"),
    ("own origin alone", {}, (OWN,), "passes"),
    ("own origin alone where an origin is required", ORIGIN, (OWN,), "passes"),
    ("own origin, Host with the port of the scheme", {}, (OWN, (b"host", b"example.com:443")), "passes"),
    ("own origin, Host in capitals with a trailing dot", {}, (OWN, (b"host", b"Example.COM.")), "passes"),
    ("own origin on another port", {}, (origin(b"https://example.com:8443"), (b"host", b"example.com:8443")), "passes"),
    ("own origin at an IPv6 address", {}, (origin(b"https://[2001:db8::1]"), (b"host", b"[2001:DB8:0::1]")), "passes"),
    ("null alone", {}, (NULL,), "rule 4"),
    ("another site's origin alone", {}, (FOREIGN,), "rule 4"),
    ("sibling's origin alone", {}, (SIBLING,), "rule 4"),
    ("sibling's origin alone, where the browser cannot say that it is one", SIBLINGS, (SIBLING,), "rule 4"),
    ("own name on another port", {}, (origin(b"https://example.com:8443"),), "rule 4"),
    ("own name, Host on another port", {}, (OWN, (b"host", b"example.com:8443")), "rule 4"),
    ("name that merely ends alike", {}, (origin(b"https://badexample.com"),), "rule 4"),
    ("name that merely begins alike", {}, (origin(b"https://example.com.evil.test"),), "rule 4"),
    ("own name under a scheme that is not the web's", {}, (origin(b"chrome-extension://example.com"),), "rule 4"),
    ("own origin with a slash, which no browser writes", {}, (origin(b"https://example.com/"),), "rule 4"),
    ("own origin with a user", {}, (origin(b"https://user@example.com"),), "rule 4"),
    ("own origin beside another", {}, (origin(b"https://example.com https://evil.test"),), "rule 4"),
    ("empty origin", {}, (origin(b""),), "rule 4"),
    ("origin of 64 KiB", {}, (origin(b"https://" + b"a." * 32_000 + b"example.com"),), "rule 4"),
    ("own origin, malformed Host", {}, (OWN, (b"host", b"example.com/")), "rule 4"),

    ("two Sec-Fetch-Site that disagree, ours last", {}, (OWN, CROSS_SITE, SAME_ORIGIN), "contradiction"),
    ("two Sec-Fetch-Site that disagree, ours first", {}, (OWN, SAME_ORIGIN, CROSS_SITE), "contradiction"),
    ("two Origins, one of them trusted", TRUSTING, (FOREIGN, SIBLING), "contradiction"),
    ("two Sec-Fetch-Site that agree", {}, (OWN, SAME_ORIGIN, SAME_ORIGIN), "passes"),
    ("two cookies", {}, (OWN, SAME_ORIGIN, (b"cookie", b"a=1"), (b"cookie", b"b=2")), "passes"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "lines", "expected"), [row[1:] for row in POSTED], ids=[row[0] for row in POSTED])
def test_post(section: dict[str, Any], lines: tuple[Line, ...], expected: str) -> None:
    assert verdict(section, *lines, method="POST") == expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("lines", [(), (FOREIGN, CROSS_SITE), (NULL,), (OWN, CROSS_SITE, SAME_ORIGIN)])
def test_safe_method_passes(method: str, lines: tuple[Line, ...]) -> None:
    assert verdict(ORIGIN, *lines, method=method) == "passes"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "QUERY", "TRACE", "PROPFIND", "get", ""])
def test_every_other_method_is_held_to_the_rules(method: str) -> None:
    assert verdict({}, FOREIGN, CROSS_SITE, method=method) == "rule 3"
    assert verdict({}, OWN, SAME_ORIGIN, method=method) == "passes"


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        pytest.param("exact", "passes", id="origin that the CORS policy of this path names is trusted"),
        pytest.param("pattern", "rule 3", id="origin that a pattern allows is not trusted"),
        pytest.param("any", "rule 3", id="origin that * allows is not trusted"),
        pytest.param(None, "rule 3", id="origin that CORS does not allow is not trusted"),
    ],
)
def test_cors(allowed: Allowed | None, expected: str) -> None:
    assert verdict({}, SIBLING, SAME_SITE, method="POST", allowed=allowed) == expected
    assert (verdict({}, SIBLING, method="POST", allowed=allowed) == "passes") is (expected == "passes")
    assert (verdict({}, SIBLING, websocket=True, allowed=allowed) == "passes") is (expected == "passes")


# A websocket handshake: what is set, what it carries, and which rule refuses it.
SHOOK: list[tuple[str, dict[str, Any], tuple[Line, ...], str]] = [
    ("own page, as Chromium sends it", {}, (OWN,), "passes"),
    ("own page, as Firefox and Safari send it", {}, (OWN, SAME_ORIGIN), "passes"),
    ("another site, as Chromium sends it", {}, (FOREIGN,), "rule 4"),
    ("another site, as Firefox and Safari send it", {}, (FOREIGN, CROSS_SITE), "rule 3"),
    ("another site that Sec-Fetch-Site calls ours", {}, (FOREIGN, SAME_ORIGIN), "rule 4"),
    ("own origin that Sec-Fetch-Site calls another site", {}, (OWN, CROSS_SITE), "rule 3"),
    ("sandboxed frame", {}, (NULL,), "rule 4"),
    ("sandboxed frame that Sec-Fetch-Site calls ours", {}, (NULL, SAME_ORIGIN), "rule 4"),
    ("sibling", {}, (SIBLING,), "rule 4"),
    ("sibling where all are trusted, which Chromium does not tell", SIBLINGS, (SIBLING,), "rule 4"),
    ("sibling where all are trusted, and told", SIBLINGS, (SIBLING, SAME_SITE), "rule 4"),
    ("trusted sibling", TRUSTING, (SIBLING,), "passes"),
    ("trusted sibling, and told", TRUSTING, (SIBLING, SAME_SITE), "passes"),
    ("no browser", {}, (), "passes"),
    ("no browser where an origin is required", ORIGIN, (), "rule 4"),
    ("isolate makes no difference", ISOLATED, (FOREIGN,), "rule 4"),
    ("isolate makes no difference to our own", ISOLATED, (OWN,), "passes"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "lines", "expected"), [row[1:] for row in SHOOK], ids=[row[0] for row in SHOOK])
def test_handshake(section: dict[str, Any], lines: tuple[Line, ...], expected: str) -> None:
    assert verdict(section, *lines, websocket=True) == expected


PLAIN = origin(b"http://example.com")


@pytest.mark.parametrize(
    ("own", "scheme", "expected"),
    [
        pytest.param(OWN, "https", "passes", id="https to https"),
        pytest.param(PLAIN, "https", "rule 4", id="http to proven https"),
        pytest.param(OWN, "http", "passes", id="https to http that a proxy may have made of it"),
        pytest.param(PLAIN, "http", "passes", id="http to unproven http"),
    ],
)
def test_scheme_is_compared_where_https_is_proven(own: Line, scheme: str, expected: str) -> None:
    assert verdict({}, own, method="POST", scheme=scheme) == expected
    assert verdict({}, own, websocket=True, scheme=scheme.replace("http", "ws")) == expected


@pytest.mark.parametrize(
    ("own", "said", "expected"),
    [
        pytest.param(OWN, b"https", "passes", id="https where the proxy says https"),
        pytest.param(PLAIN, b"https", "rule 4", id="http where the proxy says https"),
        pytest.param(PLAIN, b"http", "passes", id="http where the proxy says http"),
        pytest.param(OWN, b"http", "rule 4", id="https where the proxy says http"),
        pytest.param(OWN, b"?", "passes", id="https where the proxy says nothing of use"),
    ],
)
def test_scheme_is_compared_where_a_proxy_tells_it(own: Line, said: bytes, expected: str) -> None:
    resolver = ProxiesSettings(trusted=["10.0.0.1"], proto="x-forwarded-proto").resolver()
    more: dict[str, Any] = {"scheme": "http", "client": ("10.0.0.1", 5), "resolver": resolver}
    assert verdict({}, own, (b"x-forwarded-proto", said), method="POST", **more) == expected


def test_host_is_the_one_that_a_trusted_proxy_forwards() -> None:
    resolver = ProxiesSettings(trusted=["10.0.0.1"], host="x-forwarded-host").resolver()
    lines = (OWN, (b"host", b"backend:8000"), (b"x-forwarded-host", b"example.com"))
    assert verdict({}, *lines, method="POST", client=("10.0.0.1", 5), resolver=resolver) == "passes"
    assert verdict({}, *lines, method="POST", client=("203.0.113.9", 5), resolver=resolver) == "rule 4"


def test_no_host_is_nobodys_own() -> None:
    assert verdict({}, OWN, method="POST", host=None) == "rule 4"


# Exemptions

names = pytest.mark.parametrize("name", ["dangerously_exempt_paths", "exempt_paths"])


@names
def test_exempt_path_passes(name: str) -> None:
    section: dict[str, Any] = {name: ["/hooks"], **ISOLATED}
    for path in ("/hooks", "/hooks/7"):
        assert verdict(section, FOREIGN, CROSS_SITE, path=path, method="POST") == "passes"
        assert verdict(section, FOREIGN, path=path, websocket=True) == "passes"
        assert verdict(section, CROSS_SITE, *LOADED, path=path) == "passes"
    assert verdict(section, FOREIGN, CROSS_SITE, path="/hooks7", method="POST") == "rule 3"


def test_both_names_together() -> None:
    section: dict[str, Any] = {"dangerously_exempt_paths": "/a, /b", "exempt_paths": "/c"}
    for path in ("/a", "/b", "/c"):
        assert verdict(section, CROSS_SITE, path=path, method="POST") == "passes"


def test_exemption_is_compared_with_the_path_as_routed() -> None:
    section: dict[str, Any] = {"dangerously_exempt_paths": ["/api/hooks"]}
    more: dict[str, Any] = {"method": "POST", "root_path": "/api"}
    assert verdict(section, CROSS_SITE, path="/api/hooks", **more) == "rule 3"  # it is routed as /hooks
    assert verdict(section, CROSS_SITE, path="/api/api/hooks", **more) == "passes"
    assert verdict({"exempt_paths": ["/hooks"]}, CROSS_SITE, path="/api/hooks", **more) == "passes"
    # To Quart this is /hooks, and to Starlette it is not.
    assert verdict({"exempt_paths": ["/hooks"]}, CROSS_SITE, path="/apihooks", **more) == "rule 3"


def test_host_cannot_bring_an_exempt_path_along() -> None:
    """request.url.path would be /hooks here (CVE-2026-48710)."""
    section: dict[str, Any] = {"dangerously_exempt_paths": ["/hooks"]}
    assert verdict(section, CROSS_SITE, (b"host", b"example.com/hooks?"), path="/admin", method="POST") == "rule 3"


def test_exemption_is_from_this_section_and_from_no_other() -> None:
    settings = Settings(
        _env_file=None, hosts={"allowed": ["example.com"]}, csrf={"dangerously_exempt_paths": ["/hooks"]}
    )
    app = Guard(plain, policies=settings.policies(sinks=()))
    hook = drive(app, http_scope("/hooks", [CROSS_SITE], "POST"))
    assert hook.status == 200
    assert hook.header(b"x-content-type-options") == b"nosniff"
    assert drive(app, http_scope("/hooks", [CROSS_SITE], "POST", host=b"evil.test")).status == 400
    assert drive(app, http_scope("/hooks//", [CROSS_SITE], "POST")).status == 400
    assert drive(app, http_scope("/", [CROSS_SITE], "POST")).status == 403


@names
def test_exemption_is_told_of_at_start_in_one_line(name: str) -> None:
    log = EventLog()
    CSRFPolicy(CSRFSettings.model_validate({name: ["/hooks", "/pay"]}), Context(sinks=(log,)))
    assert log.told == [("noticed", "csrf.exempt-paths")]
    assert "/hooks, /pay" in log.last.reason
    assert ("write dangerously_exempt_paths" in log.last.reason) is (name == "exempt_paths")


def test_nothing_is_told_where_nothing_is_exempt() -> None:
    log = EventLog()
    CSRFPolicy(CSRFSettings(), Context(sinks=(log,)))
    assert log.events == []


# What is told


def test_event_tells_what_the_decision_rests_on() -> None:
    reply = refusal({}, exchange(headers=[FOREIGN, CROSS_SITE, FETCHED[0]], method="POST"))
    assert reply
    assert reply.event
    assert reply.event.detail == {
        "host": "example.com",
        "origin": "https://evil.test",
        "sec_fetch_site": "cross-site",
        "sec_fetch_mode": "cors",
    }


@pytest.mark.parametrize(
    ("lines", "advice"),
    [
        pytest.param((FOREIGN, CROSS_SITE), "SECGUARD_CSRF__TRUSTED_ORIGINS", id="another site"),
        pytest.param((SIBLING, SAME_SITE), "SECGUARD_CSRF__ALLOW_SAME_SITE", id="sibling"),
        pytest.param((SIBLING,), "SECGUARD_PROXIES__HOST", id="Host that a proxy may have changed"),
        pytest.param((NULL,), "no-referrer", id="null"),
        pytest.param((PLAIN,), "another scheme", id="scheme"),
    ],
)
def test_reason_says_what_to_set(lines: tuple[Line, ...], advice: str) -> None:
    reply = refusal({}, exchange(headers=lines, method="POST"))
    assert reply
    assert reply.event
    assert advice in reply.event.reason


def test_client_learns_the_reason_in_development_only() -> None:
    seen = exchange(headers=[CROSS_SITE], method="POST")
    shown = CSRFPolicy(CSRFSettings(), Context(environment="development")).admit(seen)
    hidden = CSRFPolicy(CSRFSettings(), Context()).admit(seen)
    assert isinstance(shown, Reply)
    assert isinstance(hidden, Reply)
    assert b"SECGUARD_CSRF__TRUSTED_ORIGINS" in shown.body
    assert hidden.body == b"Forbidden\n"


# Settings


@pytest.mark.parametrize(
    ("entry", "advice"),
    [
        pytest.param("app.example.com", "write https://app.example.com", id="no scheme"),
        pytest.param("https://app.example.com/", "write https://app.example.com", id="trailing slash"),
        pytest.param("https://*.example.com", "where patterns are taken", id="pattern"),
        pytest.param("*", "name the origins", id="everybody"),
        pytest.param("null", "nobody in particular", id="null"),
    ],
)
def test_only_exact_origins_are_trusted(entry: str, advice: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CSRFSettings(trusted_origins=[entry])
    (error,) = caught.value.errors()
    assert error["type"] == "origin"
    assert advice in error["msg"]


def test_lists_may_be_written_with_commas() -> None:
    section = CSRFSettings(trusted_origins="https://a.test, https://b.test", dangerously_exempt_paths="/a/, /b")
    assert section.trusted_origins == ("https://a.test", "https://b.test")
    assert section.dangerously_exempt_paths == ("/a", "/b")


def test_section_survives_its_own_dump() -> None:
    section = CSRFSettings.model_validate({**TRUSTING, **SIBLINGS, "exempt_paths": ["/a"]})
    assert section.under("strict") == section


# Through the Guard, alone and among others


def alone(log: EventLog, mode: Mode = "enforce") -> ASGIApp:
    return CSRFMiddleware(plain, CSRFSettings(mode=mode), sinks=(log,))


def in_a_guard(log: EventLog, mode: Mode = "enforce") -> ASGIApp:
    return Guard(plain, policies=Settings(_env_file=None, csrf={"mode": mode}).policies(sinks=(log,)))


both = pytest.mark.parametrize("build", [alone, in_a_guard])


@both
def test_request_is_answered(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log)
    assert drive(app, http_scope(headers=[OWN, SAME_ORIGIN], method="POST")).status == 200
    refused = drive(app, http_scope(headers=[FOREIGN, CROSS_SITE], method="POST"))
    assert refused.status == 403
    assert refused.header(b"cache-control") == b"no-store"
    assert log.told == [("refused", "csrf.cross-origin")]


@both
def test_websocket_is_denied(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log)
    assert drive(app, websocket_scope(headers=[OWN])).types == ["websocket.accept"]
    denied = drive(app, websocket_scope(headers=[FOREIGN]))
    assert denied.types == ["websocket.http.response.start", "websocket.http.response.body"]
    assert denied.status == 403
    assert drive(app, websocket_scope(headers=[FOREIGN], denial=False)).closed == 1008
    assert log.told == [("refused", "csrf.cross-origin")] * 2


@both
def test_refusal_can_be_rehearsed(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log, "report")
    assert drive(app, http_scope(headers=[CROSS_SITE], method="POST")).status == 200
    assert drive(app, websocket_scope(headers=[FOREIGN])).status == 101
    assert log.told == [("rehearsed", "csrf.cross-origin")] * 2


def test_origin_that_cors_allows_outside_is_asked_about_first() -> None:
    """A trusted origin that is consulted only where Sec-Fetch-Site is missing is never consulted."""

    class AllowingOne(Policy):
        def admit(self, exchange: Exchange) -> None:
            if exchange.headers.get(b"origin") == SIBLING[1]:
                exchange.allowed = "exact"

    context = Context(sinks=())
    app = Guard(plain, policies=[AllowingOne(context), CSRFPolicy(CSRFSettings(), context)])
    assert drive(app, http_scope(headers=[SIBLING, SAME_SITE], method="POST")).status == 200
    assert drive(app, http_scope(headers=[FOREIGN, CROSS_SITE], method="POST")).status == 403
    apart = Guard(CSRFMiddleware(plain, CSRFSettings(), sinks=()), policies=[AllowingOne(context)])
    assert drive(apart, http_scope(headers=[SIBLING, SAME_SITE], method="POST")).status == 200


def test_starlette_adds_it_as_a_middleware() -> None:
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok"), methods=["GET", "POST"])])
    app.add_middleware(CSRFMiddleware)
    client = TestClient(app)
    assert client.post("/").status_code == 200
    assert client.post("/", headers={"Origin": "http://testserver"}).status_code == 200
    assert client.post("/", headers={"Origin": "https://evil.test"}).status_code == 403
    assert client.get("/", headers={"Origin": "https://evil.test"}).status_code == 200
