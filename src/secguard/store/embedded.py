"""The counts in memory as a storage of `limits`, under the scheme `async+secguard://`.

`limits` has an async memory storage of its own, and all its strategies give the same with this one. But that one visits
every key at each hit, in a task, and knows no bound. Here a hit costs the same with a million keys, there are at most
`max_keys`, and nothing waits, so no lock is needed.

Three things differ, which `limits` leaves to its storages:

1. A moving window has one end: a unit is free again a window after it was used, and not a moment later.
2. Where nothing is in use, a moving window begins now, whatever has been used before.
3. A key belongs to one window, as those that `limits` makes do: its length is part of their name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from limits.aio.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from secguard.store.generations import Windows
from secguard.store.memory import MAX_KEYS, OVERFLOW, MemoryCounts
from secguard.store.quota import MOST, Quota, Strategy
from secguard.store.windows import FixedWindows, MovingWindows, SlidingWindows

W = TypeVar("W", bound=Windows[Any])


class EmbeddedStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """A storage for the async strategies of `limits`. `counts` are MemoryCounts with the same clock and the same room.

    At most `max_keys` keys are counted at once. When so many are, those that are new share one bucket of each window,
    and `full` is called, once a minute as long as it lasts. `clock` returns seconds since the epoch.

    Example:
        >>> storage = storage_from_string("async+secguard://", max_keys=10_000)
        >>> await FixedWindowRateLimiter(storage).hit(parse("1000/hour"), "somebody")
        True
    """

    STORAGE_SCHEME = ["async+secguard"]  # noqa: RUF012 - as in limits

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,
        *,
        max_keys: int = MAX_KEYS,
        clock: Callable[[], float] = time.time,
        full: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(uri, wrap_exceptions)
        self.counts = counts = MemoryCounts(clock, max_keys, full)
        self._clock = clock
        self._fixed: _ByLength[FixedWindows] = _ByLength(counts, "fixed-window")
        self._moving: _ByLength[MovingWindows] = _ByLength(counts, "moving-window")
        self._sliding: _ByLength[SlidingWindows] = _ByLength(counts, "sliding-window")

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """What means that the storage is out of order: nothing."""
        return ()

    async def check(self) -> bool:
        """Say that the storage works."""
        return True

    async def reset(self) -> int:
        """Forget every key, and say how many there were."""
        return self.counts.clear()

    async def clear(self, key: str) -> None:
        """Forget a key of fixed and moving windows."""
        for fixed in self._fixed.values():
            fixed.forget(key)
        for moving in self._moving.values():
            moving.forget(key)

    # Fixed windows

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count some units, and return how many are counted by now: 2^30 - 1 at most."""
        now = self._clock()
        windows = self._fixed[expiry]
        place = self.counts.room_for(windows, key, now)
        windows.used(place, now)
        windows.add(place, amount, now)
        return windows.used(place, now)

    async def get(self, key: str) -> int:
        """Return how many units are counted."""
        return self._counted(key, self._clock())[0]

    async def get_expiry(self, key: str) -> float:
        """Return when the window of a key ends: now, if it has none."""
        now = self._clock()
        return now + self._counted(key, now)[1]

    def _counted(self, key: str, now: float) -> tuple[int, float]:
        """Return how many units are counted in a fixed window of whatever length, and the seconds until it ends."""
        for windows in self._fixed.values():
            if used := windows.used(key, now):
                return used, windows.wait(key, now)
        for windows in self._fixed.values():
            if self.counts.place_of(windows, key) is OVERFLOW and (used := windows.used(OVERFLOW, now)):
                return used, windows.wait(OVERFLOW, now)
        return 0, 0

    # Moving windows

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count some units, if there is room for them."""
        return self._acquire(self._moving[expiry], key, limit, amount)

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the time of the oldest unit in use, and how many there are: now and 0, if there is none."""
        now = self._clock()
        windows = self._moving[expiry]
        place = self.counts.place_of(windows, key)
        oldest = windows.oldest(place, now)
        return (now, 0) if oldest is None else (oldest, windows.used(place, now))

    # Sliding windows

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count some units, if there is room for them."""
        return self._acquire(self._sliding[expiry], key, limit, amount)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the count of the last window and of this one, each with the seconds until it counts no longer."""
        windows = self._sliding[expiry]
        last, this, rest = windows.counts(self.counts.place_of(windows, key), self._clock())
        return last, rest if last else 0.0, this, rest + expiry

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget a key of sliding windows."""
        self._sliding[expiry].forget(key)

    def _acquire(self, windows: Windows[Any], key: str, limit: int, amount: int) -> bool:
        now = self._clock()
        place = self.counts.room_for(windows, key, now)
        if windows.used(place, now) + amount > min(limit, MOST):
            return False
        windows.add(place, amount, now)
        return True


class _ByLength(dict[int, W]):
    """The windows of one strategy, which are made when first asked for. How many lengths there are is up to the app."""

    def __init__(self, counts: MemoryCounts, strategy: Strategy) -> None:
        super().__init__()
        self._counts = counts
        self._strategy = strategy

    def __missing__(self, seconds: int) -> W:
        windows = cast("W", self._counts.windows(Quota("limits", MOST, seconds, self._strategy)))
        self[seconds] = windows
        return windows
