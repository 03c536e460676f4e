"""Naive models of the strategies: they keep every hit for ever, and reckon in fractions."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import floor


class Model:
    """What was counted for one key."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.hits: list[tuple[Fraction, int]] = []

    def used(self, now: Fraction) -> int:
        raise NotImplementedError

    def add(self, cost: int, now: Fraction) -> None:
        self.hits.append((now, cost))


class FixedModel(Model):
    def used(self, now: Fraction) -> int:
        begins, total = -Fraction(self.seconds), 0
        for when, cost in self.hits:
            if when >= begins + self.seconds:
                begins, total = when, 0
            total += cost
        return total if now < begins + self.seconds else 0


class SlidingModel(Model):
    def used(self, now: Fraction) -> int:
        number = now // self.seconds
        last, this = (
            sum(cost for when, cost in self.hits if when // self.seconds == at) for at in (number - 1, number)
        )
        return floor(last * (self.seconds - now % self.seconds) / self.seconds) + this


class MovingModel(Model):
    def used(self, now: Fraction) -> int:
        return sum(cost for when, cost in self.hits if when > now - self.seconds)


MODELS = {"fixed-window": FixedModel, "sliding-window": SlidingModel, "moving-window": MovingModel}


def busiest(hits: Iterable[tuple[float, int]], seconds: int) -> int:
    """Return the most units in any stretch as long as a window, one end of it left out."""
    hits = list(hits)
    return max((sum(cost for at, cost in hits if when - seconds < at <= when) for when, _ in hits), default=0)
