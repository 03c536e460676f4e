"""What operators do from code: look at a count, forget it, shut a key out."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

from starlette.requests import HTTPConnection

from secguard.rate_limit.plans import Plan
from secguard.rate_limit.policy import RateLimitPolicy
from secguard.rate_limit.routes import Limit, found
from secguard.store.memory import MemoryCounts
from secguard.store.quota import Demand, Standing
from secguard.store.shared import SharedCounts

T = TypeVar("T")
_LONGEST: Final = 10 * 366 * 86400  # seconds


class RateLimits:
    """The counts of a policy. `name` is `default`, the name of a rule, or a `Limit` of a route that has a name.

    `key` is written as whatever the limits count by: an address, the name of a user, the value of a header, or what a
    function for keys returns; for `global` it is empty. All of this goes to the store, where there is a shared
    one, and so concerns every process.

    Raises:
        LookupError: there are no limits of this name.
        StoreOutError: the shared store is out.

    Example:
        >>> limits = RateLimits.of(request)
        >>> await limits.block("default", "203.0.113.9", seconds=3600)
        >>> (await limits.peek("default", "203.0.113.9"))[0].blocked
        True
    """

    def __init__(self, policy: RateLimitPolicy) -> None:
        self._policy = policy

    @classmethod
    def of(cls, connection: HTTPConnection) -> RateLimits:
        """Return those of the Guard around the app that serves this request."""
        return cls(found(connection.scope)[2])

    async def peek(self, name: str | Limit, key: str) -> Sequence[Standing]:
        """Return how each limit stands for a key, and count nothing."""
        return await _awaited(self._store.peek(self._demands(name, key)))

    async def reset(self, name: str | Limit, key: str) -> None:
        """Forget what was counted for a key, and let it in again."""
        await _awaited(self._store.reset(self._demands(name, key)))

    async def block(self, name: str | Limit, key: str, seconds: float) -> None:
        """Refuse a key for some time, whatever it has used.

        Raises:
            ValueError: that is no time, or longer than ten years.
        """
        if not 0 < seconds <= _LONGEST:
            raise ValueError(f"a block lasts some seconds, ten years at most, and not {seconds!r}")
        await _awaited(self._store.block(self._demands(name, key), seconds))

    @property
    def _store(self) -> MemoryCounts | SharedCounts:
        return self._policy.shared or self._policy.local

    def _demands(self, name: str | Limit, key: str) -> list[Demand]:
        plan = self._plan(name)
        identity = self._policy.identities.written(plan.key, key)
        return [Demand(quota, identity) for quota in plan.quotas]

    def _plan(self, name: str | Limit) -> Plan:
        if isinstance(name, str):
            return self._policy.plans.named(name)
        if name.rule.name is None:
            raise LookupError("a limit of a route has a count for each endpoint, unless it has a name: give it one")
        return self._policy.plans.of_route(name.rule, name.rule.name, name.rule.name)


async def _awaited(result: T | Awaitable[T]) -> T:
    return await result if isinstance(result, Awaitable) else result
