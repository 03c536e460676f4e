"""Policies learn how long was waited for what, and are left alone where their section has no use for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio
import pytest
from starlette.types import ASGIApp, Receive, Send

from secguard import Guard
from secguard.policy import Context, Exchange, Looker, Message, Outcome, Policy, Reply, TimeLimit
from tests.helpers import Scope, drive, http_scope, plain
from tests.virtual_time import run

Part = tuple[float, bytes]


class Timekeeper(Policy):
    """Writes down how long each wait took, and what came."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.waits: list[tuple[float, bytes | None]] = []

    def on_wait(self, exchange: Exchange, seconds: float, message: Message | None) -> None:
        self.waits.append((seconds, None if message is None else message["body"]))


class Curious(Policy):
    """Looks at the whole body before the app does."""

    def look_ahead(self, exchange: Exchange) -> Looker:
        return lambda message: not message["more_body"]


class Impatient(Policy):
    """Waits for three seconds."""

    def patience(self, exchange: Exchange) -> TimeLimit:
        return TimeLimit(3, lambda _: Reply(408))


def play(app: ASGIApp, parts: Sequence[Part]) -> None:
    """Serve a request whose parts each take so many seconds to come."""
    coming = [(seconds, {"type": "http.request", "body": body, "more_body": True}) for seconds, body in parts]
    coming[-1][1]["more_body"] = False

    async def receive() -> Message:
        seconds, message = coming[0]
        await asyncio.sleep(seconds)
        del coming[0]
        return message

    async def send(message: Message) -> None:
        pass

    async def serve() -> None:
        await app(http_scope(method="POST"), receive, send)

    run(serve())


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Work for ten seconds before each wait."""
    more = True
    while more:
        await asyncio.sleep(10)
        more = (await receive()).get("more_body", False)
    await plain(scope, receive, send)


def test_each_wait_is_told_without_the_work_of_the_app() -> None:
    policy = Timekeeper(Context())
    play(Guard(reading, policies=[policy]), [(1, b"a"), (0, b"b"), (5, b"c")])
    assert policy.waits == [(1, b"a"), (0, b"b"), (5, b"c")]


def test_it_makes_no_difference_who_waited() -> None:
    context = Context()
    policy = Timekeeper(context)
    play(Guard(reading, policies=[Curious(context), policy]), [(1, b"a"), (5, b"b")])
    assert policy.waits == [(1, b"a"), (5, b"b")]


def test_a_wait_that_the_app_gave_up_is_told() -> None:
    async def giving_up(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.move_on_after(2):
            await receive()
        await reading(scope, receive, send)

    policy = Timekeeper(Context())
    play(Guard(giving_up, policies=[policy]), [(5, b"a")])
    assert policy.waits == [(2, None), (5, b"a")]


def test_a_wait_that_took_too_long_is_told() -> None:
    context = Context()
    policy = Timekeeper(context)
    play(Guard(reading, policies=[policy, Impatient(context)]), [(5, b"a")])
    assert policy.waits == [(3, None)]


class Everything(Policy):
    """Overrides a hook of every kind, and has no use for some."""

    def __init__(self, context: Context, *unneeded: str) -> None:
        super().__init__(context)
        self.unneeded = frozenset(unneeded)
        self.called: list[str] = []

    def admit(self, exchange: Exchange) -> None:
        self.called.append("admit")

    def patience(self, exchange: Exchange) -> None:
        self.called.append("patience")

    def on_wait(self, exchange: Exchange, seconds: float, message: Message | None) -> None:
        self.called.append("on_wait")

    def on_receive(self, exchange: Exchange, message: Message) -> None:
        self.called.append("on_receive")

    def limit(self, exchange: Exchange) -> None:
        self.called.append("limit")

    def done(self, exchange: Exchange, outcome: Outcome) -> None:
        self.called.append("done")


HOOKS = ["admit", "limit", "patience", "on_wait", "on_receive", "done"]


async def receiving(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await plain(scope, receive, send)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_a_policy_has_no_use_for_is_not_called(hook: str) -> None:
    policy = Everything(Context(), hook)
    drive(Guard(receiving, policies=[policy]), http_scope())
    assert policy.called == [called for called in HOOKS if called != hook]


def test_a_policy_without_any_use_for_its_hooks_looks_at_no_request() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await plain(scope, receive, send)

    drive(Guard(app, policies=[Everything(Context(), *HOOKS)]), http_scope())
    assert "secguard" not in seen[0]
