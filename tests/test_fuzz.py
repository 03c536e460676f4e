"""Thousands of hostile but legal scopes: no exception of ours, one complete answer, no security header twice.

`RANDOM_SCOPES=100000` tries as many; without it there are a few thousand.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from secguard import Guard, Settings
from secguard.policy import Policy
from tests.helpers import EventLog, Line, Message, Scope, Sent, step_through

SCOPES: Final = int(os.environ.get("RANDOM_SCOPES", "3000"))

SECTIONS: Final[dict[str, Any]] = {
    "cors": {
        "allow_origins": ["https://example.com", "https://*.example.org"],
        "allow_credentials": True,
        "rules": [{"paths": ["/users"], "allow_origins": "*", "allow_credentials": False}],
    },
    "hosts": {"allowed": ["example.com", "*.example.org", "[::1]:8443"]},
    "https": {"redirect": "always", "exempt_paths": ["/health"]},
    "ip_access": {
        "deny": ["192.0.2.128/25", "fe80::/10"],
        "rules": [{"paths": ["/admin", "/users/{id}"], "allow": ["192.0.2.7", "2001:db8::/32"]}],
    },
    "rate_limit": {
        "default": "20/second; 1000/hour",
        "rules": [
            {"paths": ["/users/{id}"], "limits": "2/minute", "key": "header:X-Extra", "statuses": [200]},
            {"paths": ["/admin"], "limits": "3/minute", "key": lambda exchange: exchange.path},
        ],
        "exempt": {"paths": ["/health"], "networks": ["192.0.2.200"]},
    },
    "proxies": {
        "trusted": ["192.0.2.0/24", "2001:db8::/32"],
        "proto": "x-forwarded-proto",
        "host": "x-forwarded-host",
        "max_hops": 3,
    },
    "headers": {
        "extra": {"X-Extra": "1"},
        "rules": [
            {"paths": ["/admin", "/users/{id}"], "frame_options": "DENY"},
            {"paths": ["/"], "extra": {"X-Rule": "1"}},
        ],
    },
    "csrf": {"trusted_origins": ["https://a.example"], "isolate": True, "dangerously_exempt_paths": ["/health"]},
    "requests": {
        "body_timeout": None,  # step_through has no clock
        "max_body_size": 5,
        "rules": [{"paths": ["/admin"], "methods": ["GET"]}, {"paths": ["/users"], "max_concurrency": 9}],
    },
}
ONCE: Final = (
    *(b"strict-transport-security", b"x-content-type-options", b"x-frame-options", b"referrer-policy", b"x-extra"),
    *(b"permissions-policy", b"cross-origin-opener-policy", b"cross-origin-resource-policy", b"origin-agent-cluster"),
    *(b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-max-age", b"vary"),
)


def everything_on(**changes: Any) -> list[Policy]:
    log = EventLog()
    return list(Settings(_env_file=None, **{**SECTIONS, **changes}).policies(sinks=(log,)))


async def colliding(scope: Scope, receive: Any, send: Any) -> None:
    """An app that reads what comes, and sends headers that are ours, in every letter case."""
    await receive()
    headers = [(b"X-Frame-Options", b"DENY"), (b"x-frame-options", b"x"), (b"SERVER", b"a"), (b"Set-Cookie", b"a=1")]
    headers += [(b"strict-Transport-security", b"max-age=0"), (b"x-extra", b""), (b"X-EXTRA", b"2"), (b"vary", b"*")]
    headers += [(b"Access-Control-Allow-Origin", b"*")]
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept", "headers": headers})
        await receive()
        await send({"type": "websocket.close", "code": 1000})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": tuple(headers)})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b""})


PROXIES: Final[dict[str, Any]] = {"trusted": ["192.0.2.0/24"], "max_hops": 2}
GUARDS: Final[dict[str, Callable[[ASGIApp], ASGIApp]]] = {
    "web": lambda app: Guard(app, policies=everything_on()),
    "strict": lambda app: Guard(app, policies=everything_on(profile="strict")),
    "development": lambda app: Guard(app, policies=everything_on(environment="development")),
    "rehearsing": lambda app: Guard(app, policies=everything_on(mode="report")),
    "forwarded": lambda app: Guard(app, policies=everything_on(proxies={**PROXIES, "header": "forwarded"})),
    "twice": lambda app: Guard(Guard(app, policies=everything_on()), policies=everything_on(profile="api")),
}


def check(scope: Scope, sent: Sent) -> None:
    """Fail unless there is exactly one complete and hardened answer, and nobody raised."""
    assert sent.error is None
    if sent.types == ["websocket.close"]:
        assert "websocket.http.response" not in (scope.get("extensions") or {})
        return
    assert len(sent.starts) == 1
    assert sent.types[0] in {"http.response.start", "websocket.accept", "websocket.http.response.start"}
    if sent.types[0] == "websocket.accept":
        assert sent.types[1:] == ["websocket.close"]
    else:
        assert all(kind.endswith(".body") for kind in sent.types[1:])
        more = [message.get("more_body", False) for message in sent.messages[1:]]
        assert more == [True] * (len(more) - 1) + [False]
        assert {kind.partition(".")[0] for kind in sent.types} == {scope["type"]}
    for name in ONCE:
        assert len(sent.values(name)) <= 1, name
    assert sent.header(b"x-content-type-options") == b"nosniff"
    assert sent.header(b"x-extra") == b"1"
    for name, value in sent.headers:
        assert isinstance(name, bytes)
        assert not set(value) & set(b"\r\n\x00")
    if sent.status >= 400 or sent.status in {307, 308}:
        assert sent.header(b"cache-control") == b"no-store"


def first_messages(scope: Scope) -> list[Message]:
    return [{"type": "websocket.connect"}] if scope["type"] == "websocket" else [{"type": "http.request", "body": b""}]


# --- by Hypothesis, which finds the smallest ---

_names = st.sampled_from(
    b"""host origin content-length content-type transfer-encoding sec-fetch-site sec-fetch-mode sec-fetch-dest cookie
    access-control-request-method access-control-request-headers
    forwarded te x-forwarded-for x-forwarded-proto x-forwarded-host x-real-ip accept range connection upgrade expect
    via""".split()
) | st.binary(min_size=1, max_size=9).map(bytes.lower)
_values = st.binary(max_size=20) | st.sampled_from(
    b"""example.com example.com:443 [::1]:8443 a.example.org evil/ https http null 192.0.2.7,198.51.100.1 for=_x;; "
    for="[2001:db8::1]:80";proto=https;host=x chunked 0 -1 max-age=0 https://a.example https://a.example.org
    GET x-a,authorization http://example.com same-origin same-site cross-site none navigate document""".split()
)
_lines = st.lists(st.tuples(_names, _values), max_size=9)
_paths = st.one_of(
    st.sampled_from(
        ["/", "", "*", "/admin", "//admin", "/health", "/users/7", "http://evil/", "/\ud800", "/é/\uff0f", "/%00"]
    ),
    st.text(max_size=12).map("/".__add__),
    st.text(st.characters(codec=None, categories=None), max_size=8),
)
_clients = st.sampled_from(
    [
        *(
            None,
            ("192.0.2.7", 5),
            ("192.0.2.7", "5"),
            ("192.0.2.7", 0),
            ["2001:db8::1%eth0", 5],
            ("", 0),
            ("unix:", None),
        ),
        *(("unix:/x", 0), ("testclient", 50000), ("\ud800", 1), ("fe80::1%" + "x" * 999, 5), ("::ffff:192.0.2.7", 5)),
    ]
)


@st.composite
def scopes(draw: st.DrawFn) -> Scope:
    websocket = draw(st.booleans())
    lines = draw(_lines)
    scope: Scope = {"type": "websocket" if websocket else "http", "asgi": {"version": "3.0"}}
    scope["path"] = draw(_paths)
    shapes: list[Any] = [list, tuple, iter, lambda of: [list(line) for line in of]]
    scope["headers"] = draw(st.sampled_from(shapes))(lines)
    if not websocket:
        scope["method"] = draw(
            st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "TRACE", "QUERY", "x", "GET\x00", "é"])
        )
    optional: dict[str, st.SearchStrategy[Any]] = {
        "http_version": st.sampled_from(["1.0", "1.1", "2", "3", "1"]),
        "scheme": st.sampled_from(["http", "https", "ws", "wss", "HTTPS", ""]),
        "raw_path": st.none() | st.binary(max_size=9) | st.just(b"/%2e%2e/admin"),
        "query_string": st.binary(max_size=9),
        "root_path": st.sampled_from(["", "/", "/api", "/api/", "api", "/\ud800"]),
        "client": _clients,
        "server": st.sampled_from([None, ("192.0.2.1", 443), ("unix:/x", None)]),
        "extensions": st.sampled_from([None, {}, {"websocket.http.response": {}}, {"tls": {}}]),
        "state": st.just({}),
        "subprotocols": st.just([]),
    }
    for name, strategy in optional.items():
        if draw(st.booleans()):
            scope[name] = draw(strategy)
    return scope


@pytest.mark.parametrize("make", GUARDS.values(), ids=GUARDS)
def test_hostile_scopes(make: Callable[[ASGIApp], ASGIApp]) -> None:
    guard = make(colliding)

    @settings(max_examples=SCOPES // 30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(scope=scopes())
    def fuzz(scope: Scope) -> None:
        check(scope, step_through(guard, scope, first_messages(scope)))

    fuzz()


# --- by the thousand, larger and from one seed ---


def a_line(dice: random.Random, names: Sequence[bytes]) -> Line:
    size = dice.choice((0, 1, 5, 20, 300))
    return dice.choice(names), dice.choice((dice.randbytes(size), b"a" * size, b"example.com", b"https", b"192.0.2.9"))


def a_scope(dice: random.Random) -> Scope:
    names = b"host x-forwarded-for x-forwarded-proto x-forwarded-host forwarded cookie origin".split()
    names += [dice.randbytes(dice.randint(1, 6)).lower() for _ in range(3)]
    headers = [a_line(dice, names) for _ in range(dice.choice((0, 1, 2, 3, 4, 5, 9, 99, 100, 101)))]
    if dice.random() < 0.7:
        headers = [(b"host", b"example.com"), *(line for line in headers if line[0] != b"host")]
    if dice.random() < 0.02:
        headers += [(b"x-huge", b"a" * 1_000_000)] * dice.choice((1, 1000))
    pieces = (
        "/",
        "a",
        "admin",
        "%",
        "..",
        ".",
        "\\",
        "\x00",
        "\n",
        "\ud83d",
        "é",
        "\ufffd",
        " ",
        ";",
        "?",
        "#",
        "//",
        "{",
        "*",
    )
    scope: Scope = {
        "type": dice.choice(("http", "websocket")),
        "path": dice.choice(("/", "")) + "".join(dice.choices(pieces, k=dice.choice((0, 1, 3, 9, 500)))),
        "headers": dice.choice((list, tuple, iter))(headers),
    }
    if scope["type"] == "http":
        scope["method"] = dice.choice(("GET", "HEAD", "POST", "OPTIONS", "\x7f"))
    choices: dict[str, Sequence[Any]] = {
        "scheme": ("http", "https", "ws", "wss"),
        "http_version": ("1.0", "1.1", "2"),
        "client": (None, ("192.0.2.3", 9), ("198.51.100.1", "9"), ("192.0.2.3", 0), ["::1", 1], ("x", 1)),
        "root_path": ("", "/api", "/api/", "/" * 50),
        "raw_path": (None, b"", b"/" + dice.randbytes(9)),
        "query_string": (b"", dice.randbytes(99)),
        "extensions": (None, {}, {"websocket.http.response": {}}),
    }
    for name, values in choices.items():
        if dice.random() < 0.8:
            scope[name] = dice.choice(values)
    return scope


@pytest.mark.parametrize("make", GUARDS.values(), ids=GUARDS)
def test_hostile_scopes_by_the_thousand(make: Callable[[ASGIApp], ASGIApp]) -> None:
    dice = random.Random(20260101)  # noqa: S311 - the same every time
    guard = make(colliding)
    for _ in range(SCOPES // len(GUARDS)):
        scope = a_scope(dice)
        check(scope, step_through(guard, scope, first_messages(scope)))
