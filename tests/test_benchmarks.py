"""The benchmark is honest: what it compares does the same work, and what it prints was measured."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.benchmarks.apps import PATH, json_app, own_lines_app, text_app
from tests.benchmarks.by_hand import OWNED
from tests.benchmarks.cases import (
    BY_HAND,
    EVERY,
    EVERYTHING,
    FLOOR,
    GUARDS,
    HEADERS_ONLY,
    PLAIN_HTTP,
    SERVED,
    Case,
    build,
)
from tests.benchmarks.traffic import BROWSER, BROWSER_LINES, Line, Traffic, answer, headers_of
from tests.serving import ROOT, clean_environment

HEADERS = (BY_HAND, FLOOR, HEADERS_ONLY, EVERYTHING)


def app_sending(*lines: Line) -> Callable[[], Starlette]:
    """A Starlette app whose answer carries these lines as they stand here, letter case included."""

    async def endpoint(_: Request) -> Response:
        response = PlainTextResponse("hello")
        response.raw_headers.extend(lines)
        return response

    return lambda: Starlette(routes=[Route(PATH, endpoint)])


def sent_by(case: Case, inner: Callable[[], Starlette], traffic: Traffic) -> list[Line]:
    return headers_of(answer(case.wrap(inner()), traffic.scope()))


APPS = {
    "nothing of ours": text_app,
    "X-Frame-Options in JSON": json_app,
    "all of ours": own_lines_app,
    "one in another letter case": app_sending((b"X-FRAME-Options", b"DENY")),
    "the same twice": app_sending((b"Referrer-Policy", b"no-referrer"), (b"referrer-policy", b"origin")),
    "one that is overridden": app_sending((b"X-Content-Type-Options", b"sniff away")),
    "a frame option that nobody obeys": app_sending((b"x-frame-options", b"ALLOW-FROM https://example.org")),
    "a bad frame option before a good one": app_sending(
        (b"x-frame-options", b"ALLOWALL"), (b"x-frame-options", b"DENY")
    ),
    "a version leak": app_sending((b"Server", b"x"), (b"X-Powered-By", b"y"), (b"server", b"z")),
    "relics": app_sending((b"Expect-CT", b"max-age=1"), (b"X-XSS-Protection", b"1; mode=block")),
    "the filter switched off": app_sending((b"X-XSS-Protection", b"0"), (b"x-xss-protection", b"1")),
    "HSTS of its own": app_sending((b"Strict-Transport-Security", b"max-age=5")),
    "HSTS twice": app_sending(
        (b"strict-transport-security", b"max-age=5"), (b"Strict-Transport-Security", b"max-age=6")
    ),
    "HSTS withdrawn": app_sending((b"Strict-Transport-Security", b"includeSubDomains; max-age=0")),
    "cookies": app_sending((b"set-cookie", b"a=1"), (b"Set-Cookie", b"b=2")),
    "lists in several lines": app_sending((b"Referrer-Policy", b"origin"), (b"referrer-policy", b"no-referrer")),
    "an embedder policy twice": app_sending(*[(b"Cross-Origin-Embedder-Policy", b"require-corp")] * 2),
    "a stranger": app_sending((b"X-Request-Id", b"17")),
}


@pytest.mark.parametrize("inner", APPS.values(), ids=APPS)
@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("case", [BY_HAND, FLOOR, EVERYTHING], ids=lambda case: case.name)
def test_same_response_headers(case: Case, scheme: str, inner: Callable[[], Starlette]) -> None:
    traffic = Traffic(scheme=scheme)
    sent = sent_by(case, inner, traffic)
    assert sent == sent_by(HEADERS_ONLY, inner, traffic)
    owned = [name for name, _ in sent if name in OWNED]
    assert len(owned) == len(set(owned))


def requesting(*more: Line, path: str = PATH, without: bytes = b"", scheme: str = "https") -> Traffic:
    return Traffic(path, (*(line for line in BROWSER_LINES if line[0] != without), *more), scheme)


def naming(host: bytes) -> Traffic:
    return requesting((b"host", host), without=b"host")


ADMITTED = {
    "a browser": BROWSER,
    "over plain http": requesting(scheme="http"),
    "the apex": naming(b"example.com"),
    "a deep subdomain, a port, letter case": naming(b"a.b.EXAMPLE.com:8443"),
    "a trailing dot": naming(b"www.example.com."),
    "two cookies": requesting((b"cookie", b"a=1")),
    "a length": requesting((b"content-length", b"0")),
    "chunks": requesting((b"transfer-encoding", b"chunked")),
    "100 lines": requesting(*[(b"x-%d" % number, b"") for number in range(100 - len(BROWSER_LINES))]),
}
REFUSED = {
    "two hosts": requesting((b"host", b"www.example.com")),
    "two origins": requesting((b"origin", b"https://a.example"), (b"origin", b"https://b.example")),
    "two lengths": requesting((b"content-length", b"1"), (b"content-length", b"2")),
    "two types": requesting((b"content-type", b"a/b"), (b"content-type", b"c/d")),
    "two Sec-Fetch-Site": requesting((b"sec-fetch-site", b"same-origin")),
    "two Sec-Fetch-Anything": requesting((b"sec-fetch-storage", b"a"), (b"sec-fetch-storage", b"b")),
    "length and chunks": requesting((b"content-length", b"1"), (b"transfer-encoding", b"chunked")),
    "no host": requesting(without=b"host"),
    "an empty host": naming(b""),
    "a host with a path": naming(b"www.example.com/evil?@x:99"),
    "a host with a user": naming(b"evil@example.com"),
    "a host with a blank": naming(b"www.example.com evil"),
    "a port of letters": naming(b"www.example.com:x"),
    "port 0": naming(b"www.example.com:0"),
    "port 65536": naming(b"www.example.com:65536"),
    "two dots": naming(b"www..example.com"),
    "not an IPv6 address": naming(b"[:::]"),
    "another host": naming(b"evil.com"),
    "a host that ends alike": naming(b"evilexample.com"),
    "an address": naming(b"192.0.2.1"),
    "an IPv6 address": naming(b"[2001:db8::1]:8443"),
    "no slash": requesting(path="admin"),
    "no path": requesting(path=""),
    "an absolute-form target": requesting(path="http://evil/admin"),
    "an asterisk": requesting(path="*"),
    "two slashes": requesting(path="//admin"),
    "an empty segment": requesting(path="/a//b"),
    "an empty segment, encoded": requesting(path="/a/%2fb"),
    "a dot segment": requesting(path="/a/./b"),
    "a dot segment at the end": requesting(path="/a/.."),
    "a dot segment, encoded": requesting(path="/a/%2e%2E/b"),
    "a dot segment before a parameter": requesting(path="/a/..;/b"),
    "NUL": requesting(path="/a\0"),
    "NUL, encoded": requesting(path="/a%00"),
    "a control byte": requesting(path="/a\x9fb"),
    "a backslash": requesting(path="/a\\b"),
    "a backslash, encoded": requesting(path="/a%5cb"),
    "not UTF-8": requesting(path="/a\N{REPLACEMENT CHARACTER}"),
    "101 lines": requesting(*[(b"x-%d" % number, b"") for number in range(101 - len(BROWSER_LINES))]),
    "too many bytes": requesting((b"x-big", b"x" * 65536)),
    "too many bytes in many lines": requesting(*[(b"accept", b"x" * 1024)] * 64),
}


@pytest.mark.parametrize("traffic", ADMITTED.values(), ids=ADMITTED)
def test_floor_and_guard_admit_the_same(traffic: Traffic) -> None:
    floor, guard = (answer(case.wrap(text_app()), traffic.scope()) for case in (FLOOR, EVERYTHING))
    assert floor[0]["status"] == guard[0]["status"] == 200


@pytest.mark.parametrize("traffic", REFUSED.values(), ids=REFUSED)
def test_floor_and_guard_refuse_the_same(traffic: Traffic) -> None:
    floor, guard = (answer(case.wrap(text_app()), traffic.scope()) for case in (FLOOR, EVERYTHING))
    assert floor[0]["status"] == guard[0]["status"] >= 400
    assert headers_of(floor) == headers_of(guard)


@pytest.mark.parametrize("case", [FLOOR, EVERYTHING], ids=lambda case: case.name)
def test_known_host_opens_no_other_door(case: Case) -> None:
    app = case.wrap(text_app())
    assert answer(app, BROWSER.scope())[0]["status"] == 200
    for traffic in REFUSED.values():
        assert answer(app, traffic.scope())[0]["status"] >= 400
    assert answer(app, BROWSER.scope())[0]["status"] == 200


def test_floor_and_guard_redirect_plain_http_beside_tls() -> None:
    apps = [case.wrap(text_app()) for case in (FLOOR, EVERYTHING)]
    for app in apps:
        answer(app, BROWSER.scope())
    floor, guard = (answer(app, Traffic(scheme="http", client="9.9.9.9").scope()) for app in apps)
    assert floor[0]["status"] == guard[0]["status"] == 307
    assert headers_of(floor) == headers_of(guard)


async def failing_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("the app's own")


async def streaming_app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": iter([(b"content-type", b"text/plain")])})
    for chunk in (b"one", b"two"):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def sent_until_it_raises(app: ASGIApp) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    with pytest.raises(ValueError, match="own"):
        app(BROWSER.scope(), receive, send).__await__().send(None)
    return sent


def test_floor_and_guard_harden_the_same_500() -> None:
    floor, guard = (sent_until_it_raises(case.wrap(failing_app)) for case in (FLOOR, EVERYTHING))  # type: ignore[arg-type]
    assert floor[0]["status"] == guard[0]["status"] == 500
    assert headers_of(floor) == headers_of(guard)


@pytest.mark.parametrize("case", HEADERS, ids=lambda case: case.name)
def test_stream_passes(case: Case) -> None:
    sent = answer(case.wrap(streaming_app), BROWSER.scope())  # type: ignore[arg-type]
    assert [message.get("body") for message in sent[1:]] == [b"one", b"two", b""]
    assert len({name for name, _ in sent[0]["headers"]}) == len(sent[0]["headers"]) == 9


@pytest.mark.parametrize("case", HEADERS, ids=lambda case: case.name)
def test_responses_share_no_list(case: Case) -> None:
    app = case.wrap(text_app())
    first = answer(app, BROWSER.scope())[0]["headers"]
    first.clear()
    assert len(answer(app, BROWSER.scope())[0]["headers"]) == 10


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
def test_every_case_answers(case: Case) -> None:
    apps, missing = build((case,))
    if missing:
        pytest.skip(missing[0])
    (app,) = apps.values()
    assert answer(app, case.traffic.scope())[0]["status"] == 200


def test_guards_see_https_behind_the_proxy() -> None:
    for case in GUARDS:
        secure = b"strict-transport-security" in dict(sent_by(case, text_app, case.traffic))
        assert secure is (case is not PLAIN_HTTP)


@pytest.mark.slow
def test_quick_run_prints_every_case() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--quick"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    for case in {*EVERY, *SERVED}:
        assert f"\n{case.name} " in ran.stdout or f"{case.name}: left out" in ran.stdout
    assert "Budgets" in ran.stdout
