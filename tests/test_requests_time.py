"""Limits on time: for a body, for an answer, for a websocket that says nothing. All of it in virtual time."""

from __future__ import annotations

import asyncio
from math import ceil
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from secguard import Guard
from secguard.headers import HeadersPolicy, HeadersSettings
from secguard.policy import Context, Exchange, Looker, Mode, Policy
from secguard.requests import RequestLimitsPolicy, RequestsMiddleware, RequestsPolicy, RequestsSettings
from tests.helpers import EventLog, Scope, Sent, http_scope, websocket_scope
from tests.slow_clients import Timetable, attempt_slowly, post, talk

POST: dict[str, Any] = {"method": "POST"}


def limited(app: ASGIApp, log: EventLog, mode: Mode = "enforce", **fields: Any) -> ASGIApp:
    """The limits, among headers, which every refusal has to carry."""
    context, section = Context(sinks=(log,)), RequestsSettings(**fields, mode=mode)
    policies: list[Policy] = [HeadersPolicy(HeadersSettings(), context)]
    return Guard(app, policies=[*policies, RequestsPolicy(section, context), RequestLimitsPolicy(section, context)])


async def length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


READER = Starlette(routes=[Route("/", length, methods=["GET", "POST"])])


def upload(incoming: Timetable, log: EventLog | None = None, **fields: Any) -> tuple[Sent, list[float]]:
    return attempt_slowly(limited(READER, log or EventLog(), **fields), http_scope(**POST), incoming)


# Bodies

RATE: dict[str, Any] = {"body_timeout": 10, "body_min_rate": 100}
PACES: list[tuple[str, Timetable, int, float]] = [
    ("at once", post((0, b"x" * 5000)), 200, 0),
    ("just in time", post((9.9, b"x")), 200, 9.9),
    ("too late", post((10.5, b"x")), 408, 10),
    ("never", post((0, b""), ends=False), 408, 10),
    ("at the rate", post(*[(1, b"x" * 100)] * 60), 200, 60),
    ("in long pauses, at the rate", post(*[(9.9, b"x" * 990)] * 9), 200, 89.1),
    ("below the rate", post(*[(1, b"x" * 50)] * 60), 408, 19),
    ("byte by byte", post(*[(1, b"x")] * 60), 408, 10.1),
    ("nothing, in many parts", post(*[(1, b"")] * 60), 408, 10),
    ("fast, then silence", post((0, b"x" * 100_000), ends=False), 408, 10),
    ("fast, then slowly", post((0, b"x" * 1000), *[(1, b"x")] * 30), 408, 20.2),
    ("a first part just in time, then silence", post((9.9, b"x" * 500), ends=False), 408, 15),
]


@pytest.mark.parametrize(("incoming", "status", "after"), [row[1:] for row in PACES], ids=[row[0] for row in PACES])
def test_a_body_may_be_slow_but_not_too_slow(incoming: Timetable, status: int, after: float) -> None:
    log = EventLog()
    sent, times = upload(incoming, log, **RATE)
    assert sent.status == status
    assert times[-1] == pytest.approx(after, abs=0.2)
    assert log.codes == ([] if status == 200 else ["requests.slow-body"])
    if status == 408:
        assert sent.header(b"connection") == b"close"  # RFC 9110 section 15.5.9
        assert sent.header(b"cache-control") == b"no-store"
        assert sent.header(b"x-content-type-options") == b"nosniff"
        assert sent.error is None


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 900)), min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(1, 300),
)
def test_no_body_holds_a_slot_for_ever(parts: list[tuple[int, int]], free: int, rate: int) -> None:
    """It holds it no longer than it may, and one that keeps to the rate, without long pauses, is never refused."""
    table = post(*[(pause, b"x" * size) for pause, size in parts], ends=False)
    sent, times = upload(table, body_timeout=free, body_min_rate=rate)
    assert sent.status == 408
    assert times[-1] <= free + sum(size for _, size in parts) / rate + 1e-6

    pauses = [min(pause, free * 0.99) for pause, _ in parts]
    steady = [(pause, b"x" * ceil(pause * rate)) for pause in pauses]
    assert upload(post(*steady), body_timeout=free, body_min_rate=rate)[0].status == 200


def test_the_defaults_bear_a_pause_of_half_a_minute() -> None:
    assert upload(post((0, b"x"), (29, b"x"), ends=True))[0].status == 200
    sent, times = upload(post((0, b"x"), ends=False))
    assert (sent.status, times[-1]) == (408, 30)


def test_without_a_rate_only_silence_counts() -> None:
    sent, times = upload(post(*[(9, b"")] * 20, (11, b"x")), body_timeout=10, body_min_rate=None)
    assert (sent.status, times[-1]) == (408, 190)


def test_without_a_timeout_a_body_may_take_as_long_as_it_likes() -> None:
    assert upload(post((100_000, b"x")), body_timeout=None)[0].status == 200


def test_http_2_is_not_told_to_close() -> None:
    sent, _ = attempt_slowly(limited(READER, EventLog()), http_scope(**POST, http_version="2"), post((99, b"x")))
    assert (sent.status, sent.header(b"connection")) == (408, None)


def test_what_the_app_does_between_two_parts_does_not_count() -> None:
    async def careful(request: Request) -> Response:
        size = 0
        async for part in request.stream():
            await asyncio.sleep(60)
            size += len(part)
        return PlainTextResponse(str(size))

    app = Starlette(routes=[Route("/", careful, methods=["POST"])])
    sent, _ = attempt_slowly(limited(app, EventLog(), **RATE), http_scope(**POST), post(*[(0, b"x")] * 5))
    assert sent.body == b"5"


async def until_gone(request: Request) -> Response:
    await request.body()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return PlainTextResponse("gone")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_waits_for_its_client_to_leave_is_left_alone(method: str) -> None:
    """As long polls and server-sent events do."""
    app = Starlette(routes=[Route("/", until_gone, methods=[method])])
    incoming = [*post((1, b"x" if method == "POST" else b"")), (10_000.0, {"type": "http.disconnect"})]
    log = EventLog()
    sent, times = attempt_slowly(limited(app, log, **RATE), http_scope(method=method), incoming)
    assert (sent.body, times[-1], log.told) == (b"gone", 10_001, [])


def test_events_are_sent_for_hours() -> None:
    async def ticks() -> Any:
        for _ in range(5):
            yield b"tick"
            await asyncio.sleep(3600)

    app = Starlette(routes=[Route("/", lambda _: StreamingResponse(ticks()))])
    sent, _ = attempt_slowly(limited(app, EventLog()), http_scope(), post((0, b"")))
    assert sent.body == b"tick" * 5


@pytest.mark.parametrize("parts", [[(0, b"")], [(0, b"x" * 100_000)]], ids=["nothing came", "much came"])
def test_what_the_app_gave_up_waiting_for_counts(parts: list[tuple[float, bytes]]) -> None:
    """Or an app that looks again every second would let a body take for ever."""

    async def impatient(request: Request) -> Response:
        await request.receive()
        for _ in range(1000):
            with anyio.move_on_after(1):
                return PlainTextResponse((await request.receive())["type"])
        return PlainTextResponse("never")

    app = Starlette(routes=[Route("/", impatient, methods=["POST"])])
    incoming = post(*parts, (2000, b"x"))
    sent, times = attempt_slowly(limited(app, EventLog(), **RATE), http_scope(**POST), incoming)
    assert sent.status == 408
    assert times[-1] == pytest.approx(10)


def test_an_app_finds_its_slow_client_gone() -> None:
    caught = []

    async def reading(request: Request) -> Response:
        try:
            await request.body()
        except ClientDisconnect:
            caught.append("gone")
        return PlainTextResponse("never sent")

    app = Starlette(routes=[Route("/", reading, methods=["POST"])])
    sent, _ = attempt_slowly(limited(app, EventLog(), **RATE), http_scope(**POST), post((99, b"x")))
    assert (sent.status, caught) == (408, ["gone"])


def test_an_answer_that_has_begun_is_cut_short() -> None:
    async def parts(request: Request) -> Any:
        yield b"so far"
        async for part in request.stream():
            yield part

    app = Starlette(routes=[Route("/", lambda request: StreamingResponse(parts(request)), methods=["POST"])])
    scope = http_scope(**POST, asgi={"version": "3.0", "spec_version": "2.4"})
    sent, _ = attempt_slowly(limited(app, EventLog(), **RATE), scope, post((1, b"x"), ends=False))
    assert (sent.status, sent.body, sent.messages[-1]["more_body"]) == (200, b"so farx", True)


class Foresight(Policy):
    """Wants to see all of the body before the app runs, as what looks for a token in a form does."""

    def look_ahead(self, exchange: Exchange) -> Looker:
        return lambda message: False


@pytest.mark.parametrize("parts", [[(1, b"x")] * 99, [(1, b"x" * 50)] * 99])
def test_a_look_ahead_waits_no_longer_either(parts: list[tuple[float, bytes]]) -> None:
    context = Context(sinks=(EventLog(),))
    section = RequestsSettings(**RATE)
    guard = Guard(READER, policies=[Foresight(context), RequestLimitsPolicy(section, context)])
    sent, times = attempt_slowly(guard, http_scope(**POST), post(*parts))
    assert (sent.status, times) == (upload(post(*parts), **RATE)[0].status, upload(post(*parts), **RATE)[1])
    assert sent.status == 408


def test_a_look_ahead_at_a_body_that_keeps_to_the_rate_is_fine() -> None:
    context = Context(sinks=(EventLog(),))
    guard = Guard(READER, policies=[Foresight(context), RequestLimitsPolicy(RequestsSettings(**RATE), context)])
    sent, _ = attempt_slowly(guard, http_scope(**POST), post(*[(1, b"x" * 100)] * 60))
    assert sent.body == b"6000"


def test_a_slow_body_is_told_of_once_in_a_rehearsal() -> None:
    log = EventLog()
    sent, _ = upload(post(*[(11, b"x")] * 9), log, mode="report", **RATE)
    assert sent.body == b"9"
    assert log.told == [("rehearsed", "requests.slow-body")]


def test_the_operator_learns_how_much_had_come() -> None:
    log = EventLog()
    upload(post((1, b"x" * 7), ends=False), log, **RATE)
    assert dict(log.last.detail) == {"received": 7}
    assert log.last.status == 408


# Answers


def answers_after(seconds: float) -> Starlette:
    async def slow(_: Request) -> Response:
        await asyncio.sleep(seconds)
        return PlainTextResponse("at last")

    return Starlette(routes=[Route("/", slow, methods=["GET", "POST"])])


@pytest.mark.parametrize(("seconds", "status"), [(4, 200), (6, 503)])
def test_an_answer_may_take_no_longer(seconds: float, status: int) -> None:
    log = EventLog()
    sent, times = attempt_slowly(limited(answers_after(seconds), log, timeout=5), http_scope(), post((0, b"")))
    assert (sent.status, times[-1]) == (status, min(seconds, 5))
    assert log.told == ([] if status == 200 else [("refused", "requests.timeout")])
    assert sent.header(b"x-content-type-options") == b"nosniff"


def test_an_answer_may_take_as_long_as_it_likes_by_default() -> None:
    sent, _ = attempt_slowly(limited(answers_after(9999), EventLog()), http_scope(), post((0, b"")))
    assert sent.status == 200


def test_a_body_that_keeps_to_the_rate_has_no_more_time_than_the_answer() -> None:
    sent, times = upload(post(*[(1, b"x" * 500)] * 60), timeout=20)
    assert (sent.status, times[-1]) == (503, 20)


def test_an_overrun_can_be_rehearsed() -> None:
    log = EventLog()
    sent, _ = attempt_slowly(limited(answers_after(6), log, "report", timeout=5), http_scope(), post((0, b"")))
    assert sent.body == b"at last"
    assert log.told == [("rehearsed", "requests.timeout")]


def test_a_timeout_is_none_for_websockets() -> None:
    app = limited(sockets(listen), EventLog(), timeout=5)
    sent, _ = attempt_slowly(app, websocket_scope(), [*talk(60), GONE])
    assert sent.closed is None


# Websockets

GONE = (1.0, {"type": "websocket.disconnect", "code": 1001})


def sockets(speak: Any) -> Starlette:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await speak(websocket)

    return Starlette(routes=[WebSocketRoute("/", endpoint)])


async def listen(websocket: WebSocket) -> None:
    async for _ in websocket.iter_text():
        pass


def test_a_websocket_without_a_message_is_closed() -> None:
    log = EventLog()
    app = limited(sockets(listen), log, websocket_idle_timeout=10)
    sent, times = attempt_slowly(app, websocket_scope(), talk(9, 9))
    assert (sent.types, sent.closed, times[-1]) == (["websocket.accept", "websocket.close"], 1001, 28)
    assert log.told == [("refused", "requests.idle")]
    assert sent.error is None


def test_an_app_finds_its_silent_client_gone() -> None:
    caught: list[int] = []

    async def speak(websocket: WebSocket) -> None:
        with pytest.raises(WebSocketDisconnect) as error:
            await websocket.receive_text()
        caught.append(error.value.code)

    attempt_slowly(limited(sockets(speak), EventLog(), websocket_idle_timeout=10), websocket_scope(), talk())
    assert caught == [1006]


def test_what_the_app_says_keeps_a_websocket_open() -> None:
    async def push(websocket: WebSocket) -> None:
        async def ticks() -> None:
            for _ in range(5):
                await asyncio.sleep(8)
                await websocket.send_text("tick")

        ticking = asyncio.create_task(ticks())
        await listen(websocket)
        await ticking

    app = limited(sockets(push), EventLog(), websocket_idle_timeout=10)
    sent, times = attempt_slowly(app, websocket_scope(), talk())
    assert (sent.types.count("websocket.send"), sent.closed, times[-1]) == (5, 1001, 50)


def test_a_websocket_may_be_silent_by_default() -> None:
    sent, _ = attempt_slowly(limited(sockets(listen), EventLog()), websocket_scope(), [*talk(99_999), GONE])
    assert sent.types == ["websocket.accept"]


async def undecided(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


@pytest.mark.parametrize("denial", [True, False])
def test_a_handshake_that_the_app_leaves_open_is_denied(denial: bool) -> None:
    app = limited(undecided, EventLog(), websocket_idle_timeout=10)
    sent, times = attempt_slowly(app, websocket_scope(denial=denial), talk())
    assert times[-1] == 10
    assert sent.status == 408 if denial else sent.closed == 1001


def test_silence_is_told_of_once_in_a_rehearsal() -> None:
    log = EventLog()
    app = limited(sockets(listen), log, "report", websocket_idle_timeout=10)
    sent, _ = attempt_slowly(app, websocket_scope(), [*talk(60, 60, 60), GONE])
    assert sent.types == ["websocket.accept"]
    assert log.told == [("rehearsed", "requests.idle")]


# Alone, and at start


def test_alone_it_does_the_same() -> None:
    section = RequestsSettings(**RATE, timeout=50, websocket_idle_timeout=5)
    for scope, incoming, code in (
        (http_scope(**POST), post((99, b"x")), "requests.slow-body"),
        (http_scope(**POST), post(*[(1, b"x" * 200)] * 99), "requests.timeout"),
        (websocket_scope(), talk(), "requests.idle"),
    ):
        log = EventLog()
        app = READER if scope["type"] == "http" else sockets(listen)
        attempt_slowly(RequestsMiddleware(app, section, sinks=(log,)), scope, incoming)
        assert log.told == [("refused", code)]


@pytest.mark.parametrize(
    "field", ["body_timeout", "body_min_rate", "timeout", "queue_timeout", "websocket_idle_timeout"]
)
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_a_time_that_is_none_stops_the_start(field: str, value: float) -> None:
    with pytest.raises(ValidationError):
        RequestsSettings.model_validate({field: value})
