"""The two sides of one exchange: what the app sends, and what it receives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.types import Message, Receive, Scope, Send

from secguard._http import Lines
from secguard.policy import Exchange

if TYPE_CHECKING:
    from secguard.guard.core import Guard

Steps: TypeAlias = tuple[Callable[[Exchange, Lines], Awaitable[None] | None], ...]

_STARTS: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class Delivery:
    """The sending side of one exchange."""

    __slots__ = ("exchange", "refused", "send", "status", "steps")

    def __init__(self, exchange: Exchange, steps: Steps, send: Send) -> None:
        self.exchange = exchange
        self.steps = steps
        self.send = send
        self.status: int | None = None
        self.refused = False

    # Not a coroutine function: it returns the awaitable of the server's own `send`, and saves a frame per message.
    def forward(self, message: Message) -> Awaitable[None]:
        if message["type"] in _STARTS:
            self.status = message.get("status", 101)
            return self.start(message)
        return self.send(message)

    def refuse(self) -> None:
        """Take no more from the app."""
        self.refused = True
        self.send = _discard

    def start(self, message: Message) -> Awaitable[None]:
        headers = list(message.get("headers", ()))
        exchange = self.exchange
        for step in self.steps:
            step(exchange, headers)
        return self.send({**message, "headers": headers})


class WaitingDelivery(Delivery):
    """The same, where a policy's `finish` has to wait for something, such as a store."""

    __slots__ = ()

    async def start(self, message: Message) -> None:
        headers = list(message.get("headers", ()))
        for step in self.steps:
            if (pending := step(self.exchange, headers)) is not None:
                await pending
        await self.send({**message, "headers": headers})


class Watch:
    """The receiving side of one exchange, where a policy looks at what comes in.

    A refusal is sent at once. From then on the app finds its client gone, and what it still sends goes nowhere.
    """

    __slots__ = ("_delivery", "_guard", "_receive", "_scope")

    def __init__(self, guard: Guard, delivery: Delivery, receive: Receive, scope: Scope) -> None:
        self._guard = guard
        self._delivery = delivery
        self._receive = receive
        self._scope = scope

    async def receive(self) -> Message:
        delivery = self._delivery
        if delivery.refused:
            return self._gone()
        message = await self._receive()
        for at, look in self._guard._watches:
            verdict = look(delivery.exchange, message)
            if verdict is not None and (reply := await self._guard._settle(at, delivery.exchange, verdict)) is not None:
                if delivery.status is None or self._scope["type"] == "websocket":
                    await self._guard._answer(delivery, reply, at, self._scope)
                delivery.refuse()
                return self._gone()
        return message

    def _gone(self) -> Message:
        if self._scope["type"] == "http":
            return {"type": "http.disconnect"}
        return {"type": "websocket.disconnect", "code": 1006, "reason": ""}  # RFC 6455 section 7.1.5: no Close came


async def _discard(message: Message) -> None:
    """Take what an app sends after its exchange was refused."""
