"""Counts in any other storage of `limits`: memcached, MongoDB, and Redis behind sentinels or in a cluster.

They go through the interface of `limits`, which knows one quota at a time. So a request takes several round trips; it
is asked first whether there is room in all quotas, and counted then, and who comes between is counted too; and where
that leaves no room for the last one, those before are given back only where the storage can do that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, cast

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemcachedStorage, Storage
from limits.aio.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)
from limits.storage import storage_from_string

from secguard.store.backend import StoreOutError
from secguard.store.names import bucket_of, tag_of
from secguard.store.patience import within
from secguard.store.quota import Demand, Quota, Standing, Strategy

T = TypeVar("T")

_LIMITERS: Final[dict[Strategy, type[RateLimiter]]] = {
    "fixed-window": FixedWindowRateLimiter,
    "sliding-window": SlidingWindowCounterRateLimiter,
    "moving-window": MovingWindowRateLimiter,
}
_REDIS: Final = ("redis+", "rediss+")


def storage_of(url: str) -> Storage:
    """Return the storage of a URL, unconnected.

    Raises:
        ConfigurationError: no storage has that scheme, or a package is missing.
    """
    # For these, `limits` would prefer another client (coredis) than the one that the extra brings.
    options = {"implementation": "redispy"} if url.startswith(_REDIS) else {}
    return cast("Storage", storage_from_string(f"async+{url}", **options))


def limiter_of(strategy: Strategy, storage: Storage) -> RateLimiter:
    """Return what counts by a strategy in a storage.

    Raises:
        NotImplementedError: the storage cannot do that.
    """
    return _LIMITERS[strategy](storage)


class LimitsCounts:
    """Decides on Demands, and counts them, as well as the storage can.

    Args:
        url: as `limits` has it, without `async+`.
        hash_key: what keys are digested with.
        timeout: of everything that one request needs, in seconds.
    """

    def __init__(self, url: str, hash_key: bytes = b"", timeout: float = 0.05) -> None:
        self._storage = storage_of(url)
        self._hash_key = hash_key
        self._timeout = timeout
        self._limiters: dict[Strategy, RateLimiter] = {}

    async def open(self) -> None:
        """Connect."""
        await self.probe()

    async def close(self) -> None:
        """Close all connections that can be found: the interface of `limits` has no word for it."""
        bridge = getattr(self._storage, "bridge", None)  # of those that are Redis
        sentinels = getattr(getattr(bridge, "sentinel", None), "sentinels", ())
        for client in (getattr(bridge, "storage", None), *sentinels):
            if client is not None:
                await client.aclose()

    async def probe(self) -> None:
        """Ask the storage whether it is well."""
        if not await self._timed(self._storage.check):
            raise StoreOutError("the storage says that it is out")

    async def take(self, demands: Sequence[Demand]) -> list[Standing]:
        """Count all demands, if there seems to be room for each of them, and return how their quotas stand."""
        return await self._timed(self._take, demands)

    async def peek(self, demands: Sequence[Demand]) -> list[Standing]:
        """Return how the quotas stand, and count nothing."""
        return await self._timed(self._look, demands)

    async def give_back(self, demands: Sequence[Demand]) -> None:
        """Take back what was counted for these demands, in fixed windows. Others keep it."""
        await self._timed(self._give_back, demands)

    async def reset(self, demands: Sequence[Demand]) -> None:
        """Forget what was counted for these keys, and let them in again."""
        await self._timed(self._reset, demands)

    async def block(self, demands: Sequence[Demand], seconds: float) -> None:
        """Refuse these keys for some time, in whole seconds."""
        await self._timed(self._block, demands, max(round(seconds), 1))

    async def _timed(self, operation: Callable[..., Awaitable[T]], *args: Any) -> T:
        try:
            return await within(self._timeout, operation(*args))
        except TimeoutError:
            raise StoreOutError(f"no answer in {self._timeout} s") from None
        except Exception as error:  # whatever it is, it is no count; and who knows what a storage raises
            raise StoreOutError(f"{type(error).__name__}: {error}") from error

    async def _take(self, demands: Sequence[Demand]) -> list[Standing]:
        standings = await self._look(demands)
        wanted = list(enumerate(demands))
        sponsors = [
            (place, demand._replace(key=demand.sponsor, sponsor=None))
            for place, demand in wanted
            if demand.sponsor is not None and standings[place].remaining == demand.quota.amount
        ]
        seen = await self._look([sponsor for _, sponsor in sponsors])
        for (place, _), standing in zip(sponsors, seen, strict=True):
            if standing.refused:
                standings[place] = standing
        if any(standing.refused for standing in standings):
            return standings
        counted: list[Demand] = []
        for place, demand in wanted + sponsors:
            limiter, item, names = self._written(demand)
            counted.append(demand)  # also when it was too much: a fixed window has counted that
            if not await limiter.hit(item, *names, cost=demand.cost):  # somebody came between
                await self._give_back(counted)
                standings[place] = standings[place]._replace(remaining=0, refused=True)
                return standings
        return [
            it._replace(remaining=it.remaining - demand.cost) for it, demand in zip(standings, demands, strict=True)
        ]

    async def _look(self, demands: Sequence[Demand]) -> list[Standing]:
        return await asyncio.gather(*map(self._look_at, demands))

    async def _look_at(self, demand: Demand) -> Standing:
        limiter, item, names = self._written(demand)
        blocking = _blocking(item, names)
        stats, blocked = await asyncio.gather(limiter.get_window_stats(item, *names), self._storage.get(blocking))
        remaining = max(stats.remaining, 0)
        untouched = remaining == demand.quota.amount
        wait = demand.quota.seconds if untouched else max(stats.reset_time - time.time(), 0.0)
        if blocked:
            wait = max(await self._storage.get_expiry(blocking) - time.time(), wait)
        return Standing(demand.quota, remaining, wait, bool(blocked) or remaining < demand.cost, bool(blocked))

    async def _give_back(self, demands: Sequence[Demand]) -> None:
        for demand in demands:
            if demand.quota.strategy == "fixed-window" and not isinstance(self._storage, MemcachedStorage):
                _, item, names = self._written(demand)
                name = item.key_for(*names)
                counted = await self._storage.get(name)
                if counted > 0:  # else the window has ended, and something below zero would begin another
                    await self._storage.incr(name, item.get_expiry(), amount=-min(demand.cost, counted))

    async def _reset(self, demands: Sequence[Demand]) -> None:
        for demand in demands:
            limiter, item, names = self._written(demand)
            await limiter.clear(item, *names)
            await self._storage.clear(_blocking(item, names))

    async def _block(self, demands: Sequence[Demand], seconds: int) -> None:
        for demand in demands:
            _, item, names = self._written(demand)
            blocking = _blocking(item, names)
            await self._storage.clear(blocking)
            await self._storage.incr(blocking, seconds)

    def _written(self, demand: Demand) -> tuple[RateLimiter, RateLimitItemPerSecond, tuple[str, str]]:
        quota = demand.quota
        limiter = self._limiters.get(quota.strategy)
        if limiter is None:
            limiter = self._limiters[quota.strategy] = limiter_of(quota.strategy, self._storage)
        # `limits` joins the parts of a key with slashes. Digests have none.
        names = (tag_of(demand.key, self._hash_key), bucket_of(quota))
        return limiter, _item(quota), names


def _item(quota: Quota) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(quota.amount, quota.seconds, "secguard")


def _blocking(item: RateLimitItemPerSecond, names: tuple[str, str]) -> str:
    return f"{item.key_for(*names)}/b"
