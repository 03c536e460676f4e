"""What policies keep open: opened before the app starts, closed when it has stopped, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Send

from secguard import Guard
from secguard.policy import Context, Message, Policy
from tests.helpers import Scope, drive, http_scope, plain

Log = list[str]
LIFE = ("lifespan.startup", "lifespan.shutdown")


class Lasting(Policy):
    """Writes down when it is opened and closed, and fails where it is told to."""

    def __init__(self, context: Context, log: Log, name: str, fails: str = "") -> None:
        super().__init__(context)
        self.log, self.name, self.fails = log, name, fails

    async def open(self) -> None:
        if self.fails == "open":
            raise OSError(f"{self.name} does not open")
        self.log.append(f"open {self.name}")

    async def close(self) -> None:
        self.log.append(f"close {self.name}")
        if self.fails == "close":
            raise OSError(f"{self.name} does not close")


def live(app: ASGIApp, log: Log, says: Sequence[str] = LIFE) -> BaseException | None:
    """Be a server that says these messages, one after the other, and write down what it hears."""
    waiting = list(says)

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return {"type": waiting.pop(0)}

    async def send(message: Message) -> None:
        log.append(" ".join(filter(None, (message["type"], message.get("message", "").partition("\n")[0]))))

    async def run() -> None:
        async with asyncio.timeout(5):
            await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    try:
        asyncio.run(run())
    except Exception as error:
        return error
    return None


def starlette(log: Log, fails: str = "") -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        log.append("app starts")
        if fails == "startup":
            raise RuntimeError("the app does not start")
        yield
        log.append("app stops")
        if fails == "shutdown":
            raise RuntimeError("the app does not stop")

    return Starlette(lifespan=lifespan)


def lasting(log: Log, *fails: str) -> list[Policy]:
    context = Context(sinks=())
    a, b = (*fails, "", "")[:2]
    return [Lasting(context, log, "a", a), Policy(context), Lasting(context, log, "b", b)]


def test_policies_open_before_the_app_and_close_after_it_in_reverse() -> None:
    log: Log = []
    assert live(Guard(starlette(log), policies=lasting(log)), log) is None
    assert log == [
        *("open a", "open b", "app starts", "lifespan.startup.complete"),
        *("app stops", "close b", "close a", "lifespan.shutdown.complete"),
    ]


def test_two_guards_open_and_close_as_one_does() -> None:
    one: Log = []
    live(Guard(starlette(one), policies=lasting(one)), one)
    two: Log = []
    outer, _, inner = lasting(two)
    live(Guard(Guard(starlette(two), policies=[inner]), policies=[outer]), two)
    assert two == one


def test_a_policy_that_does_not_open_stops_the_start() -> None:
    log: Log = []
    error = live(Guard(starlette(log), policies=lasting(log, "", "open")), log)
    assert isinstance(error, OSError)
    assert log == ["open a", "lifespan.startup.failed b does not open", "close a"]


def test_the_server_hears_of_a_failed_start_once() -> None:
    log: Log = []

    async def telling(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        except OSError as error:
            await send({"type": "lifespan.startup.failed", "message": f"told again: {error}"})

    live(Guard(telling, policies=lasting(log, "open")), log)
    assert log == ["lifespan.startup.failed a does not open"]


def test_an_app_that_does_not_start_leaves_nothing_open() -> None:
    log: Log = []
    error = live(Guard(starlette(log, "startup"), policies=lasting(log)), log)
    assert isinstance(error, RuntimeError)
    assert log[:5] == ["open a", "open b", "app starts", "close b", "close a"]
    assert log[5].startswith("lifespan.startup.failed")
    assert len(log) == 6


def test_an_app_that_does_not_stop_leaves_nothing_open() -> None:
    log: Log = []
    live(Guard(starlette(log, "shutdown"), policies=lasting(log)), log)
    assert log[5:7] == ["close b", "close a"]
    assert log[7].startswith("lifespan.shutdown.failed")


def test_a_policy_that_does_not_close_keeps_no_other_from_closing() -> None:
    log: Log = []
    error = live(Guard(starlette(log), policies=lasting(log, "", "close")), log)
    assert {"close a", "close b"} <= set(log)
    assert error is None or isinstance(error, OSError)


@pytest.mark.parametrize("knows", ["nothing", "startup"])
def test_an_app_that_knows_no_lifespan_is_what_it_was(knows: str) -> None:
    log: Log = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            if knows == "startup":
                await receive()
            raise NotImplementedError("no lifespan here")
        await plain(scope, receive, send)

    guard = Guard(app, policies=lasting(log))
    assert isinstance(live(guard, log), NotImplementedError), "the server goes on without"
    assert log in ([], ["open a", "open b", "close b", "close a"])
    assert drive(guard, http_scope()).status == 200


def test_everything_works_where_the_server_sends_no_lifespan() -> None:
    log: Log = []
    assert drive(Guard(plain, policies=lasting(log)), http_scope()).status == 200
    assert log == []


def test_a_server_that_cancels_leaves_nothing_open() -> None:
    log: Log = []
    error = live(_impatient(Guard(starlette(log), policies=lasting(log))), log, LIFE[:1])
    assert isinstance(error, TimeoutError)
    assert [entry for entry in log if entry.startswith("close")] == ["close b", "close a"]


def _impatient(app: ASGIApp) -> ASGIApp:
    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.wait_for(app(scope, receive, send), 0.05)

    return waiting


def test_messages_that_nobody_knows_close_nothing() -> None:
    log: Log = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.never.heard.of"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    live(Guard(app, policies=lasting(log)), log)
    assert log.index("lifespan.never.heard.of") < log.index("close b")


def test_lifespan_state_reaches_the_app() -> None:
    state: dict[str, Any] = {}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        yield {"pool": 1}

    guard = Guard(Starlette(lifespan=lifespan), policies=lasting([]))

    async def keeping(scope: Scope, receive: Receive, send: Send) -> None:
        await guard(scope, receive, send)
        state.update(scope["state"])

    live(keeping, [])
    assert state == {"pool": 1}
