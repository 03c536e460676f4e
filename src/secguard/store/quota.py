"""What a store counts: Quotas, the Demands of a request on them, and how they stand afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

Strategy: TypeAlias = Literal["fixed-window", "sliding-window", "moving-window"]

MOST: Final = 10**9  # units of a quota: what counts are packed into has room for 2^30


@dataclass(frozen=True, slots=True, eq=False)
class Quota:
    """So many units in so many seconds, for each key.

    Everything with the same `bucket`, amount, window and strategy is counted together, in every process that shares a
    store. `label` is what clients are told it is called. Quotas are compared by identity, which is fast: whoever makes
    them makes each of them once.

    `together` keeps all keys of the quota on one node of a cluster: demands with a sponsor need both of theirs there.
    """

    bucket: str
    amount: int
    seconds: int
    strategy: Strategy = "sliding-window"
    together: bool = False
    label: str = ""

    @property
    def shape(self) -> tuple[str, int, int, Strategy]:
        """What two that are counted together have in common."""
        return self.bucket, self.amount, self.seconds, self.strategy


class Demand(NamedTuple):
    """What a request wants of one quota: `cost` units for its key.

    Where `sponsor` is given, it is a key of the same quota, and pays too as long as nothing is counted for `key`: so
    that nobody gets more by inventing keys.
    """

    quota: Quota
    key: bytes
    cost: int = 1
    sponsor: bytes | None = None


Told: TypeAlias = tuple["Quota", int, float, bool, bool]
"""A Standing, or the bare tuple of it, which takes a tenth of the time to make."""


class Standing(NamedTuple):
    """How a quota stands for a key.

    `remaining` is in units. `wait` is in seconds: until there may be more, and where the request was refused, until the
    same one would pass. `blocked` tells that somebody has shut the key out, whatever was counted.
    """

    quota: Quota
    remaining: int
    wait: float
    refused: bool = False
    blocked: bool = False
