"""The two sides of one exchange: what the app sends, and what it receives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.types import Message, Receive, Scope, Send

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
_ENDS: Final = frozenset({"http.disconnect", "websocket.disconnect"})


class Delivery:
    """The sending side of one exchange. `status` is what was sent, and 101 for an accepted websocket."""

    __slots__ = ("exchange", "plan", "refused", "send", "status")

    def __init__(self, exchange: Exchange, plan: Plan, send: Send) -> None:
        self.exchange = exchange
        self.plan = plan
        self.send = send
        self.status: int | None = None
        self.refused = False  # by a Watch, while the app was running

    # Not a coroutine function: it returns the awaitable of the server's own `send`, and saves a frame per message.
    def forward(self, message: Message) -> Awaitable[None]:
        """Pass a message of the app on, its headers hardened where it starts a response."""
        if message["type"] not in _STARTS or self.send is _discard:
            return self.send(message)
        exchange = self.exchange
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
        if message["type"] in _STARTS and self.send is not _discard:
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


class Watch:
    """The receiving side of one exchange, where a policy looks at what comes in.

    A refusal is sent at once. From then on the app finds its client gone, and what it still sends goes nowhere.

    An app may give up waiting for a message: Starlette's `is_disconnected` does, with every call. A message that has
    come by then is kept for the next call, and the policy that was interrupted is asked again.
    """

    __slots__ = ("_delivery", "_guard", "_kept", "_receive", "_scope")

    def __init__(self, guard: Guard, delivery: Delivery, receive: Receive, scope: Scope) -> None:
        self._guard = guard
        self._delivery = delivery
        self._receive = receive
        self._scope = scope
        self._kept: tuple[Message, int] | None = None  # a message, and how many policies have seen it

    async def receive(self) -> Message:
        """Return the next message, or the news that the client is gone."""
        guard, delivery = self._guard, self._delivery
        if delivery.refused:
            return self._gone()
        kept, self._kept = self._kept, None
        message, seen = kept or (await self._receive(), 0)
        if message["type"] in _ENDS:
            return message  # there is nothing left to refuse, and `done` will tell
        try:
            for at, look in guard.watches[seen:]:
                verdict = look(delivery.exchange, message)
                if verdict is not None and (reply := await guard.settle(at, delivery.exchange, verdict)) is not None:
                    await self._refuse(reply, at)
                    return self._gone()
                seen += 1
        except BaseException as error:
            if not isinstance(error, Exception) and not delivery.refused:
                self._kept = message, seen
            raise
        return message

    async def _refuse(self, reply: Reply, at: int) -> None:
        delivery = self._delivery
        delivery.refused = True
        if delivery.status is None or self._scope["type"] == "websocket":
            await delivery.answer(reply, self._guard.select(delivery.exchange, at), self._scope)
        else:
            delivery.close()  # too late for an answer: the server finds the response cut short

    def _gone(self) -> Message:
        if self._scope["type"] == "http":
            return {"type": "http.disconnect"}
        return {"type": "websocket.disconnect", "code": 1006, "reason": ""}  # RFC 6455 section 7.1.5: no Close came


async def _discard(message: Message) -> None:
    """Take what an app sends after its exchange was refused."""
