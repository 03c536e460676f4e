"""A timeout that tells a slow store from an event loop that was busy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")

_SLICES: Final = 10


class Patience:
    """Waits for so many seconds, in which the loop is free to read what comes. It serves one event loop at a time.

    The time runs out in slices, each of which begins when the loop has come round to see the end of the last. While
    something else holds the loop up for a second, a reply may arrive and nobody looks. asyncio.timeout counts that
    second, and cancels before the reply is read. Here it is one slice, and nine are left to read the reply in.

    One timer serves all that wait, for as long as anybody does: a timer and a timeout for each would take a quarter of
    the time of a call. Who comes in the middle of a slice is not charged for it, and may wait for a slice more.
    """

    __slots__ = ("_loop", "_slice", "_ticking", "_ticks", "_waiting")

    def __init__(self, seconds: float) -> None:
        self._slice = seconds / _SLICES
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticks = 0
        self._ticking = False
        self._waiting: dict[asyncio.Task[Any], int] = {}  # until which tick: those that come first end first

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Return what is awaited.

        Raises:
            TimeoutError: the time is over.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._ticking, self._waiting = loop, False, {}
        task = cast("asyncio.Task[Any]", asyncio.current_task(loop))
        others = task.cancelling()
        waiting = self._waiting
        waiting[task] = self._ticks + _SLICES + self._ticking
        if not self._ticking:
            self._ticking = True
            loop.call_later(self._slice, self._tick, loop)
        try:
            return await awaitable
        except asyncio.CancelledError:
            if task in waiting or task.cancelling() > others + 1:
                raise  # somebody else wants that
            raise TimeoutError from None
        finally:
            if waiting.pop(task, None) is None:
                task.uncancel()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            return  # another has taken over, with a timer of its own
        self._ticks += 1
        waiting = self._waiting
        while waiting:
            task, end = next(iter(waiting.items()))
            if self._ticks < end:
                loop.call_later(self._slice, self._tick, loop)
                return
            del waiting[task]
            task.cancel()
        self._ticking = False


async def within(seconds: float, awaitable: Awaitable[T]) -> T:
    """Return what is awaited, or raise TimeoutError after so many seconds in which the loop was free to read it."""
    return await Patience(seconds).wait(awaitable)
