"""Counts that several processes share: what the policy sees of a store, whichever it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from secguard.store.backend import Backend, StoreOutError
from secguard.store.breaker import Breaker, Notice
from secguard.store.quota import Demand, Standing
from secguard.store.refusals import Refusals
from secguard.store.url import backend_of, check_storage

__all__ = ["SharedCounts", "StoreOutError", "check_storage", "connect"]


class SharedCounts:
    """Counts in a store, as long as it answers.

    Ask `known` first: it needs no round trip. All others raise StoreOutError while the store is out, and at once.

    Example:
        >>> standings = counts.known(demands) or await counts.take(demands)
    """

    def __init__(self, backend: Backend, breaker: Breaker, clock: Callable[[], float] = time.monotonic) -> None:
        self._backend = backend
        self._breaker = breaker
        self._clock = clock
        self._refusals = Refusals(clock)

    def known(self, demands: Sequence[Demand]) -> list[Standing] | None:
        """Return how the quotas stand where that is known and a refusal, for up to a second; otherwise None."""
        return self._refusals.known(demands)

    async def take(self, demands: Sequence[Demand]) -> list[Standing]:
        """Count all demands, if there is room for each of them, and return how their quotas stand."""
        at = self._clock()
        standings = await self._breaker.call(self._backend.take, demands)
        for standing in standings:
            if standing.refused:
                self._refusals.remember(demands, standings, at)
                break
        return standings

    async def peek(self, demands: Sequence[Demand]) -> list[Standing]:
        """Return how the quotas stand, and count nothing."""
        return await self._breaker.call(self._backend.peek, demands)

    async def give_back(self, demands: Sequence[Demand]) -> None:
        """Take back what was counted last for these demands."""
        await self._breaker.call(self._backend.give_back, demands)
        self._refusals.drop(demands)

    async def reset(self, demands: Sequence[Demand]) -> None:
        """Forget what was counted for these keys, and let them in again: elsewhere after a second at most."""
        await self._breaker.call(self._backend.reset, demands)
        self._refusals.forget(demands)

    async def block(self, demands: Sequence[Demand], seconds: float) -> None:
        """Refuse these keys for some time."""
        await self._breaker.call(self._backend.block, demands, seconds)
        self._refusals.forget(demands)

    async def open(self) -> None:
        """Connect. A store that is out is no error at start, and is noticed like any other outage."""
        with suppress(StoreOutError):
            await self._breaker.call(self._backend.open)

    async def close(self) -> None:
        """Close all connections."""
        await self._breaker.close()
        await self._backend.close()


def connect(
    url: str,
    *,
    hash_key: bytes,
    timeout: float,
    pool_size: int,
    notice: Notice,
    clock: Callable[[], float] = time.monotonic,
) -> SharedCounts:
    """Return the counts of a URL that `check_storage` has passed. Nothing is connected yet.

    Args:
        url: of the store.
        hash_key: what keys are digested with.
        timeout: of a call, in seconds.
        pool_size: how many calls run at once, each with a connection of its own.
        notice: is told the code of an Event and a reason, when the store goes out and when it is back.
        clock: returns seconds.
    """
    backend = backend_of(url, hash_key, timeout)
    return SharedCounts(backend, Breaker(backend.probe, pool_size, notice, clock), clock)
