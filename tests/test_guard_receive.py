"""Refusals that come while the app runs: of a body, or of what a websocket says."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
from fastapi import FastAPI, UploadFile
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Send
from starlette.websockets import WebSocket

from secguard import Guard
from secguard._http import Lines
from secguard.headers import HeadersPolicy, HeadersSettings
from secguard.policy import Context, Exchange, Message, Outcome, Policy, Reply
from tests.helpers import EventLog, Scope, Sent, attempt, drive, http_scope, serve, websocket_scope

TOO_LARGE = 10
REFUSED = f"{HTTPStatus.REQUEST_ENTITY_TOO_LARGE.phrase}\n".encode()  # Python 3.13 has the newer phrase


class Limit(Policy):
    """Refuses a body, or a websocket message, of more than ten bytes: what a body limit does."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.outcomes: list[Outcome] = []
        self.finished = 0

    def on_receive(self, exchange: Exchange, message: Message) -> Reply | None:
        if len(message.get("body") or message.get("text") or "") > TOO_LARGE:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            return self.context.refuse(exchange, status, "limit.size", "too large")
        return None

    def finish(self, exchange: Exchange, headers: Lines) -> None:
        self.finished += 1

    def done(self, exchange: Exchange, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class WaitingLimit(Limit):
    """The same, where it has to ask somebody first."""

    async def on_receive(self, exchange: Exchange, message: Message) -> Reply | None:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().on_receive(exchange, message)

    async def finish(self, exchange: Exchange, headers: Lines) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().finish(exchange, headers)


@pytest.fixture(params=[Limit, WaitingLimit], ids=["plain", "async"])
def limit(request: pytest.FixtureRequest) -> Limit:
    made: Limit = request.param(Context(sinks=(EventLog(),)))
    return made


def guarded(app: ASGIApp, limit: Limit) -> Guard:
    """The limit, seen from a policy outside that counts what passes, under real headers."""
    return Guard(app, policies=[HeadersPolicy(HeadersSettings(), limit.context), Counter(limit.context), limit])


class Counter(Policy):
    """Counts the responses that pass, in a header."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.count = 0
        self.outcomes: list[Outcome] = []

    def finish(self, exchange: Exchange, headers: Lines) -> None:
        self.count += 1
        headers.append((b"x-count", b"%d" % self.count))

    def done(self, exchange: Exchange, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def body(*parts: bytes) -> list[Message]:
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False
    return messages


POST: dict[str, Any] = {"method": "POST", "headers": [(b"content-type", b"application/json")]}
FORM: dict[str, Any] = {"method": "POST", "headers": [(b"content-type", b"multipart/form-data; boundary=x")]}


def is_one_refusal(sent: Sent, guard: Guard) -> None:
    limit, counter = guard.policies[-1], guard.policies[1]
    assert isinstance(limit, Limit)
    assert isinstance(counter, Counter)
    assert sent.types == ["http.response.start", "http.response.body"]
    assert (sent.status, sent.body) == (413, REFUSED)
    assert sent.header(b"cache-control") == b"no-store"
    assert sent.header(b"x-content-type-options") == b"nosniff"
    assert sent.header(b"x-count") == b"1", "what the app says too late passes no policy"
    assert sent.error is None, "the server has nothing to log"
    assert [outcome.status for outcome in counter.outcomes] == [413]
    assert limit.finished == 0


# --- http ---


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def parsing(request: Request) -> Response:
    return JSONResponse(await request.json())


async def streaming(request: Request) -> Response:
    return PlainTextResponse(b"".join([part async for part in request.stream()]))


async def form(request: Request) -> Response:
    async with request.form() as fields:
        return JSONResponse(list(fields))


async def careless(request: Request) -> Response:
    try:
        await request.body()
    except Exception:
        return PlainTextResponse("never mind")
    return PlainTextResponse("fine")


fastapi = FastAPI()


@fastapi.post("/model")
async def model(item: dict[str, Any]) -> dict[str, Any]:
    return item


@fastapi.post("/upload")
async def upload(file: UploadFile) -> str | None:
    return file.filename


starlette = Starlette(
    routes=[
        Route(f"/{endpoint.__name__}", endpoint, methods=["POST"])
        for endpoint in (echo, parsing, streaming, form, careless)
    ]
)

ENDPOINTS: dict[str, tuple[ASGIApp, dict[str, Any]]] = {
    "/echo": (starlette, POST),
    "/parsing": (starlette, POST),
    "/streaming": (starlette, POST),
    "/form": (starlette, FORM),
    "/careless": (starlette, POST),
    "/model": (fastapi, POST),
    "/upload": (fastapi, FORM),
}


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("parts", [[b"x" * 11], [b"--x", b"x" * 11], [b"--", b"x", b"x" * 11, b"x" * 11]])
def test_an_endpoint_whose_body_is_refused_answers_nothing(path: str, parts: list[bytes], limit: Limit) -> None:
    app, scope = ENDPOINTS[path]
    guard = guarded(app, limit)
    is_one_refusal(attempt(guard, http_scope(path, **scope), body(*parts)), guard)


@pytest.mark.parametrize("path", ["/echo", "/streaming", "/careless"])
def test_a_body_within_the_limit_passes(path: str, limit: Limit) -> None:
    guard = guarded(starlette, limit)
    assert drive(guard, http_scope(path, **POST), body(b"12", b"34")).status == 200
    assert limit.finished == 1


def test_the_event_is_told_once(limit: Limit) -> None:
    attempt(guarded(starlette, limit), http_scope("/echo", **POST), body(b"x" * 11, b"x" * 11))
    (log,) = limit.context.sinks
    assert isinstance(log, EventLog)
    assert log.told == [("refused", "limit.size")]


def test_a_rehearsed_refusal_lets_the_body_pass() -> None:
    log = EventLog()
    guard = guarded(starlette, Limit(Context(sinks=(log,), mode="report")))
    assert drive(guard, http_scope("/echo", **POST), body(b"x" * 11, b"y" * 11)).body == b"x" * 11 + b"y" * 11
    assert log.told == [("rehearsed", "limit.size")] * 2


async def answering_first(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"so far", "more_body": True})
    message = await receive()
    await send({"type": "http.response.body", "body": message["type"].encode()})


def test_after_the_response_has_started_it_is_cut_off(limit: Limit) -> None:
    guard = guarded(answering_first, limit)
    sent = attempt(guard, http_scope(), body(b"x" * 11))
    assert sent.types == ["http.response.start", "http.response.body"]
    assert sent.messages[-1]["more_body"] is True, "the server finds the response incomplete"
    assert sent.error is None
    assert [outcome.status for outcome in limit.outcomes] == [200]


async def reading_and_sending_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    async def answer() -> None:
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"mine"})

    await asyncio.gather(receive(), answer())


@pytest.mark.parametrize("turns", range(6))
def test_an_app_that_answers_while_it_is_refused_makes_no_second_start(limit: Limit, turns: int) -> None:
    guard = guarded(reading_and_sending_at_once, limit)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_slowly(message: Message) -> None:
            await send(message)
            for _ in range(turns):
                await asyncio.sleep(0)

        await guard(scope, receive, send_slowly)

    sent = asyncio.run(serve(slow, http_scope(), body(b"x" * 11)))
    assert len(sent.starts) == 1
    assert sent.body in {REFUSED, b"mine", b""}
    assert sent.error is None


def test_a_refusal_overtakes_an_answer_whose_finish_still_waits() -> None:
    class Slow(Limit):
        async def on_receive(self, exchange: Exchange, message: Message) -> Reply | None:  # type: ignore[override]
            for _ in range(3):
                await asyncio.sleep(0)
            return super().on_receive(exchange, message)

    class Slower(Policy):
        async def finish(self, exchange: Exchange, headers: Lines) -> None:
            for _ in range(9):
                await asyncio.sleep(0)

    context = Context(sinks=())
    limit = Slow(context)
    sent = attempt(Guard(reading_and_sending_at_once, policies=[limit, Slower(context)]), http_scope(), body(b"x" * 11))
    assert sent.types == ["http.response.start", "http.response.body"]
    assert sent.status == 413
    assert [outcome.status for outcome in limit.outcomes] == [413]


def test_a_streaming_response_that_waits_for_its_client_is_cut_off_by_a_pipelined_body(limit: Limit) -> None:
    async def numbers() -> Any:
        for _ in range(1000):
            yield b"1"
            await asyncio.sleep(0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(numbers())({**scope, "asgi": {"spec_version": "2.0"}}, receive, send)

    sent = attempt(guarded(app, limit), http_scope(), body(b"x" * 11))
    assert len(sent.starts) == 1
    assert sent.error is None


async def looping_until_gone(scope: Scope, receive: Receive, send: Send) -> None:
    seen = [(await receive())["type"] for _ in range(3)]
    raise RuntimeError(" ".join(seen))


def test_a_refused_app_finds_its_client_gone_and_may_raise(limit: Limit) -> None:
    guard = guarded(looping_until_gone, limit)
    is_one_refusal(attempt(guard, http_scope(), body(b"x" * 11)), guard)
    (outcome,) = limit.outcomes
    assert str(outcome.error) == "http.disconnect http.disconnect http.disconnect"


# --- websocket ---


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def waiting_before_accept(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await receive()
    await send({"type": "websocket.accept"})


SAID: list[Message] = [
    {"type": "websocket.connect"},
    {"type": "websocket.receive", "text": "hello"},
    {"type": "websocket.receive", "text": "x" * 11},
    {"type": "websocket.receive", "text": "still there?"},
]


def test_an_open_websocket_is_closed_with_the_code_of_the_reply(limit: Limit) -> None:
    app = Starlette(routes=[WebSocketRoute("/", chat)])
    sent = attempt(guarded(app, limit), websocket_scope(), SAID)
    assert sent.types == ["websocket.accept", "websocket.send", "websocket.close"]
    assert sent.messages[-1] == {"type": "websocket.close", "code": 1008, "reason": ""}
    assert sent.error is None
    assert [outcome.status for outcome in limit.outcomes] == [101]


@pytest.mark.parametrize("denial", [True, False])
def test_a_websocket_refused_before_it_is_open_is_denied(limit: Limit, denial: bool) -> None:
    sent = attempt(guarded(waiting_before_accept, limit), websocket_scope(denial=denial), [SAID[0], SAID[2]])
    if denial:
        assert sent.types == ["websocket.http.response.start", "websocket.http.response.body"]
        assert (sent.status, sent.header(b"x-count")) == (413, b"1")
    else:
        assert sent.messages == [{"type": "websocket.close", "code": 1008, "reason": ""}]


def test_guard_inside_one_that_has_refused_hardens_nothing_more(limit: Limit) -> None:
    """What it would still do, such as writing to a store, is for an answer that nobody will get."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await PlainTextResponse("not heard")(scope, receive, send)

    inside = Counter(limit.context)
    guard = Guard(Guard(app, policies=[inside]), policies=[limit])
    sent = drive(guard, http_scope(method="POST"), [{"type": "http.request", "body": b"x" * (TOO_LARGE + 1)}])
    assert sent.status == 413
    assert inside.count == 0
