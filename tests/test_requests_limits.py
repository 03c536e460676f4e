"""Limits on what a request says of itself and on what it sends: methods, lengths, bodies, messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Send
from starlette.websockets import WebSocket

from secguard import Guard
from secguard._http import Line
from secguard.csp import CSPPolicy, CSPSettings
from secguard.headers import HeadersPolicy, HeadersSettings
from secguard.policy import Context, Mode, Policy, Reply
from secguard.requests import RequestLimitsPolicy, RequestsMiddleware, RequestsPolicy, RequestsSettings
from tests.helpers import EventLog, Message, Scope, Sent, attempt, drive, exchange, http_scope, plain, websocket_scope

TOO_LARGE = f"{HTTPStatus.REQUEST_ENTITY_TOO_LARGE.phrase}\n".encode()  # Python 3.13 has the newer phrase


def refusal(fields: dict[str, Any], *headers: Line, **scope: Any) -> Reply | None:
    """What a request is answered with instead of the app's answer, without a queue."""
    verdict = RequestLimitsPolicy(RequestsSettings(**fields)).admit(exchange(headers=headers, **scope))
    assert verdict is None or isinstance(verdict, Reply)
    return verdict


def code_of(reply: Reply | None) -> str:
    return reply.event.code if reply and reply.event else "passes"


def alone(app: ASGIApp, log: EventLog, mode: Mode = "enforce", **fields: Any) -> ASGIApp:
    return RequestsMiddleware(app, RequestsSettings(**fields, mode=mode), sinks=(log,))


def in_a_guard(app: ASGIApp, log: EventLog, mode: Mode = "enforce", **fields: Any) -> ASGIApp:
    context, section = Context(sinks=(log,)), RequestsSettings(**fields, mode=mode)
    policies: list[Policy] = [HeadersPolicy(HeadersSettings(), context), CSPPolicy(CSPSettings(), context)]
    return Guard(app, policies=[*policies, RequestsPolicy(section, context), RequestLimitsPolicy(section, context)])


Build = Callable[..., ASGIApp]
both = pytest.mark.parametrize("build", [alone, in_a_guard])


# Methods


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_everyday_methods_pass(method: str) -> None:
    assert refusal({}, method=method) is None


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "Post", "PROPFIND", "G E T", "", "\x00", "GET\u017f"])
def test_other_methods_are_refused(method: str) -> None:
    reply = refusal({}, method=method)
    assert reply is not None
    assert (reply.status, code_of(reply)) == (405, "requests.method")
    assert (b"allow", b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT") in reply.headers


def test_get_allows_head_and_websockets() -> None:
    assert refusal({"methods": "GET"}, method="HEAD") is None
    assert refusal({"methods": "GET"}, websocket=True) is None
    reply = refusal({"methods": ["POST"]}, websocket=True)
    assert reply is not None
    assert (reply.status, dict(reply.headers)[b"allow"]) == (405, b"POST")


def test_a_method_of_ones_own_can_be_allowed() -> None:
    assert refusal({"methods": ["GET", "PROPFIND"]}, method="PROPFIND") is None


def test_every_method_passes_where_methods_are_off() -> None:
    assert refusal({"methods": None}, method="TRACE") is None


@pytest.mark.parametrize(
    ("method", "advice"),
    [
        pytest.param("TRACE", "take it out", id="what echoes secrets"),
        pytest.param("connect", "take it out", id="what opens tunnels"),
        pytest.param("get", "write GET", id="small letters"),
        pytest.param("GET POST", "write GET", id="two in one"),
        pytest.param("", "one word", id="none"),
        pytest.param("GÉT", "one word", id="beyond ASCII"),
    ],
)
def test_a_method_that_cannot_be_allowed_stops_the_start(method: str, advice: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RequestsSettings(methods=["GET", method])
    (error,) = caught.value.errors()
    assert (error["type"], error["loc"]) == ("request-method", ("methods", 1))
    assert error["msg"].startswith(repr(method))
    assert advice in error["msg"]


def test_no_method_at_all_stops_the_start() -> None:
    with pytest.raises(ValidationError):
        RequestsSettings(methods=[])


# Content-Length

LENGTHS: list[tuple[bytes, str]] = [
    (b"0", "passes"),
    (b"9", "passes"),
    (b"10", "passes"),
    (b"0010", "passes"),
    (b"0" * 5000 + b"10", "passes"),
    (b"11", "requests.body"),
    (b"0011", "requests.body"),
    (b"100", "requests.body"),
    (b"9" * 5000, "requests.body"),
    (b"-1", "requests.length"),
    (b"+1", "requests.length"),
    (b"", "requests.length"),
    (b" 1", "requests.length"),
    (b"1_0", "requests.length"),
    (b"0x1", "requests.length"),
    (b"1.0", "requests.length"),
    (b"5, 5", "requests.length"),
    ("٣".encode(), "requests.length"),
    (b"\xb2", "requests.length"),
]


@pytest.mark.parametrize(("length", "code"), LENGTHS, ids=[repr(length[:12]) for length, _ in LENGTHS])
def test_the_length_that_a_request_announces(length: bytes, code: str) -> None:
    reply = refusal({"max_body_size": 10}, (b"content-length", length), method="POST")
    assert code_of(reply) == code
    if reply:
        assert reply.status == {"requests.body": 413, "requests.length": 400}[code]
        assert dict(reply.headers)[b"connection"] == b"close", "or the server would go on reading"


@given(st.integers(0, 10**30), st.integers(0, 10**30), st.integers(0, 40))
def test_lengths_are_compared_as_numbers(length: int, most: int, zeros: int) -> None:
    reply = refusal({"max_body_size": most}, (b"content-length", b"0" * zeros + b"%d" % length))
    assert (reply is not None) is (length > most)


@given(st.binary(max_size=20))
def test_whatever_a_length_says_it_is_judged(length: bytes) -> None:
    reply = refusal({}, (b"content-length", length))
    assert (code_of(reply) == "requests.length") is not (length.isdigit())


@pytest.mark.parametrize(("version", "closes"), [("1.0", True), ("1", True), ("1.1", True), ("2", False), ("3", False)])
def test_only_http_1_is_told_to_close(version: str, closes: bool) -> None:
    """RFC 9113 section 8.2.2 forbids the field."""
    reply = refusal({"max_body_size": 1}, (b"content-length", b"2"), http_version=version)
    assert reply is not None
    assert (b"connection" in dict(reply.headers)) is closes


def test_a_handshake_has_no_body_whatever_it_says() -> None:
    assert refusal({}, (b"content-length", b"none"), websocket=True) is None


def test_lengths_do_not_matter_where_bodies_are_not_limited() -> None:
    assert refusal({"max_body_size": None}, (b"content-length", b"9" * 100)) is None


def test_the_default_is_ten_mebibytes() -> None:
    assert code_of(refusal({}, (b"content-length", b"10485760"))) == "passes"
    assert code_of(refusal({}, (b"content-length", b"10485761"))) == "requests.body"


def writing(wrote: list[bytes]) -> Starlette:
    """An app with a side effect, which answers without reading."""

    async def endpoint(request: Request) -> Response:
        wrote.append(b"something")
        return PlainTextResponse("written")

    return Starlette(routes=[Route("/", endpoint, methods=["POST"])])


@both
def test_an_announced_length_is_refused_before_the_endpoint_runs(build: Build) -> None:
    """PITFALLS: the limit notices a too large Content-Length only after the endpoint has run, side effects included."""
    wrote: list[bytes] = []
    request: dict[str, Any] = {"method": "POST", "headers": [(b"content-length", b"11")]}
    sent = drive(build(writing(wrote), EventLog(), max_body_size=10), http_scope(**request))
    assert (sent.status, sent.body, wrote) == (413, TOO_LARGE, [])

    starlettes = drive(RequestBodyLimitMiddleware(writing(wrote), 10), http_scope(**request))
    assert (starlettes.status, wrote) == (413, [b"something"]), "if Starlette's knew better, this could go"


# Bodies


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


ECHO = Starlette(routes=[Route("/", echo, methods=["POST"])])


def chunks(*parts: bytes) -> list[Message]:
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False
    return messages


BODIES = [
    pytest.param([b""], 200, id="empty"),
    pytest.param([b"x" * 10], 200, id="as large as allowed"),
    pytest.param([b"x" * 5, b"", b"x" * 5], 200, id="as large as allowed, in parts"),
    pytest.param([b"x" * 11], 413, id="larger"),
    pytest.param([b"x" * 10, b"x"], 413, id="larger, in the last part"),
    pytest.param([b"x"] * 11, 413, id="larger, byte by byte"),
    pytest.param([b"x" * 11, b"x" * 11], 413, id="larger, and no end yet"),
]


@both
@pytest.mark.parametrize(("parts", "status"), BODIES)
def test_a_body_is_counted_as_it_comes(build: Build, parts: list[bytes], status: int) -> None:
    log = EventLog()
    sent = drive(build(ECHO, log, max_body_size=10), http_scope(method="POST"), chunks(*parts))
    assert sent.status == status
    assert sent.body == (b"".join(parts) if status == 200 else TOO_LARGE)
    assert log.told == ([] if status == 200 else [("refused", "requests.body")])


def test_a_length_that_is_too_small_helps_nobody() -> None:
    scope = http_scope(method="POST", headers=[(b"content-length", b"3")])
    assert drive(alone(ECHO, EventLog(), max_body_size=10), scope, chunks(b"x" * 11)).status == 413


def test_a_body_message_without_a_body_is_an_empty_one() -> None:
    assert (
        drive(alone(ECHO, EventLog(), max_body_size=0), http_scope(method="POST"), [{"type": "http.request"}]).body
        == b""
    )


def test_each_request_is_counted_for_itself() -> None:
    app = alone(ECHO, EventLog(), max_body_size=10)
    for _ in range(3):
        assert drive(app, http_scope(method="POST"), chunks(b"x" * 9)).status == 200


def test_the_same_request_is_counted_for_each_guard() -> None:
    log = EventLog()
    app = alone(alone(ECHO, log, max_body_size=10), log, max_body_size=20)
    assert drive(app, http_scope(method="POST"), chunks(b"x" * 6, b"x" * 4)).status == 200
    assert drive(app, http_scope(method="POST"), chunks(b"x" * 6, b"x" * 5)).status == 413
    assert log.codes == ["requests.body"]


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=8), st.integers(0, 40))
def test_the_sum_decides_and_nothing_else(parts: list[bytes], most: int) -> None:
    sent = drive(alone(ECHO, EventLog(), max_body_size=most), http_scope(method="POST"), chunks(*parts))
    whole = b"".join(parts)
    assert (sent.status, sent.body) == ((200, whole) if len(whole) <= most else (413, TOO_LARGE))


def test_refusals_carry_every_header() -> None:
    """PITFALLS: headers missing on 413s, because the middleware sat inside what answered."""
    log = EventLog()
    app = in_a_guard(ECHO, log, max_body_size=10)
    for scope, incoming in (
        (http_scope(method="POST", headers=[(b"content-length", b"11")]), []),
        (http_scope(method="POST"), chunks(b"x" * 11)),
        (http_scope(method="TRACE"), []),
    ):
        sent = drive(app, scope, incoming)
        assert sent.status in {405, 413}
        for name in (b"content-security-policy", b"x-content-type-options", b"strict-transport-security"):
            assert sent.header(name)


def test_no_refusal_is_cached() -> None:
    """PITFALLS: a refusal that a CDN caches: 405 is cacheable by default (RFC 9110 section 15.1)."""
    app = alone(ECHO, EventLog(), max_body_size=10)
    for scope, incoming in ((http_scope(method="TRACE"), []), (http_scope(method="POST"), chunks(b"x" * 11))):
        assert drive(app, scope, incoming).header(b"cache-control") == b"no-store"


def test_nothing_is_buffered() -> None:
    """PITFALLS: a middleware that buffers: streaming and background tasks broken."""
    ran = []

    async def work() -> None:
        ran.append("after")

    async def upper(request: Request) -> Response:
        async def parts() -> Any:
            async for part in request.stream():
                yield part.upper()

        return StreamingResponse(parts(), background=BackgroundTask(work))

    app = Starlette(routes=[Route("/", upper, methods=["POST"])])
    order: list[str] = []

    async def played() -> None:
        incoming = chunks(b"a", b"b", b"c")

        async def receive() -> Message:
            order.append("in")
            return incoming.pop(0) if incoming else await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: Message) -> None:
            if message.get("body"):
                order.append(message["body"].decode())

        scope = http_scope(method="POST", asgi={"version": "3.0", "spec_version": "2.4"})
        await alone(app, EventLog(), max_body_size=3)(scope, receive, send)

    asyncio.run(played())
    assert order == ["in", "A", "in", "B", "in", "C"]
    assert ran == ["after"]


async def answering_first(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"so far", "more_body": True})
    await receive()
    await send({"type": "http.response.body", "body": b"the rest"})


def test_an_answer_that_has_begun_is_cut_short() -> None:
    sent = attempt(alone(answering_first, EventLog(), max_body_size=10), http_scope(method="POST"), chunks(b"x" * 11))
    assert (sent.status, sent.body, sent.messages[-1]["more_body"]) == (200, b"so far", True)


# Rehearsals


@both
def test_a_large_body_is_told_of_once(build: Build) -> None:
    log = EventLog()
    app = build(ECHO, log, "report", max_body_size=10)
    assert drive(app, http_scope(method="POST"), chunks(*[b"x" * 8] * 9)).body == b"x" * 72
    assert log.told == [("rehearsed", "requests.body")]


@both
@pytest.mark.parametrize(
    ("scope", "code"),
    [
        (http_scope(method="POST", headers=[(b"content-length", b"11")]), "requests.body"),
        (http_scope(method="POST", headers=[(b"content-length", b"-1")]), "requests.length"),
    ],
    ids=["large", "no number"],
)
def test_what_a_request_says_of_itself_can_be_rehearsed(build: Build, scope: Scope, code: str) -> None:
    log = EventLog()
    assert drive(build(ECHO, log, "report", max_body_size=10), dict(scope), chunks(b"hello")).body == b"hello"
    assert log.told == [("rehearsed", code)]


@both
def test_a_method_can_be_rehearsed(build: Build) -> None:
    log = EventLog()
    assert drive(build(plain, log, "report"), http_scope(method="TRACE")).status == 200
    assert log.told == [("rehearsed", "requests.method")]


# Events


def test_the_operator_learns_what_to_set() -> None:
    log = EventLog()
    app = alone(ECHO, log, max_body_size=10)
    drive(app, http_scope(method="POST", headers=[(b"content-length", b"11")]))
    assert dict(log.last.detail) == {"max_body_size": 10, "length": b"11"}
    assert "SECGUARD_REQUESTS__MAX_BODY_SIZE" in log.last.reason
    drive(app, http_scope(method="POST"), chunks(b"x" * 11))
    assert dict(log.last.detail) == {"max_body_size": 10}
    drive(app, http_scope(method="TRACE"))
    assert (log.last.method, log.last.status) == ("TRACE", 405)
    assert "SECGUARD_REQUESTS__METHODS" in log.last.reason


# Websockets


async def hear(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            break
        await websocket.send_text("heard")


CHAT = Starlette(routes=[WebSocketRoute("/", hear)])
CONNECT: Message = {"type": "websocket.connect"}


def text(said: str) -> Message:
    return {"type": "websocket.receive", "text": said}


def data(said: bytes) -> Message:
    return {"type": "websocket.receive", "bytes": said}


MESSAGES = [
    pytest.param(text(""), True, id="empty text"),
    pytest.param(text("x" * 12), True, id="text as large as allowed"),
    pytest.param(text("ä" * 6), True, id="text as large as allowed, beyond ASCII"),
    pytest.param(text("😀" * 3), True, id="text as large as allowed, of the longest letters"),
    pytest.param(text("x" * 13), False, id="larger text"),
    pytest.param(text("ä" * 6 + "x"), False, id="larger text, beyond ASCII"),
    pytest.param(text("😀" * 3 + "x"), False, id="larger text, of the longest letters"),
    pytest.param(text("\ud800" * 4), True, id="text as large as allowed, half a letter"),
    pytest.param(text("\ud800" * 5), False, id="larger text, half a letter"),
    pytest.param(data(b""), True, id="no bytes"),
    pytest.param(data(b"x" * 12), True, id="as many bytes as allowed"),
    pytest.param(data(b"x" * 13), False, id="more bytes"),
    pytest.param({**data(b"x" * 13), "text": None}, False, id="more bytes beside no text"),
    pytest.param({**text("x" * 13), "bytes": None}, False, id="larger text beside no bytes"),
]


@both
@pytest.mark.parametrize(("message", "passes"), MESSAGES)
def test_a_message_is_weighed(build: Build, message: Message, passes: bool) -> None:
    log = EventLog()
    sent = drive(build(CHAT, log, max_message_size=12), websocket_scope(), [CONNECT, message])
    if passes:
        assert sent.types == ["websocket.accept", "websocket.send"]
        assert log.told == []
    else:
        assert sent.types == ["websocket.accept", "websocket.close"]
        assert sent.closed == 1009  # RFC 6455 section 7.4.1
        assert log.told == [("refused", "requests.message")]


@given(st.text(max_size=9), st.integers(0, 40))
def test_a_message_weighs_what_it_takes_on_the_wire(said: str, most: int) -> None:
    sent = drive(alone(CHAT, EventLog(), max_message_size=most), websocket_scope(), [CONNECT, text(said)])
    assert (sent.closed is None) is (len(said.encode()) <= most)


def test_a_body_limit_is_none_on_messages() -> None:
    sent = drive(alone(CHAT, EventLog(), max_body_size=1), websocket_scope(), [CONNECT, *[text("hello")] * 5])
    assert sent.types.count("websocket.send") == 5


def test_heavy_messages_are_told_of_once_in_a_rehearsal() -> None:
    log = EventLog()
    app = alone(CHAT, log, "report", max_message_size=1)
    sent = drive(app, websocket_scope(), [CONNECT, *[text("hello")] * 3])
    assert sent.types.count("websocket.send") == 3
    assert log.told == [("rehearsed", "requests.message")]


@both
@pytest.mark.parametrize("denial", [True, False])
def test_a_websocket_is_denied_where_get_is_not_allowed(build: Build, denial: bool) -> None:
    sent: Sent = drive(build(CHAT, EventLog(), methods=["POST"]), websocket_scope(denial=denial))
    assert (sent.status == 405 and sent.header(b"allow") == b"POST") if denial else sent.closed == 1008


# Off costs nothing

OFF = {"methods": None, "max_body_size": None, "body_timeout": None, "max_message_size": None}
NEEDED = [
    pytest.param({}, set(), id="nothing"),
    pytest.param({"body_min_rate": 1, "max_queue": 1, "queue_timeout": 1}, set(), id="what only goes with others"),
    pytest.param({"methods": ["GET"]}, {"admit"}, id="methods"),
    pytest.param({"max_body_size": 1}, {"admit", "on_receive"}, id="a body's size"),
    pytest.param({"body_timeout": 1}, {"patience", "on_wait"}, id="a body's time"),
    pytest.param({"timeout": 1}, {"limit"}, id="an answer's time"),
    pytest.param({"max_concurrency": 1}, {"admit", "done"}, id="concurrency"),
    pytest.param({"max_websockets": 1}, {"admit", "done"}, id="websockets"),
    pytest.param({"max_message_size": 1}, {"on_receive"}, id="a message's size"),
    pytest.param({"websocket_idle_timeout": 1}, {"patience"}, id="idle websockets"),
    pytest.param({"rules": [{"paths": ["/x"], "timeout": 1}]}, {"limit"}, id="an answer's time, on a path"),
    pytest.param({"rules": [{"paths": ["/x"], "timeout": None}]}, set(), id="no time, on a path"),
]
HOOKS = {"admit", "patience", "on_wait", "on_receive", "limit", "done"}


@pytest.mark.parametrize(("fields", "hooks"), NEEDED)
def test_what_is_off_adds_no_hook(fields: dict[str, Any], hooks: set[str]) -> None:
    policy = RequestLimitsPolicy(RequestsSettings.model_validate(OFF | fields))
    assert HOOKS - policy.unneeded == hooks


def test_with_every_limit_off_the_app_gets_what_the_server_gave() -> None:
    given = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        given.append((scope, receive))

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    scope = http_scope()
    policy = RequestLimitsPolicy(RequestsSettings.model_validate(OFF))
    asyncio.run(Guard(app, policies=[policy])(scope, receive, send))
    assert given == [(scope, receive)]
    assert "secguard" not in scope
