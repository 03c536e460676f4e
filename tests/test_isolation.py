"""Law 4: what is computed at start is immutable, a response gets a fresh list, a request leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Send

from secguard import Guard
from secguard._http import Lines
from secguard.headers import HeaderRule, HeadersPolicy, HeadersSettings
from secguard.hosts import HostsPolicy, HostsSettings
from secguard.policy import Context, Exchange, Message, Outcome, Policy, Reply, TimeLimit
from tests.helpers import Scope, drive, http_scope, plain, serve, step_through, websocket_scope


class Stamping(Policy):
    """Lets others run in every hook, and writes on each response whose it is."""

    async def admit(self, exchange: Exchange) -> Reply | None:
        await asyncio.sleep(0)
        return Reply(403, (), exchange.path.encode()) if exchange.path.endswith("9") else None

    async def finish(self, exchange: Exchange, headers: Lines) -> None:
        await asyncio.sleep(0)
        headers.append((b"x-path", exchange.path.encode()))

    async def on_receive(self, exchange: Exchange, message: Message) -> Reply | None:
        await asyncio.sleep(0)
        if message.get("body") == b"bad":
            return self.context.refuse(exchange, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "stamping.bad", "bad")
        return None

    async def done(self, exchange: Exchange, outcome: Outcome) -> None:
        await asyncio.sleep(0)


async def echoing_path(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await asyncio.sleep(0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def stamping() -> list[Policy]:
    context = Context(sinks=())
    return [Stamping(context), HeadersPolicy(HeadersSettings(), context), Stamping(context)]


def test_requests_at_once_do_not_see_each_other() -> None:
    async def together() -> None:
        guard = Guard(echoing_path, policies=stamping())
        paths = [f"/{at}" for at in range(60)]
        answers = await asyncio.gather(*(serve(guard, http_scope(path)) for path in paths))
        for path, sent in zip(paths, answers, strict=True):
            assert sent.body == path.encode()
            assert set(sent.values(b"x-path")) == {path.encode()} or sent.status == 403

    asyncio.run(together())


@pytest.mark.parametrize("host", [b"example.com", b"evil.example"])
def test_a_response_that_is_changed_outside_leaves_the_next_one_alone(host: bytes) -> None:
    context = Context(sinks=())
    rule = HeaderRule(paths=["/"], frame_options="DENY")
    guard = Guard(
        plain,
        policies=[
            HeadersPolicy(HeadersSettings(rules=(rule,)), context),
            HostsPolicy(HostsSettings(allowed=("example.com",)), context),
        ],
    )

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        async def spoil(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-leak", b"1"))
                message["headers"].pop(0)
            await send(message)

        await guard(scope, receive, spoil)

    first, second = drive(outer, http_scope(host=host)), drive(outer, http_scope(host=host))
    assert first.headers == second.headers
    assert second.values(b"x-leak") == [b"1"]


def test_two_apps_in_one_process_share_nothing() -> None:
    def made(frame_options: Any) -> Guard:
        return Guard(plain, policies=[HeadersPolicy(HeadersSettings(frame_options=frame_options), Context())])

    one, other = made("DENY"), made("SAMEORIGIN")
    for _ in range(2):
        assert drive(one, http_scope()).header(b"x-frame-options") == b"DENY"
        assert drive(other, http_scope()).header(b"x-frame-options") == b"SAMEORIGIN"


def test_policies_of_one_guard_share_one_context() -> None:
    with pytest.raises(ValueError, match="share one Context"):
        Guard(plain, policies=[Policy(Context()), Policy(Context())])


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    raise ValueError("the app's own")


async def raising_late(scope: Scope, receive: Receive, send: Send) -> None:
    await plain(scope, receive, send)
    raise ValueError("the app's own")


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await plain(scope, receive, send)


BAD: list[Message] = [{"type": "http.request", "body": b"bad"}]
EXCHANGES: dict[str, tuple[ASGIApp, Callable[[], Scope], list[Message]]] = {
    "an answer": (plain, http_scope, []),
    "a refusal": (plain, lambda: http_scope("/9"), []),
    "a refusal of the body": (reading, http_scope, BAD),
    "an app that raises": (raising, http_scope, []),
    "an app that raises late": (raising_late, http_scope, []),
    "an app that raises after a refusal": (raising, http_scope, BAD),
    "an accepted websocket": (plain, websocket_scope, []),
    "a denied websocket": (plain, lambda: websocket_scope("/9"), []),
    "a closed websocket": (plain, lambda: websocket_scope("/9", denial=False), []),
    "a websocket whose app raises": (raising, websocket_scope, []),
}


@contextmanager
def no_garbage() -> Iterator[None]:
    """Fail where reference cycles are left behind: only the collector would find them."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        assert gc.garbage == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("guards", [1, 2])
@pytest.mark.parametrize(("app", "make_scope", "incoming"), EXCHANGES.values(), ids=EXCHANGES)
def test_a_request_leaves_no_reference_cycle(
    app: ASGIApp, make_scope: Callable[[], Scope], incoming: list[Message], guards: int
) -> None:
    policies = stamping()
    for _ in range(guards):
        app = Guard(app, policies=policies)
    step_through(app, make_scope(), incoming)  # what is cached for good is cached now
    with no_garbage():
        for _ in range(3):
            step_through(app, make_scope(), incoming)


class Patient(Policy):
    """Waits, but not for ever."""

    def patience(self, exchange: Exchange) -> TimeLimit:
        return TimeLimit(60, lambda _: Reply(408))


@pytest.mark.parametrize("make_scope", [http_scope, websocket_scope])
def test_a_wait_with_a_time_limit_leaves_no_reference_cycle(make_scope: Callable[[], Scope]) -> None:
    app = Guard(reading, policies=[Patient()])

    async def play() -> None:
        await serve(app, make_scope())
        with no_garbage():
            for _ in range(3):
                await serve(app, make_scope())

    asyncio.run(play())


def test_a_guard_itself_can_be_collected() -> None:
    class Marked(Policy):
        pass

    drive(Guard(plain, policies=[Marked()]), http_scope())
    gc.collect()
    assert not [found for found in gc.get_objects() if type(found) is Marked]
