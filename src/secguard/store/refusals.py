"""What a shared store has refused lately, so that nobody asks it again for what it would refuse again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from secguard.store.quota import Demand, Standing

LONGEST: Final = 1.0  # seconds that an answer is given for, since somebody may have let the key in again

_MOST: Final = 10_000
_LONGEST_KEY: Final = 256


class _Answer(NamedTuple):
    at: float
    until: float
    standing: Standing


class Refusals:
    """Remembers refusals, for as long as they last and for a second at most.

    An answer is to one Demand: what costs less may pass, and so may a new key with another sponsor. When it is full it
    forgets them all, and the store is asked again. `clock` returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[Demand, _Answer] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def known(self, demands: Sequence[Demand]) -> list[Standing] | None:
        """Return what the store would say, or None where that is unknown or no refusal."""
        if not self._answers:
            return None
        now = self._clock()
        standings: list[Standing] = []
        refused = False
        for demand in demands:
            answer = self._answers.get(demand)
            if answer is None or now >= answer.until:
                return None
            at, _, standing = answer
            refused = refused or standing.refused
            standings.append(standing._replace(wait=standing.wait - (now - at)))
        return standings if refused else None

    def remember(self, demands: Sequence[Demand], standings: Sequence[Standing], at: float) -> None:
        """Remember what was said about a refused request that was asked for then."""
        if any(len(demand.key) + len(demand.sponsor or b"") > _LONGEST_KEY for demand in demands):
            return
        if len(self._answers) + len(demands) > _MOST:
            self._answers.clear()
        for demand, standing in zip(demands, standings, strict=True):
            self._answers[demand] = _Answer(at, at + min(standing.wait, LONGEST), standing)

    def drop(self, demands: Sequence[Demand]) -> None:
        """Forget what was said about these demands."""
        for demand in demands:
            self._answers.pop(demand, None)

    def forget(self, demands: Sequence[Demand]) -> None:
        """Forget what was said about these keys, at whatever cost and whoever sponsored them. It looks at all."""
        keys = {(demand.quota, demand.key) for demand in demands}
        self._answers = {asked: answer for asked, answer in self._answers.items() if asked[:2] not in keys}
