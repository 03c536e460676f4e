"""Two generations of keys for each quota, how many keys there may be, and how those that are no longer go away.

1. Counts stand in two generations of plain dicts: the young one has what was counted in this window of the clock, the
   old one what was counted in the last. When a window of the clock ends, the old generation goes away as a whole, for
   nothing in it counts any longer: nobody searches for what has expired, and there is nothing for the garbage collector
   to walk through. A key stays less than a window longer than it lives.
2. A key is in one generation only.
3. A dict of a million keys takes a tenth of a second to be freed, in which nobody is answered. So it is freed by those
   who fill the next one: a handful with each new key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from math import inf
from typing import Any, Final, Generic, TypeAlias, TypeVar

Key: TypeAlias = Hashable
T = TypeVar("T")

_HANDFUL: Final = 8  # more than one, so that keys go faster than others come
_FEW: Final = 256  # keys that are freed at once


class Capacity:
    """How many keys there may be and are, over all quotas, and what of them is still to be freed."""

    __slots__ = ("_ashes", "held", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self._ashes: list[dict[Key, Any]] = []

    @property
    def unfreed(self) -> int:
        """How many keys are waiting to be freed. With those that are held, they are never more than there may be."""
        return sum(map(len, self._ashes))

    def grow(self) -> None:
        """Count a new key, and free a few of those that are gone."""
        self.held += 1
        if self._ashes:
            ashes = self._ashes[-1]
            for _ in range(min(_HANDFUL, len(ashes))):
                ashes.popitem()
            if not ashes:
                self._ashes.pop()

    def drop(self, generation: dict[Key, Any]) -> None:
        """Take a whole generation for gone."""
        self.held -= len(generation)
        if len(generation) > _FEW:
            self._ashes.append(generation)


class Windows(ABC, Generic[T]):
    """The counts of one quota. `now` is in seconds, and does not go back by more than a moment."""

    __slots__ = ("_capacity", "_due", "_old", "_seconds", "_young")

    def __init__(self, seconds: int, capacity: Capacity) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._young: dict[Key, T] = {}
        self._old: dict[Key, T] = {}
        self._due = -inf  # when this window of the clock ends

    def __contains__(self, key: Key) -> bool:
        return key in self._young or key in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def turn(self, now: float) -> None:
        """Let the generations grow old, where it is time."""
        if now < self._due:
            return
        end = (now // self._seconds + 1) * self._seconds
        self._capacity.drop(self._old)
        self._old = self._young
        if end - self._due > self._seconds:  # nobody has asked for a window or more
            self._capacity.drop(self._old)
            self._old = {}
        self._young, self._due = {}, end

    @abstractmethod
    def used(self, key: Key, now: float) -> int:
        """Return how many units are in use for a key."""

    @abstractmethod
    def add(self, key: Key, cost: int, now: float) -> None:
        """Put more units to use. It follows `used`, at the same time."""

    def hit(self, key: Key, cost: int, amount: int, now: float) -> tuple[int, float]:
        """Put more units to use, if that is within the amount.

        Return how many are left, below 0 how many lack, and the seconds until there may be more.
        """
        left = amount - self.used(key, now) - cost
        if left >= 0:
            self.add(key, cost, now)
        return left, self.wait(key, now)

    @abstractmethod
    def give_back(self, key: Key, cost: int, now: float) -> None:
        """Take back units that were put to use last."""

    @abstractmethod
    def wait(self, key: Key, now: float, lacking: int = 0) -> float:
        """Return the seconds until so many units that are in use are free again, or 0: until some may be.

        It follows `used`, at the same time.
        """

    def forget(self, key: Key) -> bool:
        """Forget a key, and say whether there was one."""
        if self._young.pop(key, None) is None and self._old.pop(key, None) is None:
            return False
        self._capacity.held -= 1
        return True

    def clear(self) -> int:
        """Forget every key, and say how many there were."""
        count = len(self)
        for generation in (self._young, self._old):
            self._capacity.drop(generation)
        self._young, self._old, self._due = {}, {}, -inf
        return count

    def _come_back(self, key: Key) -> T | None:
        """Take a key that is not young out of the old generation and return what it had, or make room for a new one."""
        if not self._old or (had := self._old.pop(key, None)) is None:
            self._capacity.grow()
            return None
        if not self._old:
            self._old = {}  # one that was emptied keeps its size
        return had
