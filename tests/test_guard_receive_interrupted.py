"""An app may give up waiting for a message while a policy looks at it: the message is not lost."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Send

from secguard import Guard
from secguard.policy import Context, Exchange, Message, Policy
from tests.helpers import Scope, http_scope

CHUNKS: list[Message] = [
    {"type": "http.request", "body": b"one", "more_body": True},
    {"type": "http.request", "body": b"two", "more_body": False},
]


class Quick(Policy):
    """Sees each message once, whatever happens behind it."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.bodies: list[bytes] = []

    def on_receive(self, exchange: Exchange, message: Message) -> None:
        self.bodies.append(message["body"])


class Slow(Policy):
    """Takes its time with the first message, until it is asked again."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.bodies: list[bytes] = []

    async def on_receive(self, exchange: Exchange, message: Message) -> None:
        self.bodies.append(message["body"])
        if len(self.bodies) == 1:
            await asyncio.Event().wait()


def test_a_message_survives_an_app_that_stops_waiting_for_it() -> None:
    got: list[bytes] = []
    context = Context()
    quick, slow = Quick(context), Slow(context)
    waiting = list(CHUNKS)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        got.extend([(await receive())["body"], (await receive())["body"]])

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError("this app sends nothing")

    asyncio.run(Guard(app, policies=[quick, slow])(http_scope(), receive, send))
    assert got == [b"one", b"two"]
    assert quick.bodies == [b"one", b"two"], "who had seen the message is not asked twice"
    assert slow.bodies == [b"one", b"one", b"two"], "who was interrupted is asked again"


def test_a_message_is_not_kept_for_an_app_when_a_policy_fails() -> None:
    class Failing(Policy):
        def on_receive(self, exchange: Exchange, message: Message) -> None:
            if message["body"] == b"one":
                raise RuntimeError("the store is out")

    got: list[object] = []
    waiting = list(CHUNKS)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        except RuntimeError as error:
            got.append(str(error))
        got.append((await receive())["body"])

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError("this app sends nothing")

    asyncio.run(Guard(app, policies=[Failing()])(http_scope(), receive, send))
    assert got == ["the store is out", b"two"]
