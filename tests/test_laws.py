"""The laws of the design that can be told from outside. Law 1 is in test_composition.py; law 6 in test_settings.py."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Send

from secguard import Guard
from secguard._http import Declared, join, keep, override
from secguard._paths import Matched, PathRules
from secguard.headers import HeadersPolicy, HeadersSettings
from secguard.hosts import HostsPolicy, HostsSettings
from secguard.policy import Context, Exchange, Message, Policy
from secguard.requests import RequestsPolicy, RequestsSettings
from tests.helpers import (
    EventLog,
    Line,
    Scope,
    answering,
    attempt,
    drive,
    http_scope,
    plain,
    websocket_scope,
)


def refusing(context: Context | None = None) -> list[Policy]:
    """Some real policies that answer example.com only."""
    context = context or Context(sinks=())
    return [
        HeadersPolicy(HeadersSettings(), context),
        RequestsPolicy(RequestsSettings(), context),
        HostsPolicy(HostsSettings(allowed=("example.com",)), context),
    ]


class Declaring(Policy):
    """Declares lines, and more of them under /admin."""

    rules = PathRules([["/admin"]])

    def __init__(self, *declared: Declared) -> None:
        super().__init__(Context(sinks=()))
        self.declared = declared

    def declare(self, secure: bool, matched: Matched) -> Sequence[Declared]:
        return (*self.declared, override(b"x-admin", b"1")) if matched else self.declared


# --- law 2: transparency (frameworks and servers: test_transparency.py) ---

MESSAGES: list[Message] = [
    {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]},
    {"type": "http.response.push", "path": "/a", "headers": []},
    {"type": "http.response.debug", "info": {"template": "a"}},
    {"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")], "trailers": True, "x": object()},
    {"type": "http.response.body", "body": b"a", "more_body": True},
    {"type": "http.response.zerocopysend", "file": object(), "offset": 3, "count": 9, "more_body": True},
    {"type": "http.response.pathsend", "path": "/etc/hostname"},
    {"type": "never.heard.of", "headers": [(b"x-frame-options", b"x")]},
    {"type": "http.response.trailers", "headers": [(b"x-frame-options", b"x")], "more_trailers": False},
]


def test_law_2_every_message_passes_unchanged_in_order_and_once() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in MESSAGES:
            await send(message)

    sent = drive(Guard(app, policies=refusing()), http_scope())
    assert sent.types == [message["type"] for message in MESSAGES]
    for ours, theirs in zip(sent.messages, MESSAGES, strict=True):
        if theirs["type"] == "http.response.start":
            assert {**ours, "headers": None} == {**theirs, "headers": None}
            assert ours["headers"][0] == (b"x-own", b"1")
        else:
            assert ours is theirs


def test_law_2_what_comes_in_reaches_the_app_unchanged() -> None:
    seen: list[Message] = []

    class Watching(Policy):
        def on_receive(self, exchange: Exchange, message: Message) -> None:
            return None

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([await receive(), await receive()])
        await plain(scope, receive, send)

    incoming: list[Message] = [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "never.heard.of"}]
    drive(Guard(app, policies=[Watching()]), http_scope(), incoming)
    assert [id(message) for message in seen] == [id(message) for message in incoming]


def test_law_2_without_a_watching_policy_receive_is_the_servers_own() -> None:
    given_: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        given_.append(receive)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def run() -> None:
        await Guard(app, policies=refusing())(http_scope(), receive, receive)  # type: ignore[arg-type]

    asyncio.run(run())
    assert given_ == [receive]


HEADERS: dict[str, Any] = {
    "a list": [(b"x-own", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")],
    "a tuple": ((b"x-own", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")),
    "lists": [[b"x-own", b"1"], [b"set-cookie", b"a=1"], [b"set-cookie", b"b=2"]],
    "an iterator": lambda: iter([(b"x-own", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]),
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("kind", ["http.response.start", "websocket.accept", "websocket.http.response.start"])
def test_law_2_headers_may_be_any_iterable_and_no_cookie_is_lost(headers: Any, kind: str) -> None:
    message: Message = {"type": kind, "status": 200, "headers": headers() if callable(headers) else headers}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(message)

    scope = http_scope() if kind.startswith("http") else websocket_scope()
    sent = drive(Guard(app, policies=[Declaring(override(b"x-ours", b"1"))]), scope)
    assert [tuple(line) for line in sent.headers] == [
        (b"x-own", b"1"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"x-ours", b"1"),
    ]


def test_law_2_headers_may_be_missing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    assert drive(Guard(app, policies=[Declaring(keep(b"x-ours", b"1"))]), websocket_scope()).headers == [
        (b"x-ours", b"1")
    ]


def test_law_2_the_apps_own_message_and_list_stay_as_they_are() -> None:
    headers = [(b"X-Frame-Options", b"DENY"), (b"server", b"mine")]
    message = {"type": "http.response.start", "status": 200, "headers": headers}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(message)

    sent = drive(Guard(app, policies=refusing()), http_scope())
    assert message == {"type": "http.response.start", "status": 200, "headers": headers}
    assert headers == [(b"X-Frame-Options", b"DENY"), (b"server", b"mine")]
    assert sent.headers is not headers


# --- law 3: one line per header ---

NAMES = st.sampled_from([b"x-frame-options", b"x-content-type-options", b"strict-transport-security", b"vary"])
CASES = st.sampled_from([bytes.lower, bytes.upper, bytes.title, bytes.swapcase])


@given(
    st.lists(st.tuples(st.builds(lambda name, case: case(name), NAMES, CASES), st.sampled_from([b"a", b"DENY", b""]))),
    st.booleans(),
)
def test_law_3_a_security_header_appears_once_whatever_the_app_sent(lines: list[Line], secure: bool) -> None:
    policies = [*refusing(), Declaring(join(b"vary", b"Origin"))]
    policies[-1].context = policies[0].context
    sent = attempt(Guard(answering(200, lines), policies=policies), http_scope(scheme="https" if secure else "http"))
    for name in (b"x-frame-options", b"x-content-type-options", b"referrer-policy", b"vary"):
        assert len(sent.values(name)) == 1
    assert len(sent.values(b"strict-transport-security")) <= 1


# --- law 5: off costs nothing ---


def test_law_5_a_guard_without_policies_adds_nothing() -> None:
    received: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        received.append(scope)
        await plain(scope, receive, send)

    guard = Guard(app, policies=[])
    for scope in (http_scope(), websocket_scope()):
        before = dict(scope)
        assert drive(guard, scope).messages == drive(plain, dict(scope)).messages
        assert received[-1] is scope
        assert scope == before, "no Exchange is made where nobody looks at it"


def test_law_5_declared_lines_are_looked_up_at_start_and_never_again() -> None:
    class Counting(Policy):
        asked = 0

        def declare(self, secure: bool, matched: Matched) -> Sequence[Declared]:
            Counting.asked += 1
            return [override(b"x-a", b"1")]

    context = Context()
    guard = Guard(plain, policies=[Counting(context), Policy(context)])
    assert Counting.asked == 2, "once per scheme"
    scope = http_scope()
    for _ in range(3):
        drive(guard, scope)
    assert Counting.asked == 2
    assert "secguard" not in scope


def test_law_5_a_hook_that_is_not_overridden_is_not_called() -> None:
    calls: list[str] = []

    def spying(name: str) -> Any:
        def hook(policy: Policy, *arguments: object) -> None:
            calls.append(name)

        return hook

    hooks = {name: spying(name) for name in ("admit", "finish", "on_receive", "done")}
    for name, hook in hooks.items():
        calls.clear()
        only = type("Only", (Policy,), {name: hook})
        drive(Guard(_reading, policies=[only()]), http_scope())
        assert calls == [name]


async def _reading(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await plain(scope, receive, send)


# --- laws 8, 9 and 10: refusals ---

REFUSALS: dict[str, dict[str, Any]] = {
    "a strange host": {"host": b"evil.example"},
    "no host": {"host": None},
    "two hosts": {"headers": [(b"host", b"example.com"), (b"host", b"example.com")]},
    "an empty segment": {"path": "//admin"},
    "too many headers": {"headers": [(b"x-%d" % at, b"") for at in range(101)]},
}


@pytest.mark.parametrize("refused", REFUSALS.values(), ids=REFUSALS)
def test_law_8_what_is_refused_over_http_is_refused_over_websocket(refused: dict[str, Any]) -> None:
    guard = Guard(plain, policies=refusing())
    http = drive(guard, http_scope(**refused))
    denied = drive(guard, websocket_scope(**refused))
    closed = drive(guard, websocket_scope(**refused, denial=False))
    assert http.status in {400, 431}
    assert (denied.status, denied.headers, denied.body) == (http.status, http.headers, http.body)
    assert denied.types == ["websocket.http.response.start", "websocket.http.response.body"]
    assert closed.messages == [{"type": "websocket.close", "code": 1008, "reason": ""}]


def test_law_8_the_headers_of_an_accepted_websocket_are_hardened() -> None:
    sent = drive(Guard(plain, policies=refusing()), websocket_scope())
    assert sent.types == ["websocket.accept"]
    assert sent.header(b"strict-transport-security")


@pytest.mark.parametrize("extensions", [None, {}, {"tls": {}}])
def test_law_8_a_server_without_extensions_gets_a_close(extensions: Any) -> None:
    scope = {**websocket_scope(host=b"evil.example"), "extensions": extensions}
    assert drive(Guard(plain, policies=refusing()), scope).closed == 1008
    del scope["extensions"]
    assert drive(Guard(plain, policies=refusing()), scope).closed == 1008


@pytest.mark.parametrize("refused", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("make", [http_scope, websocket_scope])
def test_law_9_a_rehearsed_refusal_passes_and_leaves_its_event(refused: dict[str, Any], make: Any) -> None:
    log, rehearsed = EventLog(), EventLog()
    drive(Guard(plain, policies=refusing(Context(sinks=(log,)))), make(**refused))
    passed = drive(Guard(plain, policies=refusing(Context(sinks=(rehearsed,), mode="report"))), make(**refused))
    assert passed.status in {200, 101}
    assert log.told[0][0] == "refused"
    assert rehearsed.told[0] == ("rehearsed", log.codes[0])
    assert rehearsed.events[0].status == log.last.status


def test_law_9_a_section_rehearses_alone() -> None:
    log = EventLog()
    context = Context(sinks=(log,))
    policies = [
        RequestsPolicy(RequestsSettings(mode="report"), context),
        HostsPolicy(HostsSettings(allowed=("example.com",)), context),
    ]
    assert drive(Guard(plain, policies=policies), http_scope("//x", host=b"evil.example")).status == 400
    assert log.told == [("rehearsed", "requests.path"), ("refused", "hosts.unknown")]


@pytest.mark.parametrize("refused", REFUSALS.values(), ids=REFUSALS)
def test_law_10_no_refusal_is_cached(refused: dict[str, Any]) -> None:
    guard = Guard(plain, policies=refusing())
    for scope in (http_scope(**refused), http_scope(**refused, method="HEAD"), websocket_scope(**refused)):
        assert drive(guard, scope).header(b"cache-control") == b"no-store"


def test_law_10_nor_is_the_answer_for_an_app_that_failed() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("broken")

    sent = attempt(Guard(broken, policies=refusing()), http_scope())
    assert (sent.status, sent.body) == (500, b"Internal Server Error\n")
    assert sent.header(b"cache-control") == b"no-store"
    assert sent.header(b"x-content-type-options") == b"nosniff"
    assert isinstance(sent.error, ValueError), "the server still hears of it"
