"""The receiving side of one exchange."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, current_time, move_on_after  # Starlette's own: it serves asyncio and trio alike
from starlette.types import Message, Receive, Scope, Send

from secguard.guard.traffic import Delivery
from secguard.policy import Looker, Reply

if TYPE_CHECKING:
    from secguard.guard.core import Guard

_ENDS: Final = frozenset({"http.disconnect", "websocket.disconnect"})


class _Silence:
    """How long nobody has said anything on a websocket while the app was waiting, over all waits that it gave up.

    It knows no Watch, which would be a cycle.
    """

    __slots__ = ("_before", "_began", "scope", "seconds")

    def __init__(self) -> None:
        self.scope: CancelScope | None = None
        self.seconds = 0.0
        self._before = 0.0
        self._began = 0.0

    def begin(self) -> float:
        """Begin a wait, and return how long it has been silent in those before."""
        self._began = current_time()
        return self._before

    def end(self) -> None:
        """End a wait."""
        self.scope = None
        self._before += current_time() - self._began

    def break_(self) -> None:
        """Somebody has said something."""
        self._before, self._began = 0.0, current_time()
        if self.scope is not None:
            self.scope.deadline = self._began + self.seconds


class Watch:
    """The receiving side of one exchange, where a policy looks at what comes in, or at how long it takes to come.

    A refusal is sent at once. From then on the app finds its client gone, and what it still sends goes nowhere.

    An app may give up waiting for a message: Starlette's `is_disconnected` does, with every call. A message that has
    come by then is kept for the next call, and the policy that was interrupted is asked again.
    """

    __slots__ = ("_delivery", "_guard", "_kept", "_receive", "_scope", "_silence")

    def __init__(self, guard: Guard, delivery: Delivery, receive: Receive, scope: Scope) -> None:
        self._guard = guard
        self._delivery = delivery
        self._receive = receive
        self._scope = scope
        self._kept: deque[tuple[Message, int]] = deque()  # messages, and how many policies have seen each
        self._silence: _Silence | None = None
        if guard.patiences and scope["type"] == "websocket":
            self._silence = _Silence()
            delivery.send = _breaking(self._silence, delivery.send)

    async def look_ahead(self) -> bool:
        """Show the body to the policies that want to see it before the app does. Say whether the app may run."""
        if self._scope["type"] == "http":
            for at, hook in self._guard.foresights:
                look = hook(self._delivery.exchange)
                if look is not None and not await self._show(at, look):
                    return False
        return True

    async def _show(self, at: int, look: Looker) -> bool:
        """Show one message after the other, and keep them all for the app. Say whether nobody was refused."""
        seen = 0
        while True:
            if seen == len(self._kept):
                new = await self._next()
                if new is None:
                    return False
                self._kept.append((new, 0))
            message, _ = self._kept[seen]
            seen += 1
            enough = look(message)
            if isinstance(enough, Reply):
                reply = await self._guard.settle(at, self._delivery.exchange, enough)
                if reply is None:
                    return True
                await self._refuse(reply, at)
                return False
            if enough or not message.get("more_body"):
                return True

    async def receive(self) -> Message:
        """Return the next message, or the news that the client is gone."""
        guard, delivery = self._guard, self._delivery
        if delivery.refused:
            return self._gone()
        if self._kept:
            message, seen = self._kept.popleft()
        else:
            seen, next_message = 0, await self._next()
            if next_message is None:
                return self._gone()
            message = next_message
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
                self._kept.appendleft((message, seen))
            raise
        return message

    async def _next(self) -> Message | None:
        """Return what comes from the server, or None where somebody's patience ran out and the client was refused."""
        if not self._guard.waits:
            return await self._within_patience()
        message, began = None, current_time()
        try:
            message = await self._within_patience()
        finally:
            seconds = current_time() - began
            for _, learn in self._guard.waits:
                learn(self._delivery.exchange, seconds, message)
        return message

    async def _within_patience(self) -> Message | None:
        silence = self._silence
        if silence is None:
            return await self._wait(0.0, None)
        try:
            message = await self._wait(silence.begin(), silence)
            if message is not None:
                silence.break_()
        finally:
            silence.end()
        return message

    async def _wait(self, waited: float, silence: _Silence | None) -> Message | None:
        exchange = self._delivery.exchange
        limits = [(limit.seconds, at, limit) for at, ask in self._guard.patiences if (limit := ask(exchange))]
        for seconds, at, limit in sorted(limits, key=itemgetter(0)):
            with move_on_after(seconds - waited) as scope:
                if silence is not None:
                    silence.scope, silence.seconds = scope, seconds
                return await self._receive()
            waited = seconds
            if reply := await self._guard.settle(at, exchange, limit.reply(exchange)):
                await self._refuse(reply, at)
                return None
        return await self._receive()

    async def _refuse(self, reply: Reply, at: int) -> None:
        await self._guard.cut_short(self._delivery, reply, at, self._scope)

    def _gone(self) -> Message:
        if self._scope["type"] == "http":
            return {"type": "http.disconnect"}
        return {"type": "websocket.disconnect", "code": 1006, "reason": ""}  # RFC 6455 section 7.1.5: no Close came


def watched(made: list[Watch], guard: Guard, delivery: Delivery, receive: Receive, scope: Scope) -> Awaitable[Message]:
    """Receive by way of a Watch, which is made with the first message: most requests have no body, and never ask."""
    if not made:
        made.append(Watch(guard, delivery, receive, scope))
    return made[0].receive()


def _breaking(silence: _Silence, send: Send) -> Send:
    """Let what the app sends begin the time anew for which it may wait."""

    def forward(message: Message) -> Awaitable[None]:
        silence.break_()
        return send(message)

    return forward
