"""What is remembered between requests: bounded, whatever the network sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K", bound=bytes | str)
V = TypeVar("V")


class Memo(dict[K, V]):
    """Answers that are found once for each value, and looked up afterwards: a third of what lru_cache costs.

    When it is full it forgets them all: whoever floods it costs others one more search now and then, and no memory.
    What is too long is not remembered.
    """

    __slots__ = ("_find", "_longest", "_most")

    def __init__(self, find: Callable[[K], V], *, most: int, longest: int) -> None:
        self._find = find
        self._most = most
        self._longest = longest

    def __missing__(self, value: K) -> V:
        found = self._find(value)
        if len(value) <= self._longest:
            if len(self) >= self._most:
                self.clear()
            self[value] = found
        return found


class Known(set[K]):
    """Values that have passed, and will pass again. Bounded as a Memo is, and for the same reason."""

    __slots__ = ("_longest", "_most")

    def __init__(self, *, most: int, longest: int) -> None:
        super().__init__()
        self._most = most
        self._longest = longest

    def remember(self, value: K) -> None:
        """Add a value, unless it is too long."""
        if len(value) <= self._longest:
            if len(self) >= self._most:
                self.clear()
            self.add(value)
