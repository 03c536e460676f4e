"""How many at once: slots, a short line before them, and slots that come back whatever becomes of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Send
from starlette.websockets import WebSocket

from secguard import Guard
from secguard.headers import HeadersPolicy, HeadersSettings
from secguard.policy import Context, Exchange, Mode, Policy, Reply
from secguard.requests import RequestLimitsPolicy, RequestsMiddleware, RequestsSettings
from secguard.requests.gate import Gate
from tests.helpers import EventLog, Message, Scope, Sent, http_scope, serve, websocket_scope
from tests.slow_clients import post, serve_slowly, talk
from tests.virtual_time import run


class Venue:
    """An app whose requests stay until they are let go, or for so many seconds. It knows how many are inside."""

    def __init__(self, seconds: float = 10) -> None:
        self.seconds = seconds
        self.inside = 0
        self.most = 0
        self.came: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.came.append(scope["path"])
        try:
            if scope["type"] == "websocket":
                await send({"type": "websocket.accept"})
            await asyncio.sleep(self.seconds)
            if scope["type"] == "http":
                await PlainTextResponse("ok")(scope, receive, send)
        finally:
            self.inside -= 1


def alone(app: ASGIApp, log: EventLog, mode: Mode = "enforce", **fields: Any) -> ASGIApp:
    return RequestsMiddleware(app, RequestsSettings(**fields, mode=mode), sinks=(log,))


def in_a_guard(app: ASGIApp, log: EventLog, mode: Mode = "enforce", **fields: Any) -> ASGIApp:
    context = Context(sinks=(log,))
    limits = RequestLimitsPolicy(RequestsSettings(**fields, mode=mode), context)
    return Guard(app, policies=[HeadersPolicy(HeadersSettings(), context), limits])


Build = Callable[..., ASGIApp]
both = pytest.mark.parametrize("build", [alone, in_a_guard])


async def at_once(app: ASGIApp, *scopes: Scope) -> list[tuple[Sent, float]]:
    """Serve all of them at the same time; return what each was sent, and after how many seconds."""

    async def one(scope: Scope) -> tuple[Sent, float]:
        began = asyncio.get_running_loop().time()
        sent, _ = await serve_slowly(app, scope, talk() if scope["type"] == "websocket" else post((0, b"")))
        return sent, asyncio.get_running_loop().time() - began

    return await asyncio.gather(*(one(scope) for scope in scopes))


def requests(count: int, path: str = "/") -> list[Scope]:
    return [http_scope(path) for _ in range(count)]


# What is served, what waits, what is turned away


@both
def test_no_more_are_served_at_once_than_there_are_slots(build: Build) -> None:
    venue, log = Venue(seconds=0.1), EventLog()
    served = run(at_once(build(venue, log, max_concurrency=3), *requests(12)))
    assert venue.most == 3
    assert [sent.status for sent, _ in served] == [200] * 12
    assert [round(after, 3) for _, after in served] == [0.1] * 3 + [0.2] * 3 + [0.3] * 3 + [0.4] * 3
    assert log.told == []


@both
def test_who_finds_no_place_in_the_line_is_turned_away_at_once(build: Build) -> None:
    venue, log = Venue(seconds=0.1), EventLog()
    served = run(at_once(build(venue, log, max_concurrency=1, max_queue=2), *requests(5)))
    assert [(sent.status, round(after, 3)) for sent, after in served] == [
        (200, 0.1), (200, 0.2), (200, 0.3), (503, 0), (503, 0),
    ]  # fmt: skip
    refused = served[-1][0]
    assert refused.header(b"retry-after") == b"1"
    assert refused.header(b"cache-control") == b"no-store"
    assert log.told == [("refused", "requests.busy")] * 2
    assert "SECGUARD_REQUESTS__MAX_CONCURRENCY" in log.last.reason


@both
def test_who_waits_too_long_is_turned_away(build: Build) -> None:
    venue, log = Venue(seconds=10), EventLog()
    served = run(at_once(build(venue, log, max_concurrency=1, queue_timeout=2.5), *requests(2)))
    assert [(sent.status, after) for sent, after in served] == [(200, 10), (503, 2.5)]
    assert served[1][0].header(b"retry-after") == b"3"
    assert venue.came == ["/"]
    assert log.told == [("refused", "requests.busy")]


def test_the_line_may_be_as_patient_as_it_likes_or_not_be_there() -> None:
    patient = alone(Venue(seconds=99), EventLog(), max_concurrency=1, queue_timeout=None)
    assert [sent.status for sent, _ in run(at_once(patient, *requests(3)))] == [200] * 3
    hasty = alone(Venue(), EventLog(), max_concurrency=1, max_queue=0, queue_timeout=None)
    served = run(at_once(hasty, *requests(3)))
    assert [(sent.status, after) for sent, after in served] == [(200, 10), (503, 0), (503, 0)]
    assert served[1][0].header(b"retry-after") == b"1"


def test_first_come_first_served() -> None:
    venue = Venue(seconds=0.1)
    paths = [f"/{at}" for at in range(9)]
    run(at_once(alone(venue, EventLog(), max_concurrency=2), *map(http_scope, paths)))
    assert venue.came == paths


def test_there_is_no_limit_by_default() -> None:
    venue = Venue()
    run(at_once(alone(venue, EventLog()), *requests(200)))
    assert venue.most == 200


def test_a_refusal_that_was_decided_before_takes_no_slot() -> None:
    venue = Venue()
    app = alone(venue, EventLog(), max_concurrency=1, max_queue=0, max_body_size=1)
    large = http_scope(method="POST", headers=[(b"content-length", b"2")])
    served = run(at_once(app, large, http_scope(method="TRACE"), http_scope("//"), http_scope()))
    assert [sent.status for sent, _ in served] == [413, 405, 400, 200]


# Slots come back


class Inner(Policy):
    """A policy that stands further in, and refuses or fails."""

    def admit(self, exchange: Exchange) -> Reply | None:
        if exchange.path == "/fails":
            raise LookupError
        return Reply(403) if exchange.path == "/refused" else None


async def answer(request: Request) -> Response:
    return PlainTextResponse("ok")


async def raises(request: Request) -> Response:
    raise ValueError


async def reads(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def sleeps(request: Request) -> Response:
    await asyncio.sleep(99)
    raise AssertionError


async def talks(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()


def site() -> Starlette:
    endpoints = (answer, raises, reads, sleeps)
    routes = [Route(f"/{endpoint.__name__}", endpoint, methods=["GET", "POST"]) for endpoint in endpoints]
    return Starlette(routes=[*routes, WebSocketRoute("/talks", talks)])


GONE: list[Message] = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}]
LARGE: list[Message] = [{"type": "http.request", "body": b"x" * 11}]
ENDS: dict[str, tuple[Scope, list[Message]]] = {
    "an answer": (http_scope("/answer"), []),
    "nothing found": (http_scope("/nowhere"), []),
    "an error": (http_scope("/raises"), []),
    "a client that leaves in the middle of its body": (http_scope("/reads", method="POST"), GONE),
    "a body too large": (http_scope("/reads", method="POST"), LARGE),
    "an answer that takes too long": (http_scope("/sleeps"), []),
    "a refusal further in": (http_scope("/refused"), []),
    "a failure further in": (http_scope("/fails"), []),
    "a websocket that closes": (websocket_scope("/talks"), []),
    "a websocket that is not found": (websocket_scope("/nowhere"), []),
    "a websocket that fails further in": (websocket_scope("/fails"), []),
}


def slots_of(guard: Guard) -> Iterator[tuple[int, int]]:
    """How many slots of each gate are free, and how many there are."""
    policy = next(policy for policy in guard.policies if isinstance(policy, RequestLimitsPolicy))
    for gate in (*policy._rules._requests, *policy._rules._websockets):
        if gate is not None:
            assert not gate._line
            yield gate._free, gate.size


@pytest.mark.parametrize("mode", ["enforce", "report"])
@pytest.mark.parametrize(("scope", "incoming"), ENDS.values(), ids=ENDS)
def test_a_slot_comes_back_whatever_becomes_of_the_request(scope: Scope, incoming: list[Message], mode: Mode) -> None:
    context = Context(sinks=(EventLog(),))
    section = RequestsSettings(max_concurrency=2, max_websockets=2, max_body_size=10, timeout=5, mode=mode, max_queue=0)
    guard = Guard(site(), policies=[RequestLimitsPolicy(section, context), Inner(context)])
    for _ in range(5):
        sent = run(serve(guard, {**scope, "state": {}}, list(incoming)))
        assert not sent.starts or sent.status != 503 or "/sleeps" in scope["path"]
    assert list(slots_of(guard)) == [(2, 2), (2, 2)]


def test_a_request_that_is_cancelled_gives_its_slot_back() -> None:
    venue = Venue()
    guard = RequestsMiddleware(venue, RequestsSettings(max_concurrency=1), sinks=())

    async def play() -> None:
        served = asyncio.create_task(serve(guard, http_scope()))
        await asyncio.sleep(1)
        served.cancel()
        with pytest.raises(asyncio.CancelledError):
            await served

    run(play())
    assert list(slots_of(guard)) == [(1, 1)]


def test_a_request_that_is_cancelled_in_line_leaves_it() -> None:
    venue = Venue(seconds=0.5)
    guard = RequestsMiddleware(venue, RequestsSettings(max_concurrency=1), sinks=())

    async def play() -> list[Sent]:
        first, second, third = (asyncio.create_task(serve(guard, http_scope(path))) for path in ("/1", "/2", "/3"))
        await asyncio.sleep(0.1)
        second.cancel()
        return [await first, await third]

    assert [sent.status for sent in run(play())] == [200, 200]
    assert venue.came == ["/1", "/3"]
    assert list(slots_of(guard)) == [(1, 1)]


def test_background_work_holds_its_slot() -> None:
    async def work() -> None:
        await asyncio.sleep(5)

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(work))

    app = alone(Starlette(routes=[Route("/", endpoint)]), EventLog(), max_concurrency=1, queue_timeout=9)
    assert [after for _, after in run(at_once(app, *requests(2)))] == [5, 10]


# The gate itself


async def hand_over(cancel_first: bool) -> Gate:
    """Give a slot back to one that waits, and cancel that one before it has seen so."""
    gate = Gate(1, 1)
    assert gate.enter()
    waiting = asyncio.create_task(gate.wait())
    await asyncio.sleep(0)
    if cancel_first:
        waiting.cancel()
        gate.leave()
    else:
        gate.leave()
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    return gate


@pytest.mark.parametrize("cancel_first", [True, False])
def test_a_slot_that_was_handed_to_one_that_is_cancelled_goes_on(cancel_first: bool) -> None:
    gate = run(hand_over(cancel_first))
    assert gate.enter(), "the slot is free again"
    assert not gate.enter()


def test_a_slot_that_is_handed_over_in_the_last_moment_is_taken() -> None:
    async def play() -> bool:
        gate = Gate(1, 1, seconds=5)
        gate.enter()
        waiting = asyncio.create_task(gate.wait())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_at(5, gate.leave)
        return await waiting

    assert run(play())


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 12)),  # comes, stays, is cancelled after
        min_size=1,
        max_size=25,
    ),
    st.integers(1, 3),
    st.integers(0, 4),
    st.sampled_from([None, 1.5, 4]),
)
def test_whoever_comes_goes_and_gives_up_the_gate_counts_right(
    visits: list[tuple[int, int, int]], size: int, places: int, seconds: float | None
) -> None:
    gate = Gate(size, places, seconds)
    inside = 0

    async def visit(comes: int, stays: int) -> None:
        nonlocal inside
        await asyncio.sleep(comes)
        if not gate.enter() and (gate.is_full or not await gate.wait()):
            return
        inside += 1
        try:
            assert inside <= size
            await asyncio.sleep(stays)
        finally:
            inside -= 1
            gate.leave()

    async def play() -> None:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(visit(comes, stays)) for comes, stays, _ in visits]
        for task, (*_, gives_up) in zip(tasks, visits, strict=True):
            loop.call_at(gives_up, task.cancel)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError)

    run(play())
    assert [gate.enter() for _ in range(size + 1)] == [True] * size + [False]
    assert len(gate._line) == 0


# Websockets


@both
@pytest.mark.parametrize("denial", [True, False])
def test_websockets_have_slots_of_their_own_and_no_line(build: Build, denial: bool) -> None:
    venue, log = Venue(), EventLog()
    app = build(venue, log, max_websockets=2, max_concurrency=1)
    sockets = [websocket_scope(denial=denial) for _ in range(3)]
    *open_, refused, request = run(at_once(app, *sockets, http_scope()))
    assert [sent.status for sent, _ in open_] == [101, 101]
    assert request[0].status == 200
    assert refused[1] == 0
    if denial:
        assert (refused[0].status, refused[0].header(b"retry-after")) == (503, b"1")
    else:
        assert refused[0].closed == 1013
    assert log.told == [("refused", "requests.busy")]
    assert "SECGUARD_REQUESTS__MAX_WEBSOCKETS" in log.last.reason


def test_idle_websockets_do_not_eat_the_slots_of_requests() -> None:
    app = alone(Venue(), EventLog(), max_concurrency=1, max_queue=0)
    served = run(at_once(app, *[websocket_scope() for _ in range(20)], http_scope()))
    assert [sent.status for sent, _ in served] == [101] * 20 + [200]


# Rehearsals


@both
def test_in_a_rehearsal_nobody_waits_and_nobody_is_turned_away(build: Build) -> None:
    venue, log = Venue(), EventLog()
    served = run(at_once(build(venue, log, "report", max_concurrency=2, max_queue=3), *requests(7)))
    assert [(sent.status, after) for sent, after in served] == [(200, 10)] * 7
    assert log.told == [("rehearsed", "requests.busy")] * 2, "those for whom there is neither a slot nor a place"


def test_who_was_let_in_without_a_slot_gives_none_back() -> None:
    log = EventLog()
    app = alone(Venue(), log, "report", max_concurrency=1, max_queue=0)
    for _ in range(2):
        run(at_once(app, *requests(3)))
        assert len(log.told) == 2
        log.events.clear()
