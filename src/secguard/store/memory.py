"""Counts in the memory of this process: exact for every key, bounded, and as fast with a million keys as with ten."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final, TypeAlias

from secguard.store.generations import Capacity, Key, Windows
from secguard.store.quota import Demand, Quota, Standing, Told
from secguard.store.windows import STRATEGIES

MAX_KEYS: Final = 100_000
OVERFLOW: Final = b"\xff"  # the key that all share for whom there is no room

_AGAIN: Final = 60  # seconds until it is said once more that there is no room
_FEWEST: Final = 1024  # blocked keys that are not worth looking through

Counted: TypeAlias = tuple[Windows[Any], Key, int]


class MemoryCounts:
    """Decides on Demands, and counts them: all of a request's, or none.

    At most `max_keys` keys are counted at once, over all quotas. When so many are, keys that are new share one bucket
    of each quota, and no count is forgotten. `full` is called then, once a minute as long as it lasts.

    `clock` returns seconds. Where it is set back by more than a window, a key that is refused for what was counted in
    the future is the last one: its quota begins anew.

    Nothing here waits, so nothing comes between a decision and its counts.

    Example:
        >>> hourly = Quota("default", 1000, 3600)
        >>> MemoryCounts().take([Demand(hourly, b"somebody")])[0].remaining
        999
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        max_keys: int = MAX_KEYS,
        full: Callable[[], None] = lambda: None,
    ) -> None:
        self.clock = clock
        self._capacity = Capacity(max_keys)
        self._full = full
        self._said = -inf  # when it was, last
        self._windows: dict[Quota, Windows[Any]] = {}
        self._blocked: dict[tuple[Quota, bytes], float] = {}  # until when; only code adds to it
        self._crowd = _FEWEST  # so many are looked through for those that are over

    def __len__(self) -> int:
        return self._capacity.held

    def hitting(self, quota: Quota, cost: int) -> Callable[[bytes], Told | None]:
        """Return what counts a demand on this quota at this cost, and nothing else, for most requests are no more.

        It returns None where somebody has to have a closer look, which `take` does: then nothing is counted.
        """
        hit, amount = self.windows(quota).hit, quota.amount
        capacity, blocked, clock = self._capacity, self._blocked, self.clock

        def count(key: bytes) -> Told | None:
            if blocked or capacity.held >= capacity.most:
                return None
            left, wait = hit(key, cost, amount, clock())
            return (quota, left, wait, False, False) if left >= 0 else None

        return count

    def take(self, demands: Sequence[Demand]) -> list[Standing]:
        """Count all demands, if there is room for each of them, and return how their quotas stand.

        No two of them are for the same key of the same quota: each is decided on as if it were alone.
        """
        now = self.clock()
        capacity = self._capacity
        counted: list[Counted] = []
        standings: list[Standing] = []
        admitted = True
        for quota, asked, cost, sponsor in demands:
            windows = self._windows.get(quota)
            if windows is None:
                windows = self.windows(quota)
            key: Key = asked
            if capacity.held + len(counted) >= capacity.most:
                key = self.room_for(windows, asked, now, counted)
            used = windows.used(key, now)
            left = quota.amount - used - cost
            if left < 0 or (self._blocked and self._blocked_for(quota, asked, now)):
                admitted = False
                standings.append(self._refused(quota, asked, windows, key, used, -left, now))
                continue
            standings.append(Standing(quota, left, windows.wait(key, now)))
            counted.append((windows, key, cost))
            if sponsor is None or used:
                continue
            payer = self.room_for(windows, sponsor, now, counted)
            if payer == key:
                continue
            spent = windows.used(payer, now)
            lacking = spent + cost - quota.amount
            if lacking > 0:
                admitted = False
                standings[-1] = self._refused(quota, sponsor, windows, payer, spent, lacking, now)
            counted.append((windows, payer, cost))
        if admitted:
            for windows, key, cost in counted:
                windows.add(key, cost, now)
            return standings
        costs = [demand.cost for demand in demands]
        return [
            it if it.refused else it._replace(remaining=it.remaining + cost)
            for it, cost in zip(standings, costs, strict=True)
        ]

    def give_back(self, demands: Sequence[Demand]) -> None:
        """Take back what was counted last for these demands, and from a sponsor where nothing else is counted."""
        now = self.clock()
        for quota, key, cost, sponsor in demands:
            windows = self.windows(quota)
            place = self.place_of(windows, key)
            windows.give_back(place, cost, now)
            if sponsor is not None and not windows.used(place, now):
                windows.give_back(self.place_of(windows, sponsor), cost, now)

    def peek(self, demands: Sequence[Demand]) -> list[Standing]:
        """Return how the quotas stand, and count nothing."""
        now = self.clock()
        standings = []
        for quota, asked, cost, _ in demands:
            windows = self.windows(quota)
            windows.turn(now)
            key = self.place_of(windows, asked)
            used = windows.used(key, now)
            lacking = used + cost - quota.amount
            if lacking > 0 or self._blocked_for(quota, asked, now):
                standings.append(self._refused(quota, asked, windows, key, used, lacking, now))
            else:
                standings.append(Standing(quota, quota.amount - used, windows.wait(key, now)))
        return standings

    def reset(self, demands: Sequence[Demand]) -> None:
        """Forget what was counted for these keys, and let them in again."""
        for quota, key, _, _ in demands:
            self.windows(quota).forget(key)
            self._blocked.pop((quota, key), None)

    def block(self, demands: Sequence[Demand], seconds: float) -> None:
        """Refuse these keys for some time."""
        now = self.clock()
        if len(self._blocked) >= self._crowd:
            for over in [blocked for blocked, until in self._blocked.items() if until <= now]:
                del self._blocked[over]
            self._crowd = max(2 * len(self._blocked), _FEWEST)
        self._blocked.update(dict.fromkeys(((quota, key) for quota, key, _, _ in demands), now + seconds))

    def clear(self) -> int:
        """Forget everything, and say how many keys there were."""
        self._blocked.clear()
        return sum(windows.clear() for windows in self._windows.values())

    def windows(self, quota: Quota) -> Windows[Any]:
        """Return the counts of a quota."""
        windows = self._windows.get(quota)
        if windows is None:
            windows = self._windows[quota] = STRATEGIES[quota.strategy](quota.seconds, self._capacity)
        return windows

    def room_for(self, windows: Windows[Any], key: Key, now: float, others: Sequence[Counted] = ()) -> Key:
        """Return the key that one is counted under: its own, if it has room beside others that are about to be."""
        capacity = self._capacity
        if capacity.held + len(others) < capacity.most or key in windows:
            return key
        for some in self._windows.values():
            some.turn(now)
        coming = len({(counts, other) for counts, other, _ in others if other not in counts})
        if capacity.held + coming < capacity.most:
            return key
        if not 0 <= now - self._said < _AGAIN:
            self._said = now
            self._full()
        return OVERFLOW

    def place_of(self, windows: Windows[Any], key: Key) -> Key:
        """Return the key that one was counted under, or would be now."""
        return key if self._capacity.held < self._capacity.most or key in windows else OVERFLOW

    def _blocked_for(self, quota: Quota, key: bytes, now: float) -> float:
        """Return the seconds that a key is blocked for, or 0."""
        until = self._blocked.get((quota, key))
        if until is None:
            return 0
        if until <= now:
            del self._blocked[quota, key]
        return max(until - now, 0)

    def _refused(
        self, quota: Quota, asked: bytes, windows: Windows[Any], key: Key, used: int, lacking: int, now: float
    ) -> Standing:
        blocked = self._blocked_for(quota, asked, now)
        # What costs more than the quota has will never pass: then the time until it is as good as it gets.
        wait = windows.wait(key, now, min(lacking, used)) if lacking > 0 else 0
        if wait > 2 * quota.seconds:
            windows.clear()
            wait = quota.seconds
        return Standing(quota, max(quota.amount - used, 0), max(wait, blocked), True, blocked > 0)
