"""Numbers with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from statistics import median, quantiles


class NotMeasuredError(Exception):
    """Says why a part could not be measured."""


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles."""

    low: float
    middle: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f} to {self.high:.2f})"


def spread(values: Sequence[float]) -> Spread:
    low, _, high = quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return Spread(low, median(values), high)


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Divide by the median of the other: round by round, one odd denominator would drown the rest."""
    divisor = median(below)
    return spread([value / divisor for value in above]) if divisor > 0 else Spread(nan, nan, nan)
