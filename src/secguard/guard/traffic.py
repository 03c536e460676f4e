"""The sending side of one exchange: what the app answers, or what is answered in its place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.types import Message, Scope, Send

from secguard._http import Lines, Merge
from secguard.policy import Exchange, Reply

if TYPE_CHECKING:
    from secguard.guard.core import Guard

Hook: TypeAlias = Callable[[Exchange, Lines], Awaitable[None] | None]
# What makes the headers of a response: a fresh list, then hooks that edit it, and what was declared outside each hook.
Steps: TypeAlias = tuple[Merge, tuple[tuple[Hook, Merge | None], ...]]
Plan: TypeAlias = tuple[Steps, Steps]  # for the usual response, and for one that policies revise

_NOT_MODIFIED: Final = 304
_STARTS: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class Delivery:
    """The sending side of one exchange. `status` is what was sent, and 101 for an accepted websocket."""

    __slots__ = ("exchange", "guard", "plan", "refused", "send", "status")

    def __init__(self, exchange: Exchange, plan: Plan, send: Send, guard: Guard | None = None) -> None:
        self.exchange = exchange
        self.plan = plan
        self.send = send
        self.guard = guard  # None where a Reply is sent, for whose headers nobody is asked again
        self.status: int | None = None
        self.refused = False  # while the app was running

    # Not a coroutine function: it returns the awaitable of the server's own `send`, and saves a frame per message.
    def forward(self, message: Message) -> Awaitable[None]:
        """Pass a message of the app on, its headers hardened where it starts a response."""
        exchange = self.exchange
        if message["type"] not in _STARTS or self.send is _discard or exchange.cut_short:
            return self.send(message)
        if exchange.unfound and self.guard is not None:
            self.plan = self.guard.select(exchange)  # for the path that is not there, also where it was lost further in
        self.status = exchange.status = status = message.get("status", 101)
        merge, steps = self.plan[exchange.touched or status == _NOT_MODIFIED]
        headers = merge(message.get("headers", ()))
        for hook, declared in steps:
            hook(exchange, headers)
            if declared is not None:
                headers = declared(headers)
        message = message.copy() if type(message) is dict else dict(message)  # the app may hold on to its own
        message["headers"] = headers
        return self.send(message)

    async def answer(self, reply: Reply, plan: Plan, scope: Scope) -> None:
        """Send a Reply in the app's place, in whatever way the connection still allows. The app is heard no more."""
        own = type(self)(self.exchange, plan, self.close())
        prefix = "http.response"
        if scope["type"] == "websocket":
            if self.status is not None or "websocket.http.response" not in (scope.get("extensions") or {}):
                await own.send({"type": "websocket.close", "code": reply.close_code, "reason": ""})
                return
            prefix = "websocket.http.response"
        self.status = reply.status
        await own.forward({"type": f"{prefix}.start", "status": reply.status, "headers": reply.lines})
        body = b"" if scope.get("method") == "HEAD" else reply.body
        await own.send({"type": f"{prefix}.body", "body": body, "more_body": False})

    def close(self) -> Send:
        """Drop what the app still sends, and return the way to the server."""
        send, self.send = self.send, _discard
        return send


class UnseenDelivery(Delivery):
    """The same, where no policy looks at the request: there is no Exchange of its own, and nothing to revise."""

    __slots__ = ()

    def forward(self, message: Message) -> Awaitable[None]:
        """Pass a message of the app on, its headers hardened where it starts a response."""
        if message["type"] not in _STARTS or self.send is _discard:
            return self.send(message)
        self.status = message.get("status", 101)
        headers = self.plan[0][0](message.get("headers", ()))
        message = message.copy() if type(message) is dict else dict(message)
        message["headers"] = headers
        return self.send(message)


class WaitingDelivery(Delivery):
    """The same, where a policy's `finish` has to wait for something, such as a store."""

    __slots__ = ()

    async def forward(self, message: Message) -> None:
        """Pass a message on, unless it starts a response and a refusal overtakes it while it waits."""
        if message["type"] in _STARTS and self.send is not _discard and not self.exchange.cut_short:
            if self.exchange.unfound and self.guard is not None:
                self.plan = self.guard.select(self.exchange)
            status = self.exchange.status = message.get("status", 101)
            merge, steps = self.plan[self.exchange.touched or status == _NOT_MODIFIED]
            headers = merge(message.get("headers", ()))
            for hook, declared in steps:
                if (pending := hook(self.exchange, headers)) is not None:
                    await pending
                if declared is not None:
                    headers = declared(headers)
            if self.send is _discard:
                return
            message = {**message, "headers": headers}
            self.status = status
        await self.send(message)


async def _discard(message: Message) -> None:
    """Take what an app sends after its exchange was refused."""
