"""An app may give up waiting for a message, as Starlette's `is_disconnected` does with every call: none is lost."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Send

from secguard import Guard
from secguard.policy import Context, Exchange, Message, Policy, Reply
from tests.helpers import Scope, attempt, drive, http_scope, plain

BODY: list[Message] = [
    {"type": "http.request", "body": b"one ", "more_body": True},
    {"type": "http.request", "body": b"two ", "more_body": True},
    {"type": "http.request", "body": b"three", "more_body": False},
]


class Asking(Policy):
    """Asks somebody about every message, which takes a while, and writes down what it has seen to the end."""

    def __init__(self, context: Context, refuses: bytes | None = None) -> None:
        super().__init__(context)
        self.refuses = refuses
        self.asked: list[bytes] = []
        self.seen: list[bytes] = []

    async def on_receive(self, exchange: Exchange, message: Message) -> Reply | None:
        self.asked.append(message["body"])
        await asyncio.sleep(0)
        self.seen.append(message["body"])
        return Reply(413) if message["body"] == self.refuses else None


class Looking(Asking):
    """The same, without waiting."""

    def on_receive(self, exchange: Exchange, message: Message) -> Reply | None:  # type: ignore[override]
        self.seen.append(message["body"])
        return None


async def giving_up_first(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, and give up on each message once before waiting for it."""
    body, more = b"", True
    while more:
        with anyio.CancelScope() as impatience:
            impatience.cancel()
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        if impatience.cancelled_caught:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def test_a_message_that_an_app_gave_up_on_comes_with_the_next_call() -> None:
    context = Context(sinks=())
    first, second, third = Looking(context), Asking(context), Asking(context)
    sent = drive(Guard(giving_up_first, policies=[first, second, third]), http_scope(method="POST"), BODY)
    whole = [message["body"] for message in BODY]
    assert sent.body == b"".join(whole)
    assert first.seen == second.seen == third.seen == whole, "each has seen each message to its end, once"
    assert second.asked == [part for part in whole for _ in range(2)], "who was interrupted is asked again"


def test_a_refusal_that_an_app_gave_up_on_is_made_with_the_next_call() -> None:
    policy = Asking(Context(sinks=()), refuses=b"two ")
    sent = attempt(Guard(giving_up_first, policies=[policy]), http_scope(method="POST"), BODY)
    assert (sent.status, sent.error) == (413, None)
    assert sent.types == ["http.response.start", "http.response.body"]


def test_a_policy_that_fails_is_not_asked_again() -> None:
    class Broken(Policy):
        async def on_receive(self, exchange: Exchange, message: Message) -> Reply | None:
            raise LookupError("broken")

    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(LookupError):
            await receive()
        assert (await receive())["type"] == "http.disconnect"
        await plain(scope, receive, send)

    async def gone(scope: Scope, receive: Receive, send: Send) -> None:
        waiting: list[Message] = [BODY[2], {"type": "http.disconnect"}]

        async def receive_what_is_left() -> Message:
            return waiting.pop(0)

        await Guard(stubborn, policies=[Broken()])(scope, receive_what_is_left, send)

    assert drive(gone, http_scope(method="POST")).status == 200


def test_starlette_asks_whether_its_client_is_there_and_reads_on() -> None:
    async def endpoint(request: Request) -> Response:
        gone = [await request.is_disconnected() for _ in range(3)]
        return PlainTextResponse(f"{gone} {(await request.body()).decode()}")

    app = Starlette(routes=[Route("/", endpoint, methods=["POST"])])
    guard = Guard(app, policies=[Asking(Context(sinks=()))])
    assert drive(guard, http_scope(method="POST"), BODY).body == b"[False, False, False] one two three"


def test_a_message_is_not_kept_for_an_app_when_a_policy_fails() -> None:
    class Failing(Policy):
        def on_receive(self, exchange: Exchange, message: Message) -> None:
            if message["body"] == b"one ":
                raise RuntimeError("the store is out")

    got: list[object] = []
    waiting = list(BODY)

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
    assert got == ["the store is out", b"two "]
