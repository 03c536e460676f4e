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

from tests.benchmarks import by_hand, floor, shared_store
from tests.benchmarks.apps import PATH, asgi_app, json_app, own_lines_app, text_app
from tests.benchmarks.by_hand import Owned
from tests.benchmarks.cases import (
    BY_HAND,
    CORS,
    CROSS_ORIGIN,
    EVERY,
    EVERYTHING,
    FLOOR,
    GUARDS,
    HEADERS_ONLY,
    PAIRED,
    PAIRS,
    PLAIN_HTTP,
    SERVED,
    STARLETTES_CORS,
    Case,
    build,
)
from tests.benchmarks.hygiene import ADMITTED, NAMED, POSTED, PREFLIGHTS, REFUSED, STRANGE, requesting
from tests.benchmarks.traffic import BROWSER, Line, Traffic, answer, headers_of
from tests.helpers import drive, websocket_scope
from tests.serving import ROOT, clean_environment
from tests.slow_clients import Timetable, attempt_slowly, post

HEADERS = (BY_HAND, FLOOR, HEADERS_ONLY, EVERYTHING)
EVERYTHING_ON = (FLOOR, EVERYTHING)  # of whose lines four are not of `headers`: a policy, Vary, and two of the limit


def app_sending(*lines: Line, status: int = 200) -> Callable[[], Starlette]:
    """A Starlette app whose answer carries these lines as they stand here, letter case included."""

    async def endpoint(_: Request) -> Response:
        response = PlainTextResponse("hello", status)
        response.raw_headers.extend(lines)
        return response

    return lambda: Starlette(routes=[Route(PATH, endpoint)])


def sent_by(case: Case, inner: Callable[[], ASGIApp], traffic: Traffic) -> list[Line]:
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
    "a policy of its own": app_sending((b"Content-Security-Policy", b"default-src *")),
    "several policies": app_sending(
        (b"content-security-policy", b"img-src *"),
        (b"Content-Security-Policy", b"default-src *, img-src *"),
        (b"content-security-policy", b"img-src *"),
    ),
    "policies that only report": app_sending(*[(b"Content-Security-Policy-Report-Only", b"img-src *")] * 2),
    "a response for shared caches": app_sending((b"Cache-Control", b"public, max-age=60")),
    "nothing new": app_sending(status=304),
    "nothing new, and a policy of its own": app_sending((b"content-security-policy", b"default-src *"), status=304),
    "a stranger": app_sending((b"X-Request-Id", b"17")),
    "what varies": app_sending((b"Vary", b"Accept-Encoding")),
    "what varies in several lines": app_sending((b"vary", b"Cookie, accept"), (b"VARY", b"cookie ,,\tAccept")),
    "that origins matter": app_sending((b"vary", b"origin, Accept")),
    "that everything varies": app_sending((b"vary", b"Cookie"), (b"Vary", b"*")),
    "that nothing varies": app_sending((b"vary", b"")),
    "nothing new, and what varies": app_sending((b"Vary", b"Accept-Encoding"), status=304),
    "who may read": app_sending(
        (b"Access-Control-Allow-Origin", b"*"),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"*"),
        (b"access-control-allow-methods", b"*"),
        (b"access-control-allow-headers", b"*"),
        (b"access-control-max-age", b"5"),
        (b"access-control-allow-private-network", b"true"),
    ),
}
SAME_WORK = [
    pytest.param(BY_HAND, HEADERS_ONLY, by_hand.OWNED, id="headers"),
    pytest.param(FLOOR, EVERYTHING, floor.OWNED, id="everything"),
]


ORIGINS = {"no origin": (), "an origin that may read": (NAMED,), "an origin that may not": (STRANGE,)}


@pytest.mark.parametrize("inner", APPS.values(), ids=APPS)
@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize(("wrapper", "guard", "owned"), SAME_WORK)
def test_same_response_headers(
    wrapper: Case, guard: Case, owned: Owned, scheme: str, origin: tuple[Line, ...], inner: Callable[[], Starlette]
) -> None:
    traffic = requesting(*origin, scheme=scheme)
    sent = sent_by(guard, inner, traffic)
    assert sent == sent_by(wrapper, inner, traffic)
    names = [name for name, _ in sent if name in owned]
    assert len(names) == len(set(names))


def nonce_app(*lines: Line, status: int = 200) -> Callable[[], Starlette]:
    """An app whose page reads its nonce, and shows it."""

    async def endpoint(request: Request) -> Response:
        response = PlainTextResponse(request.state.csp_nonce, status)
        response.raw_headers.extend(lines)
        return response

    return lambda: Starlette(routes=[Route(PATH, endpoint)])


PAGES = {
    "a page": nonce_app(),
    "nothing new": nonce_app(status=304),
    "a policy of its own": nonce_app((b"Content-Security-Policy", b"default-src *")),
    "two policies": nonce_app((b"content-security-policy", b"a"), (b"content-security-policy", b"b")),
    "another line of ours": nonce_app((b"X-Frame-Options", b"DENY")),
    "for shared caches": nonce_app((b"Cache-Control", b"public, max-age=60, S-MaxAge=9")),
    "for shared caches, in two lines": nonce_app(
        (b"cache-control", b"s-maxage=9"), (b"Cache-Control", b"must-revalidate")
    ),
    "for its browser": nonce_app((b"cache-control", b"max-age=60"), (b"cache-control", b"Private")),
    "for no cache": nonce_app((b"cache-control", b"no-store")),
    "for no cache that does not understand": nonce_app((b"cache-control", b"no-store, must-understand")),
    "for whoever asks": nonce_app((b"cache-control", b"")),
    "a cookie": nonce_app((b"set-cookie", b"a=1")),
    "that varies": nonce_app((b"Vary", b"Cookie")),
    "for whoever may read": nonce_app((b"Access-Control-Allow-Origin", b"*")),
}


@pytest.mark.parametrize("inner", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_floor_and_guard_send_the_same_with_a_nonce(
    scheme: str, origin: tuple[Line, ...], inner: Callable[[], Starlette]
) -> None:
    told = []
    for case in (FLOOR, EVERYTHING):
        sent = answer(case.wrap(inner()), requesting(*origin, scheme=scheme).scope())
        nonce: bytes = sent[1]["body"]
        told.append((len(nonce), [(name, value.replace(nonce, b"(nonce)")) for name, value in headers_of(sent)]))
    assert told[0] == told[1]


@pytest.mark.parametrize("case", [FLOOR, EVERYTHING], ids=lambda case: case.name)
def test_state_stands_in_front_of_what_was_there(case: Case) -> None:
    nonces = []

    async def reader(scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        nonces.append(state["csp_nonce"])
        assert state["csp_nonce"] == nonces[-1]
        assert (state["pool"], len(state), list(state)) == (17, 1, ["pool"])
        state["user"] = "ann"
        del state["pool"]
        with pytest.raises(KeyError):
            state["unheard of"]
        await send({"type": "http.response.start", "status": 204, "headers": []})

    app = case.wrap(reader)
    for _ in range(2):
        scope = BROWSER.scope()
        there = scope["state"] = {"pool": 17}
        answer(app, scope)
        assert there == {"user": "ann"}
    assert len(set(nonces)) == 2


@pytest.mark.parametrize("case", [FLOOR, EVERYTHING], ids=lambda case: case.name)
def test_nonce_is_not_read_too_late(case: Case) -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        with pytest.raises(RuntimeError):
            scope["state"]["csp_nonce"]

    answer(case.wrap(late), BROWSER.scope())


JUDGED = {
    **{f"200: {name}": (traffic, 200) for name, traffic in ADMITTED.items()},
    **{f"405 of the app: {name}": (traffic, 405) for name, traffic in POSTED.items()},
    **{f"200: a preflight {name}": (traffic, 200) for name, traffic in PREFLIGHTS.items()},
    **{f"refused: {name}": (traffic, None) for name, traffic in REFUSED.items()},
}


@pytest.mark.parametrize(("traffic", "status"), JUDGED.values(), ids=JUDGED)
@pytest.mark.parametrize("before", [0, 1], ids=["", "known"])
def test_floor_and_guard_judge_alike(before: int, traffic: Traffic, status: int | None) -> None:
    """Whether or not the host and the client are known already: then most of it is decided on the short way."""
    apps = [case.wrap(text_app()) for case in (FLOOR, EVERYTHING)]
    for app in apps * before:
        answer(app, BROWSER.scope())
    floor, guard = (answer(app, traffic.scope()) for app in apps)
    assert floor[0]["status"] == guard[0]["status"]
    assert floor[0]["status"] == status if status else floor[0]["status"] >= 400
    assert headers_of(floor) == headers_of(guard)
    assert [message["body"] for message in floor[1:]] == [message["body"] for message in guard[1:]]


@pytest.mark.parametrize("case", [FLOOR, EVERYTHING], ids=lambda case: case.name)
def test_nobody_is_told_who_may_read_but_that_origin(case: Case) -> None:
    for origin, told in ((NAMED, NAMED[1]), (STRANGE, None)):
        sent = dict(headers_of(answer(case.wrap(text_app()), requesting(origin).scope())))
        assert (sent.get(b"access-control-allow-origin"), sent[b"vary"]) == (told, b"Origin")
    refused = dict(headers_of(answer(case.wrap(text_app()), REFUSED["a host of a page that may read"].scope())))
    assert refused[b"access-control-allow-origin"] == NAMED[1]


HANDSHAKES: dict[str, tuple[tuple[Line, ...], str, bool]] = {
    "no browser": ((), "203.0.113.9", True),
    "the own origin": (((b"origin", b"https://example.com"),), "203.0.113.9", True),
    "the own site, it says, and its origin": (
        ((b"sec-fetch-site", b"same-origin"), (b"origin", b"https://example.com")),
        "203.0.113.9",
        True,
    ),
    "the own site, it says": (((b"sec-fetch-site", b"same-origin"), STRANGE), "203.0.113.9", False),
    "the origin that may read": ((NAMED,), "203.0.113.9", True),
    "the origin that may read, from a sibling": (((b"sec-fetch-site", b"same-site"), NAMED), "203.0.113.9", True),
    "a stranger": ((STRANGE,), "203.0.113.9", False),
    "a stranger from another site": (((b"sec-fetch-site", b"cross-site"), STRANGE), "203.0.113.9", False),
    "a denied client": ((NAMED,), "::ffff:192.0.2.7", False),
    "a host": (((b"host", b"evil.com"), NAMED), "203.0.113.9", False),
    "a request for a method": ((STRANGE, (b"access-control-request-method", b"GET")), "203.0.113.9", False),
}


@pytest.mark.parametrize(("lines", "client", "accepted"), HANDSHAKES.values(), ids=HANDSHAKES)
@pytest.mark.parametrize("denial", [True, False], ids=["with a response", "without"])
def test_floor_and_guard_accept_the_same_handshakes(
    lines: tuple[Line, ...], client: str, accepted: bool, denial: bool
) -> None:
    floor, guard = (
        drive(case.wrap(reading), websocket_scope(headers=lines, client=(client, 50000), denial=denial))
        for case in (FLOOR, EVERYTHING)
    )
    assert floor.types == guard.types
    assert (floor.types[0] == "websocket.accept") is accepted
    assert headers_of(floor.starts) == headers_of(guard.starts) if floor.starts else floor.closed == guard.closed


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the whole body, or a websocket's messages."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept", "headers": []})
    while (message := await receive()).get("more_body") or "text" in message or "bytes" in message:
        pass
    if scope["type"] == "http":
        await PlainTextResponse("read")(scope, receive, send)


MIB = 2**20
UPLOADS = {
    "small": (post((0, b"x")), 200),
    "as large as allowed": (post(*[(0, b"x" * MIB)] * 10), 200),
    "too large": (post(*[(0, b"x" * MIB)] * 11), 413),
    "slow, but not too slow": (post(*[(20, b"x" * 10_000)] * 9), 200),
    "too slow": (post(*[(20, b"x" * 5000)] * 9), 408),
    "silent": (post((0, b"x" * MIB), ends=False), 408),
}


@pytest.mark.parametrize(("incoming", "status"), UPLOADS.values(), ids=UPLOADS)
def test_floor_and_guard_take_the_same_bodies(incoming: Timetable, status: int) -> None:
    scope = next(iter(POSTED.values())).scope()
    (floor, at), (guard, then) = (
        attempt_slowly(case.wrap(reading), {**scope, "state": {}}, incoming) for case in (FLOOR, EVERYTHING)
    )
    assert floor.status == guard.status == status
    assert headers_of(floor.messages) == headers_of(guard.messages)
    assert at == pytest.approx(then)
    assert floor.error is guard.error is None


SAID: dict[str, tuple[dict[str, object], int | None]] = {
    "as long a text as allowed": ({"text": "x" * 10 * MIB}, None),
    "too long a text": ({"text": "ä" * 5 * MIB + "x"}, 1009),
    "as many bytes as allowed": ({"bytes": b"x" * 10 * MIB}, None),
    "too many bytes": ({"bytes": b"x" * (10 * MIB + 1)}, 1009),
}


@pytest.mark.parametrize(("said", "code"), SAID.values(), ids=SAID)
def test_floor_and_guard_take_the_same_messages(said: dict[str, object], code: int | None) -> None:
    incoming = [{"type": "websocket.receive", **said}, {"type": "websocket.disconnect", "code": 1000}]
    for case in (FLOOR, EVERYTHING):
        assert drive(case.wrap(reading), websocket_scope(), incoming).closed == code


@pytest.mark.parametrize("case", [FLOOR, EVERYTHING], ids=lambda case: case.name)
def test_known_host_and_client_open_no_other_door(case: Case) -> None:
    app = case.wrap(text_app())
    assert answer(app, BROWSER.scope())[0]["status"] == 200
    for traffic in REFUSED.values():
        assert answer(app, traffic.scope())[0]["status"] >= 400
    assert answer(app, BROWSER.scope())[0]["status"] == 200


def test_floor_remembers_few_clients() -> None:
    app = floor.HonestFloor(text_app())
    clients = [f"198.18.{number // 256}.{number % 256}" for number in range(1000)]
    for client in [*clients, "192.0.2.7", "fe80::1%" + "x" * 99]:
        answer(app, Traffic(client=client).scope())
    assert 0 < len(app.known) <= 256
    assert app.known < set(clients)


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


def sent_until_it_raises(app: ASGIApp, traffic: Traffic) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    with pytest.raises(ValueError, match="own"):
        app(traffic.scope(), receive, send).__await__().send(None)
    return sent


@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
def test_floor_and_guard_harden_the_same_500(origin: tuple[Line, ...]) -> None:
    floor, guard = (sent_until_it_raises(case.wrap(failing_app), requesting(*origin)) for case in (FLOOR, EVERYTHING))
    assert floor[0]["status"] == guard[0]["status"] == 500
    assert headers_of(floor) == headers_of(guard)


@pytest.mark.parametrize("case", HEADERS, ids=lambda case: case.name)
def test_stream_passes(case: Case) -> None:
    sent = answer(case.wrap(streaming_app), BROWSER.scope())
    assert [message.get("body") for message in sent[1:]] == [b"one", b"two", b""]
    assert len({name for name, _ in sent[0]["headers"]}) == len(sent[0]["headers"]) == 9 + 4 * (case in EVERYTHING_ON)


@pytest.mark.parametrize("case", HEADERS, ids=lambda case: case.name)
def test_responses_share_no_list(case: Case) -> None:
    app = case.wrap(text_app())
    first = answer(app, BROWSER.scope())[0]["headers"]
    first.clear()
    assert len(answer(app, BROWSER.scope())[0]["headers"]) == 10 + 4 * (case in EVERYTHING_ON)


@pytest.mark.parametrize("case", dict.fromkeys((*EVERY, *PAIRED, *CROSS_ORIGIN)), ids=lambda case: case.name)
def test_every_case_answers(case: Case) -> None:
    apps, missing = build((case,))
    if missing:
        pytest.skip(missing[0])
    (app,) = apps.values()
    assert answer(app, case.traffic.scope())[0]["status"] == 200


def test_cors_alone_says_what_starlettes_does() -> None:
    ours, starlettes = (sent_by(case, asgi_app, case.traffic) for case in (CORS, STARLETTES_CORS))
    assert (b"access-control-allow-origin", NAMED[1]) in ours
    assert ours == starlettes


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
    for pair in PAIRS:
        assert f"\n{pair.name} " in ran.stdout
    for name in shared_store.NAMES:
        assert f"\n{name} " in ran.stdout
    for name in ("Counting, in memory", "a request, sliding-window ", "Budgets"):
        assert name in ran.stdout
