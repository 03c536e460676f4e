"""Counting in memory by three strategies: each object has the counts of one quota, for all its keys.

A count is one number, or for a moving window the times in one bytearray. How keys come and go is in generations.py.

What each strategy promises, for one key:

| strategy | never more than the amount | so in any stretch as long as a window |
|---|---|---|
| fixed-window | in its window, which begins with the first unit | up to twice the amount |
| sliding-window | in a window of the clock | up to twice the amount, where both ends of the stretch are bursts |
| moving-window | in any stretch as long as a window, one end of it left out | the amount |
"""

from __future__ import annotations

from bisect import bisect_right
from struct import Struct
from typing import Any, Final

from secguard.store.generations import Key, Windows
from secguard.store.quota import Strategy

_BITS: Final = 30  # of a count
_MASK: Final = (1 << _BITS) - 1
_TICK: Final = 2.0**-28  # seconds: by a power of two a time is multiplied as it is, to the last bit of a float
_TIME: Final = Struct("d")
_NEVER: Final = bytearray()


class SlidingWindows(Windows[int]):
    """The sliding-window counter, as `limits` has it: the last window counts as far as it still reaches into this one.

    Windows are those of the clock, as the generations are. What the last one counts for is rounded down. A number has
    the count of the last window above that of this one.
    """

    __slots__ = ()

    def _counts(self, key: Key) -> tuple[int, int]:
        """Return the counts of the last window and of this one."""
        packed = self._young.get(key)
        if packed is None:
            return self._old.get(key, 0) & _MASK, 0
        return packed >> _BITS, packed & _MASK

    def used(self, key: Key, now: float) -> int:
        """Return how many units are in use for a key."""
        if now >= self._due:
            self.turn(now)
        packed = self._young.get(key, -1)
        if 0 <= packed <= _MASK:
            return packed  # there is no last window: most of what is asked
        last, this = self._counts(key)
        return self._weighted(last, self._due - now) + this

    def add(self, key: Key, cost: int, now: float) -> None:
        """Put more units to use. It follows `used`, at the same time."""
        packed = self._young.get(key)
        if packed is None:
            packed = ((self._come_back(key) or 0) & _MASK) << _BITS
        self._young[key] = packed + cost

    def hit(self, key: Key, cost: int, amount: int, now: float) -> tuple[int, float]:
        """Put more units to use, if that is within the amount. Most of what is asked needs no closer look."""
        rest = self._due - now
        if rest > 0:
            packed = self._young.get(key, -1)
            left = amount - packed - cost
            if left >= 0 <= packed <= _MASK:
                self._young[key] = packed + cost
                return left, rest
        return super().hit(key, cost, amount, now)

    def give_back(self, key: Key, cost: int, now: float) -> None:
        """Take back units that were put to use last, in this window or in the one before."""
        self.turn(now)
        last, this = self._counts(key)
        if key in self._young:
            here = min(cost, this)
            self._young[key] = max(last - (cost - here), 0) << _BITS | (this - here)
        elif key in self._old:
            self._old[key] = max(last - cost, 0)

    def wait(self, key: Key, now: float, lacking: int = 0) -> float:
        """Return the seconds until so many units that are in use are free again, or 0: until some may be.

        It follows `used`, at the same time.
        """
        rest = self._due - now
        if lacking <= 0:
            return rest
        last, this = self._counts(key)
        weighted = self._weighted(last, rest)
        if lacking <= weighted:  # it is enough that the last window fades
            return rest - self._fades(last, weighted - lacking)
        # Then the last window is over, and this one has to fade in turn.
        lacking -= weighted
        return rest + self._seconds - self._fades(this, this - lacking)

    def _weighted(self, last: int, rest: float) -> int:
        # First multiplied, then divided: so what comes out even is not off by one.
        return int(last * min(rest, self._seconds) / self._seconds)

    def _fades(self, count: int, target: int) -> float:
        """Return how many seconds are left in the next window when a count falls below `target` + 1 there."""
        return (target + 1) * self._seconds / count

    def counts(self, key: Key, now: float) -> tuple[int, int, float]:
        """Return the counts of the last window and of this one, and the seconds until that ends."""
        self.turn(now)
        return (*self._counts(key), self._due - now)


class FixedWindows(Windows[int]):
    """Windows that begin with a key's first unit. A number has the time of the end, in ticks, above the count."""

    __slots__ = ()

    def used(self, key: Key, now: float) -> int:
        """Return how many units are in use for a key."""
        if now >= self._due:
            self.turn(now)
        packed = self._young.get(key)
        if packed is None:
            packed = self._old.get(key, 0)
        return packed & _MASK if (packed >> _BITS) * _TICK > now else 0

    def add(self, key: Key, cost: int, now: float) -> None:
        """Put more units to use, 2^30 - 1 at most. It follows `used`, at the same time."""
        generation = self._young if key in self._young else self._old
        packed = generation.get(key, 0)
        if (packed >> _BITS) * _TICK > now:
            generation[key] = packed + cost if (packed & _MASK) + cost <= _MASK else packed | _MASK
            return
        if generation is self._old:
            self._come_back(key)
        self._young[key] = int((now + self._seconds) / _TICK) << _BITS | min(cost, _MASK)

    def give_back(self, key: Key, cost: int, now: float) -> None:
        """Take back units that were put to use last."""
        if used := self.used(key, now):
            generation = self._young if key in self._young else self._old
            generation[key] -= min(cost, used)

    def wait(self, key: Key, now: float, lacking: int = 0) -> float:
        """Return the seconds until the window ends. It follows `used`, at the same time."""
        packed = self._young.get(key)
        if packed is None:
            packed = self._old.get(key, 0)
        rest = (packed >> _BITS) * _TICK - now
        return rest if rest > 0 else self._seconds


class MovingWindows(Windows[bytearray]):
    """Windows that reach back from now: exact, at 8 bytes a unit. The times stand in one bytearray, oldest first."""

    __slots__ = ()

    def used(self, key: Key, now: float) -> int:
        """Return how many units are in use for a key."""
        if now >= self._due:
            self.turn(now)
        times = self._young.get(key)
        if times is None:
            times = self._old.get(key)
        if not times:
            return 0
        since = now - self._seconds
        if _TIME.unpack_from(times)[0] <= since:
            with memoryview(times) as view, view.cast("d") as seen:
                gone = bisect_right(seen, since)
            del times[: gone * _TIME.size]
        return len(times) // _TIME.size

    def add(self, key: Key, cost: int, now: float) -> None:
        """Put more units to use. It follows `used`, at the same time."""
        times = self._young.get(key)
        if times is None:
            times = self._young[key] = self._come_back(key) or bytearray()
        newest = _TIME.unpack_from(times, len(times) - _TIME.size)[0] if times else now
        times += _TIME.pack(max(now, newest)) * cost

    def give_back(self, key: Key, cost: int, now: float) -> None:
        """Take back units that were put to use last."""
        if used := self.used(key, now):
            del self._times(key)[max(used - cost, 0) * _TIME.size :]

    def wait(self, key: Key, now: float, lacking: int = 0) -> float:
        """Return the seconds until so many units that are in use are free again, or 0: until some may be.

        It follows `used`, at the same time.
        """
        times = self._times(key)
        if not times:
            return self._seconds
        at = min(max(lacking, 1) * _TIME.size, len(times)) - _TIME.size
        return float(_TIME.unpack_from(times, at)[0]) + self._seconds - now

    def oldest(self, key: Key, now: float) -> float | None:
        """Return the time of the oldest unit in use."""
        return float(_TIME.unpack_from(self._times(key))[0]) if self.used(key, now) else None

    def _times(self, key: Key) -> bytearray:
        times = self._young.get(key)
        return self._old.get(key, _NEVER) if times is None else times


STRATEGIES: Final[dict[Strategy, type[Windows[Any]]]] = {
    "fixed-window": FixedWindows,
    "sliding-window": SlidingWindows,
    "moving-window": MovingWindows,
}
