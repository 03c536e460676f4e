"""A gate that lets so many in at once, with a short line before it."""

from __future__ import annotations

from collections import deque
from math import ceil

from anyio import Event, move_on_after  # Starlette's own: it serves asyncio and trio alike


class Gate:
    """Lets `size` in at once. `places` more may stand in line for `seconds`, and come in first come, first served.

    Whoever leaves hands the slot to the first in line. So a slot is free only where nobody waits for one.

    Example:
        >>> gate = Gate(1)
        >>> gate.enter(), gate.enter()
        (True, False)
    """

    __slots__ = ("_free", "_line", "_places", "_seconds", "size")

    def __init__(self, size: int, places: int = 0, seconds: float | None = None) -> None:
        self.size = size
        self._free = size
        self._line: deque[Event] = deque()
        self._places = places
        self._seconds = seconds

    @property
    def is_full(self) -> bool:
        """Whether there is no place left in the line."""
        return len(self._line) >= self._places

    @property
    def retry_after(self) -> int:
        """The seconds after which it makes sense to come again: when the line of today is gone."""
        return ceil(self._seconds or 1)

    def enter(self) -> bool:
        """Take a slot, if one is free."""
        if self._free:
            self._free -= 1
            return True
        return False

    async def wait(self) -> bool:
        """Stand in line, and say whether there is a slot now. Whoever is cancelled takes none along."""
        turn = Event()
        self._line.append(turn)
        try:
            with move_on_after(self._seconds):
                await turn.wait()
        except BaseException:
            if turn.is_set():  # it was this one's turn just now
                self.leave()
            raise
        finally:
            if not turn.is_set():
                self._line.remove(turn)
        return turn.is_set()

    def leave(self) -> None:
        """Give a slot back."""
        if self._line:
            self._line.popleft().set()
        else:
            self._free += 1
