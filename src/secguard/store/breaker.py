"""A circuit breaker: a store that is out costs a request microseconds, and not a timeout.

1. Closed: calls go through, so many at once, and the rest wait for one of them to end. That is no outage.
2. The first call that fails opens it. Then every call is answered at once, also those that were waiting.
3. Open: now and then a request finds it time for a probe. That runs beside it, and no request waits for one.
4. A probe that succeeds closes it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, ParamSpec, TypeAlias, TypeVar

from secguard.store.backend import StoreOutError

P = ParamSpec("P")
T = TypeVar("T")

Notice: TypeAlias = Callable[[str, str], None]

_SOONEST: Final = 0.25  # seconds until the first probe
_LATEST: Final = 1.0  # seconds between later ones


class Breaker:
    """Lets calls through while the store answers. It serves one event loop at a time.

    Args:
        probe: does what needs a store that works, and raises StoreOutError otherwise.
        most: how many calls run at once.
        notice: is told once when the store goes out, and once when it is back.
        clock: returns seconds.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[object]],
        most: int,
        notice: Notice,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probe = probe
        self._most = most
        self._notice = notice
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(most)
        self._since: float | None = None  # when it opened
        self._pause = _SOONEST
        self._due = 0.0  # when the next probe is
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the store is taken to be out."""
        return self._since is not None

    async def call(self, operation: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the operation does.

        Raises:
            StoreOutError: it failed, or the store is out.
        """
        self._settle()
        if self._since is None:
            slots = self._slots
            await slots.acquire()  # `async with` makes two more coroutines, for every call
            try:
                if self._since is None:  # else it opened while this one was waiting
                    return await operation(*args, **kwargs)
            except StoreOutError as error:
                self._fail(str(error))
                raise
            finally:
                slots.release()
        elif self._probing is None and self._clock() >= self._due:
            self._probing = asyncio.create_task(self._try())
        raise StoreOutError("the store is out, and tried again within a second")

    async def close(self) -> None:
        """Stop probing."""
        self._settle()
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()
            with suppress(asyncio.CancelledError):
                await probing

    def _settle(self) -> None:
        # What waits, and a probe, belong to a loop. Tests tend to have several, one after the other.
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._slots = asyncio.Semaphore(self._most)
            self._probing = None

    def _fail(self, reason: str) -> None:
        if self._since is None:
            self._since = self._clock()
            self._pause = _SOONEST
            self._due = self._since + self._pause
            self._notice("rate_limit.store-down", reason)

    async def _try(self) -> None:
        try:
            await self._probe()
        except StoreOutError:
            self._pause = min(self._pause * 2, _LATEST)
            self._due = self._clock() + self._pause
        else:
            out = self._clock() - (self._since or 0.0)
            self._since = None
            self._notice("rate_limit.store-up", f"the store answers again, after {out:.1f} s")
        finally:
            self._probing = None
