"""One contract for counts: in memory and in a server, the same demands at the same times stand the same way."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from itertools import count
from math import floor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.store.memory import MemoryCounts
from secguard.store.quota import Demand, Quota, Strategy
from tests.helpers import Clock
from tests.valkey import ClockedCounts

STRATEGIES: list[Strategy] = ["fixed-window", "sliding-window", "moving-window"]
TICK = 1 / 8  # seconds: so many of them are exact in binary, and no rounding makes a difference between the two
START = 1_700_000_000.0
KEYS = [b"", b"\x00{one}:*\r\n"]

_numbers = count()  # a bucket of its own for each example: nothing is left of the one before


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(scope="module")
def redis(valkey_url: str, loop: asyncio.AbstractEventLoop) -> Iterator[ClockedCounts]:
    counts = ClockedCounts(valkey_url, lambda: START)
    yield counts
    loop.run_until_complete(counts.close())


@st.composite
def quotas(draw: st.DrawFn) -> list[Quota]:
    number = next(_numbers)
    drawn = draw(
        st.lists(
            st.tuples(st.integers(1, 6), st.sampled_from([1, 2, 7, 60]), st.sampled_from(STRATEGIES)),
            min_size=1,
            max_size=3,
        )
    )
    return [Quota(f"{number}/{place}", *it, together=place % 2 == 1) for place, it in enumerate(drawn)]


wishes = st.tuples(
    st.integers(0, 2),  # which quota
    st.tuples(st.sampled_from(KEYS), st.sampled_from([1, 1, 1, 2, 3, 7]), st.sampled_from([None, None, *KEYS])),
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["take"] * 8 + ["peek", "give_back", "give_back", "reset", "block"]),
        st.sampled_from([0, 0, 0, 1, 2, 3, 5, 8, 20, 61, 480]),  # ticks that pass
        st.lists(wishes, min_size=1, max_size=3),
    ),
    min_size=5,
    max_size=40,
)


@given(quotas=quotas(), steps=steps)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_server_counts_as_memory_does(
    quotas: list[Quota],
    steps: list[tuple[str, int, list[tuple[int, tuple[bytes, int, bytes | None]]]]],
    redis: ClockedCounts,
    loop: asyncio.AbstractEventLoop,
) -> None:
    clock = redis.clock = Clock(START)
    memory = MemoryCounts(clock)

    def both(method: str, *args: Any) -> None:
        expected = getattr(memory, method)(*args)
        found = loop.run_until_complete(getattr(redis, method)(*args))
        if expected is not None:
            assert [it._replace(wait=0) for it in found] == [it._replace(wait=0) for it in expected]
            # The server has its waits in whole microseconds.
            assert [it.wait for it in found] == pytest.approx([it.wait for it in expected], abs=0.00001)

    for method, ticks, wanted in steps:
        clock.move(ticks * TICK)
        demands = [Demand(quotas[place % len(quotas)], *rest) for place, rest in wanted]
        both(method, demands, *([ticks * TICK] if method == "block" else []))
        both("peek", [Demand(quota, key, 2) for quota in quotas for key in KEYS])


class Model:
    """What a strategy admits, written down plainly: everything that was ever counted, and when."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.units: list[float] = []

    def used(self, now: float) -> int:
        seconds = self.quota.seconds
        match self.quota.strategy:
            case "moving-window":
                return sum(now - seconds < unit <= now for unit in self.units)
            case "sliding-window":
                this = now // seconds
                last = sum(unit // seconds == this - 1 for unit in self.units)
                rest = (seconds - now % seconds) / seconds
                return floor(last * rest) + sum(unit // seconds == this for unit in self.units)
            case "fixed-window":
                begins = -float("inf")
                for unit in self.units:
                    begins = unit if unit >= begins + seconds else begins
                return sum(unit >= begins for unit in self.units) if now < begins + seconds else 0

    def take(self, cost: int, now: float) -> bool:
        admitted = self.used(now) + cost <= self.quota.amount
        self.units += [now] * cost * admitted
        return admitted


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(
    amount=st.integers(1, 8),
    seconds=st.sampled_from([1, 3, 60]),
    steps=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), max_size=60),
)
@settings(max_examples=60, deadline=None)
def test_admits_what_a_plain_model_admits(
    strategy: Strategy,
    amount: int,
    seconds: int,
    steps: list[tuple[int, int]],
    redis: ClockedCounts,
    loop: asyncio.AbstractEventLoop,
) -> None:
    clock = redis.clock = Clock(START)
    quota = Quota(f"model {next(_numbers)}", amount, seconds, strategy)
    model = Model(quota)
    for ticks, cost in steps:
        clock.move(ticks * TICK)
        (standing,) = loop.run_until_complete(redis.take([Demand(quota, b"somebody", cost)]))
        assert standing.refused is not model.take(cost, clock())
        assert standing.remaining == max(amount - model.used(clock()), 0)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(
    steps=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), min_size=1, max_size=20),
    cost=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_what_was_refused_passes_after_its_wait_and_not_before(
    strategy: Strategy, steps: list[tuple[int, int]], cost: int, redis: ClockedCounts, loop: asyncio.AbstractEventLoop
) -> None:
    clock = redis.clock = Clock(START)
    quota = Quota(f"waits {next(_numbers)}", 4, 7, strategy)
    for ticks, spent in steps:
        clock.move(ticks * TICK)
        loop.run_until_complete(redis.take([Demand(quota, b"somebody", spent)]))
    demands = [Demand(quota, b"somebody", cost)]
    (standing,) = loop.run_until_complete(redis.peek(demands))
    if standing.refused:
        clock.move(max(standing.wait - 0.001, 0))
        assert loop.run_until_complete(redis.peek(demands))[0].refused
        clock.move(0.002)
        assert not loop.run_until_complete(redis.take(demands))[0].refused


def test_methods_are_those_of_the_memory() -> None:
    for name in ("take", "give_back", "peek", "reset", "block"):
        theirs, ours = (inspect.signature(getattr(cls, name)) for cls in (MemoryCounts, ClockedCounts))
        assert theirs == ours
