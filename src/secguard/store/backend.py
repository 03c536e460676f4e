"""What a shared store can do, and the one way in which it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from secguard.store.quota import Demand, Standing


class StoreOutError(Exception):
    """The store did not answer, or what it answered is of no use. Nothing is known to be counted."""


class Backend(Protocol):
    """Where counts are. Each method raises StoreOutError when the store is out."""

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Close all connections."""

    async def probe(self) -> None:
        """Do what needs a store that works."""

    async def take(self, demands: Sequence[Demand]) -> list[Standing]:
        """Count all demands, if there is room for each of them, and return how their quotas stand."""

    async def peek(self, demands: Sequence[Demand]) -> list[Standing]:
        """Return how the quotas stand, and count nothing."""

    async def give_back(self, demands: Sequence[Demand]) -> None:
        """Take back what was counted last for these demands."""

    async def reset(self, demands: Sequence[Demand]) -> None:
        """Forget what was counted for these keys, and let them in again."""

    async def block(self, demands: Sequence[Demand], seconds: float) -> None:
        """Refuse these keys for some time."""
