"""Time limits of the Guard: how long an app may take, and how long it may wait. Time is virtual, and jumps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Send
from starlette.websockets import WebSocket

from secguard import Guard
from secguard.headers import HeadersPolicy, HeadersSettings
from secguard.policy import Context, Exchange, Looker, Mode, Outcome, Policy, Reply, TimeLimit
from tests.helpers import EventLog, Message, Scope, Sent, http_scope, websocket_scope
from tests.slow_clients import Timetable, attempt_slowly, post, serve_slowly, talk
from tests.virtual_time import run

SECONDS = 10.0


class Timed(Policy):
    """Limits the whole answer."""

    def __init__(self, context: Context, seconds: float | None = SECONDS) -> None:
        super().__init__(context)
        self.seconds = seconds
        self.outcomes: list[Outcome] = []

    def limit(self, exchange: Exchange) -> TimeLimit | None:
        return None if self.seconds is None else TimeLimit(self.seconds, self._over)

    def _over(self, exchange: Exchange) -> Reply:
        return self.context.refuse(exchange, HTTPStatus.SERVICE_UNAVAILABLE, "timed.over", "it took too long")

    def done(self, exchange: Exchange, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class Patient(Policy):
    """Limits the time until the next message comes."""

    def __init__(self, context: Context, seconds: float | None = SECONDS, code: str = "patient.over") -> None:
        super().__init__(context)
        self.seconds = seconds
        self.code = code

    def patience(self, exchange: Exchange) -> TimeLimit | None:
        return None if self.seconds is None else TimeLimit(self.seconds, self._over)

    def _over(self, exchange: Exchange) -> Reply:
        return self.context.refuse(exchange, HTTPStatus.REQUEST_TIMEOUT, self.code, "nothing came")


def context(log: EventLog, mode: Mode = "enforce") -> Context:
    return Context(sinks=(log,), mode=mode)


def timed(app: ASGIApp, log: EventLog, mode: Mode = "enforce", seconds: float | None = SECONDS) -> Guard:
    shared = context(log, mode)
    return Guard(app, policies=[HeadersPolicy(HeadersSettings(), shared), Timed(shared, seconds)])


def patient(app: ASGIApp, log: EventLog, mode: Mode = "enforce", seconds: float | None = SECONDS) -> Guard:
    shared = context(log, mode)
    return Guard(app, policies=[HeadersPolicy(HeadersSettings(), shared), Patient(shared, seconds)])


WHOLE: Timetable = [(0, {"type": "http.request", "body": b"", "more_body": False})]


def answers_after(seconds: float) -> Starlette:
    async def slow(_: Request) -> Response:
        await asyncio.sleep(seconds)
        return PlainTextResponse("at last")

    return Starlette(routes=[Route("/", slow, methods=["GET", "POST"])])


# --- limit ---


def test_answer_in_time_is_the_apps() -> None:
    log = EventLog()
    sent, times = attempt_slowly(timed(answers_after(9), log), http_scope(), WHOLE)
    assert (sent.status, sent.body, times[-1]) == (200, b"at last", 9)
    assert log.told == []


def test_slow_answer_is_refused_on_time_and_hardened() -> None:
    log = EventLog()
    guard = timed(answers_after(11), log)
    sent, times = attempt_slowly(guard, http_scope(), WHOLE)
    assert (sent.status, times) == (503, [10, 10])
    assert sent.header(b"x-content-type-options") == b"nosniff"
    assert sent.header(b"cache-control") == b"no-store"
    assert sent.error is None
    assert log.told == [("refused", "timed.over")]
    (policy,) = [policy for policy in guard.policies if isinstance(policy, Timed)]
    assert policy.outcomes == [Outcome(503)]


def test_slow_app_is_cancelled() -> None:
    ended = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(asyncio.get_running_loop().time())

    attempt_slowly(timed(app, EventLog()), http_scope(), WHOLE)
    assert ended == [SECONDS]


def test_app_that_answers_while_it_is_cancelled_is_not_heard() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await PlainTextResponse("late")(scope, receive, send)

    sent, _ = attempt_slowly(timed(app, EventLog()), http_scope(), WHOLE)
    assert sent.status == 503
    assert len(sent.messages) == 2


def test_app_that_turns_cancellation_into_an_error_is_not_heard() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise ValueError("cut") from None

    sent, _ = attempt_slowly(timed(app, EventLog()), http_scope(), WHOLE)
    assert sent.status == 503
    assert sent.error is None


def test_endpoint_in_a_thread_does_not_hold_up_the_refusal() -> None:
    answered = threading.Event()
    app = FastAPI()

    @app.get("/")
    def blocking() -> str:
        assert answered.wait(30)
        return "at last"

    async def whole() -> Sent:
        sent = Sent()

        async def send(message: Message) -> None:
            sent.messages.append(message)
            if message["type"] == "http.response.body":
                answered.set()  # only then may the endpoint go on

        await timed(app, EventLog(), seconds=0.05)(http_scope(), anything, send)
        return sent

    async def anything() -> Message:
        return WHOLE[0][1]

    sent = asyncio.run(whole())  # in real time, which a thread has
    assert sent.status == 503
    assert len(sent.messages) == 2


def test_answer_that_has_begun_is_cut_short() -> None:
    async def parts() -> Any:
        yield b"first"
        await asyncio.sleep(1000)
        yield b"second"

    async def endpoint(_: Request) -> Response:
        return StreamingResponse(parts())

    log = EventLog()
    app = Starlette(routes=[Route("/", endpoint)])
    sent, times = attempt_slowly(timed(app, log), http_scope(), WHOLE)
    assert sent.status == 200
    assert sent.body == b"first"
    assert sent.messages[-1]["more_body"] is True  # the server finds no end, and closes the connection
    assert sent.error is None
    assert log.told == [("refused", "timed.over")]
    assert times[-1] == 0


def test_background_work_is_not_cut_short() -> None:
    ended = []

    async def work() -> None:
        await asyncio.sleep(1000)
        ended.append(True)

    async def endpoint(_: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(work))

    log = EventLog()
    app = Starlette(routes=[Route("/", endpoint)])
    sent, _ = attempt_slowly(timed(app, log), http_scope(), WHOLE)
    assert sent.body == b"ok"
    assert ended == [True]
    assert log.told == []


def test_error_of_the_app_comes_through_as_it_is() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("the app's own")

    sent, _ = attempt_slowly(timed(app, EventLog()), http_scope(), WHOLE)
    assert sent.status == 500
    assert isinstance(sent.error, LookupError)


def test_cancellation_from_outside_comes_through() -> None:
    async def whole() -> None:
        task = asyncio.create_task(serve_slowly(timed(answers_after(5), EventLog()), http_scope(), WHOLE))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(whole())


def test_overrun_can_be_rehearsed() -> None:
    log = EventLog()
    sent, times = attempt_slowly(timed(answers_after(11), log, "report"), http_scope(), WHOLE)
    assert (sent.body, times[-1]) == (b"at last", 11)
    assert log.told == [("rehearsed", "timed.over")]


def test_no_limit_is_no_limit() -> None:
    sent, times = attempt_slowly(timed(answers_after(1000), EventLog(), seconds=None), http_scope(), WHOLE)
    assert (sent.body, times[-1]) == (b"at last", 1000)


def test_websocket_has_no_limit_of_this_kind() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.sleep(1000)
        await send({"type": "websocket.close", "code": 1000})

    sent, _ = attempt_slowly(timed(app, EventLog()), websocket_scope(), [(0, {"type": "websocket.connect"})])
    assert sent.closed == 1000


def test_client_that_is_gone_when_the_time_is_over_is_no_error() -> None:
    async def whole() -> None:
        async def send(message: Message) -> None:
            raise OSError("gone")

        async def receive() -> Message:
            return WHOLE[0][1]

        await timed(answers_after(11), log)(http_scope(), receive, send)

    log = EventLog()
    run(whole())
    assert log.told == [("refused", "timed.over")]


def test_shorter_of_two_limits_counts() -> None:
    log = EventLog()
    shared = context(log)
    guard = Guard(answers_after(30), policies=[Timed(shared, 20.0), Timed(shared, 10.0)])
    sent, times = attempt_slowly(guard, http_scope(), WHOLE)
    assert (sent.status, times) == (503, [10, 10])
    assert log.told == [("refused", "timed.over")]


def test_refusal_of_the_body_is_not_followed_by_another() -> None:
    """The app goes on after its client was refused, until its time is over."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(1000)

    log = EventLog()
    shared = context(log)
    guard = Guard(app, policies=[Timed(shared, 20.0), Patient(shared, 10.0)])
    sent, _ = attempt_slowly(guard, http_scope(), [])
    assert sent.status == 408
    assert len(sent.messages) == 2


# --- patience ---


async def reading(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


READER = Starlette(routes=[Route("/", reading, methods=["POST"])])
STEADY = post((9, b"a"), (9, b"b"), (9, b"c"), (9, b"d"))


def test_body_that_goes_on_coming_passes() -> None:
    log = EventLog()
    sent, times = attempt_slowly(patient(READER, log), http_scope(method="POST"), STEADY)
    assert (sent.body, times[-1]) == (b"4", 36)
    assert log.told == []


def test_body_that_stops_coming_is_refused() -> None:
    log = EventLog()
    sent, times = attempt_slowly(
        patient(READER, log), http_scope(method="POST"), post((1, b"a"), (11, b"b"), ends=False)
    )
    assert (sent.status, times) == (408, [11, 11])
    assert sent.header(b"x-content-type-options") == b"nosniff"
    assert log.told == [("refused", "patient.over")]
    assert sent.error is None


def test_app_finds_the_refused_client_gone() -> None:
    caught: list[str] = []

    async def endpoint(request: Request) -> Response:
        try:
            await request.body()
        except ClientDisconnect:
            caught.append("gone")
        assert await request.is_disconnected()
        return PlainTextResponse("never sent")

    app = Starlette(routes=[Route("/", endpoint, methods=["POST"])])
    sent, _ = attempt_slowly(patient(app, EventLog()), http_scope(method="POST"), post((1, b"a"), ends=False))
    assert caught == ["gone"]
    assert sent.status == 408


def test_late_message_can_be_rehearsed() -> None:
    log = EventLog()
    late = post((1, b"a"), (29, b"b"), (1, b""))
    sent, _ = attempt_slowly(patient(READER, log, "report"), http_scope(method="POST"), late)
    assert sent.body == b"2"
    assert log.told == [("rehearsed", "patient.over")]


def test_several_patiences_run_out_each_in_its_time() -> None:
    log = EventLog()
    shared = context(log, "report")
    guard = Guard(READER, policies=[Patient(shared, 20.0, "b"), Patient(shared, 5.0, "a"), Patient(shared, 40.0, "c")])
    late = [(30.0, WHOLE[0][1])]
    sent, times = attempt_slowly(guard, http_scope(method="POST"), late)
    assert sent.status == 200
    assert log.codes == ["a", "b"]
    assert times[-1] == 30


def test_body_that_somebody_wants_to_see_first_is_not_waited_for_for_ever() -> None:
    class Curious(Policy):
        def look_ahead(self, exchange: Exchange) -> Looker:
            return lambda message: False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the app must not run")

    log = EventLog()
    shared = context(log)
    guard = Guard(app, policies=[Patient(shared), Curious(shared)])
    sent, times = attempt_slowly(guard, http_scope(method="POST"), post((1, b"a"), ends=False))
    assert (sent.status, times) == (408, [11, 11])
    assert log.told == [("refused", "patient.over")]


def test_no_patience_is_no_limit() -> None:
    late = [(1000.0, WHOLE[0][1])]
    sent, _ = attempt_slowly(patient(READER, EventLog(), seconds=None), http_scope(method="POST"), late)
    assert sent.status == 200


def sockets(speak: Callable[[WebSocket], Any]) -> Starlette:
    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        await speak(socket)

    return Starlette(routes=[WebSocketRoute("/", endpoint)])


async def listen(socket: WebSocket) -> None:
    async for _ in socket.iter_text():
        pass


def test_silent_websocket_is_closed() -> None:
    log = EventLog()
    sent, times = attempt_slowly(patient(sockets(listen), log), websocket_scope(), talk(5, 7))
    assert sent.types == ["websocket.accept", "websocket.close"]
    assert (sent.closed, times[-1]) == (1008, 22)
    assert log.told == [("refused", "patient.over")]


def test_what_the_app_says_keeps_a_websocket_open() -> None:
    async def push(socket: WebSocket) -> None:
        async def ticks() -> None:
            for _ in range(5):
                await asyncio.sleep(8)
                await socket.send_text("tick")

        ticking = asyncio.create_task(ticks())
        await listen(socket)
        await ticking

    sent, times = attempt_slowly(patient(sockets(push), EventLog()), websocket_scope(), talk())
    assert sent.types == ["websocket.accept", *["websocket.send"] * 5, "websocket.close"]
    assert times[-1] == 50


def test_app_may_accept_before_it_listens() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    sent, times = attempt_slowly(patient(app, EventLog()), websocket_scope(), talk(5))
    assert (sent.closed, times[-1]) == (1008, 15)


def test_app_that_looks_again_and_again_is_no_less_patient() -> None:
    """Whoever gives up each wait after a second must not be one whom no client can bore."""

    async def poll(socket: WebSocket) -> None:
        while True:
            try:
                async with asyncio.timeout(1):
                    await socket.receive_text()
            except TimeoutError:
                await asyncio.sleep(2)

    log = EventLog()
    sent, times = attempt_slowly(patient(sockets(poll), log), websocket_scope(), talk(3))
    assert sent.closed == 1008
    assert log.told == [("refused", "patient.over")]
    assert times[-1] == 33  # ten seconds of waiting after the last word, one in three


def test_app_that_only_sends_is_left_alone() -> None:
    async def push(socket: WebSocket) -> None:
        await asyncio.sleep(1000)
        await socket.send_text("late")

    sent, _ = attempt_slowly(patient(sockets(push), EventLog()), websocket_scope(), talk())
    assert sent.types == ["websocket.accept", "websocket.send"]


def test_app_that_gives_up_waiting_loses_nothing() -> None:
    async def endpoint(request: Request) -> Response:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await request.body()
        return PlainTextResponse("in time")

    app = Starlette(routes=[Route("/", endpoint, methods=["POST"])])
    sent, _ = attempt_slowly(patient(app, EventLog()), http_scope(method="POST"), post((5, b"a"), ends=False))
    assert sent.body == b"in time"
