"""The embedded storage: every strategy of limits gives with it what it gives with limits' own memory storage."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerHour, RateLimitItemPerMinute, RateLimitItemPerSecond, parse
from limits.aio import strategies
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import RateLimiter
from limits.errors import ConfigurationError
from limits.limits import RateLimitItem
from limits.storage import StorageTypes, storage_from_string

from secguard.store.embedded import EmbeddedStorage
from secguard.store.quota import Demand, Quota
from tests.helpers import Clock

TODAY = 1_767_225_600.0
KEYS = ("a", "b")
LIMITERS: dict[str, Callable[[StorageTypes], RateLimiter]] = {**strategies.STRATEGIES}

every_limiter = pytest.mark.parametrize("name", LIMITERS)


def storage_of(max_keys: int = 1000) -> tuple[EmbeddedStorage, Clock, list[float]]:
    """Return a storage, its clock, and when it said that it is full."""
    clock = Clock(TODAY)
    said: list[float] = []
    return EmbeddedStorage(max_keys=max_keys, clock=clock, full=lambda: said.append(clock.now)), clock, said


def at_once(work: Awaitable[Any]) -> Any:
    """Run what waits for nothing: no loop runs it."""
    steps = work.__await__()
    with pytest.raises(StopIteration) as done:
        next(steps)
    return done.value.value


# --- the contract of limits ---

items = st.builds(
    lambda kind, amount, multiples: kind(amount, multiples),
    st.sampled_from([RateLimitItemPerSecond, RateLimitItemPerMinute, RateLimitItemPerHour]),
    st.integers(1, 6),
    st.integers(1, 3),
)
calls = st.tuples(
    st.sampled_from([0, 0, 1, 3, 32, 63, 64, 65, 96, 128, 200, 1000]),  # 1/64 of a window
    st.sampled_from(["hit", "hit", "hit", "test", "stats", "clear"]),
    st.integers(0, 1),
    st.sampled_from(KEYS),
    st.integers(1, 7),
)


async def ask(limiter: RateLimiter, call: str, item: RateLimitItem, key: str, cost: int, now: float) -> Any:
    if call == "hit":
        return await limiter.hit(item, key, cost=cost)
    if call == "test":
        return await limiter.test(item, key, cost=cost)
    if call == "clear":
        return await limiter.clear(item, key)
    reset, remaining = await limiter.get_window_stats(item, key)
    # Where there is nothing to wait for, limits tells a moment that is now or was.
    return (max(round(reset, 5), now) if remaining < item.amount else now), remaining


@every_limiter
@given(some=st.lists(items, min_size=2, max_size=2), calls=st.lists(calls, max_size=40))
def test_a_strategy_answers_as_it_does_with_limits_own_storage(
    name: str, some: list[RateLimitItem], calls: Sequence[tuple[int, str, int, str, int]]
) -> None:
    clock = Clock(TODAY)
    theirs, ours = LIMITERS[name](MemoryStorage()), LIMITERS[name](EmbeddedStorage(clock=clock))

    async def compare() -> None:
        for step, call, at, key, cost in calls:
            clock.now += step * some[at].get_expiry() / 64
            if name == "moving-window":
                clock.now += 2**-12  # the one end of a window that ours leaves out is never met
            with patch("time.time", clock):
                expected = await ask(theirs, call, some[at], key, cost, clock.now)
                assert await ask(ours, call, some[at], key, cost, clock.now) == expected

    asyncio.run(compare())


def test_a_unit_of_a_moving_window_is_free_again_a_window_later_and_in_limits_a_moment_after_that() -> None:
    clock = Clock(TODAY)
    item = parse("1/minute")

    async def hits(limiter: RateLimiter) -> list[bool]:
        found = []
        for clock.now in (TODAY, TODAY + 60, TODAY + 60.001):
            with patch("time.time", clock):
                found.append(await limiter.hit(item, "a"))
        return found

    moving = LIMITERS["moving-window"]
    assert asyncio.run(hits(moving(MemoryStorage()))) == [True, False, True]
    assert asyncio.run(hits(moving(EmbeddedStorage(clock=clock)))) == [True, True, False]


def test_limits_makes_one_by_its_scheme() -> None:
    storage = storage_from_string("async+secguard://", max_keys=1)
    assert isinstance(storage, EmbeddedStorage)
    assert [at_once(storage.incr(key, 60)) for key in "abc"] == [1, 1, 2]
    with pytest.raises(ConfigurationError):
        storage_from_string("secguard://")


@every_limiter
def test_nothing_waits(name: str) -> None:
    storage, _, _ = storage_of()
    limiter, item = LIMITERS[name](storage), parse("2/minute")
    assert [at_once(limiter.hit(item, "a")) for _ in range(3)] == [True, True, False]
    assert at_once(limiter.test(item, "a")) is False
    at_once(limiter.clear(item, "a"))
    assert at_once(limiter.test(item, "a", cost=2)) is True
    assert at_once(storage.check()) is True


@pytest.mark.parametrize("wrap", [True, False])
def test_an_error_is_nobody_elses(wrap: bool) -> None:
    storage = EmbeddedStorage(wrap_exceptions=wrap)
    with pytest.raises(TypeError):  # and no StorageError: the storage is in order
        at_once(storage.incr("a", "60"))  # type: ignore[arg-type]


# --- one by one ---


def test_a_fixed_window_tells_its_count_and_its_end() -> None:
    storage, clock, _ = storage_of()
    assert (at_once(storage.get("a")), at_once(storage.get_expiry("a"))) == (0, TODAY)
    assert [at_once(storage.incr("a", 60)), at_once(storage.incr("a", 60, 5)), at_once(storage.incr("b", 30))] == [
        1,
        6,
        1,
    ]
    clock.move(10)
    assert (at_once(storage.get("a")), at_once(storage.get_expiry("a"))) == (6, TODAY + 60)
    assert (at_once(storage.get("b")), at_once(storage.get_expiry("b"))) == (1, TODAY + 30)
    clock.move(50)
    assert (at_once(storage.get("a")), at_once(storage.get_expiry("a"))) == (0, TODAY + 60)
    assert at_once(storage.incr("a", 60)) == 1


def test_a_moving_window_tells_its_count_and_its_beginning() -> None:
    storage, clock, _ = storage_of()
    assert at_once(storage.get_moving_window("a", 9, 60)) == (TODAY, 0)
    for cost in (2, 3):
        clock.move(20)
        assert at_once(storage.acquire_entry("a", 9, 60, cost))
    assert at_once(storage.get_moving_window("a", 9, 60)) == (TODAY + 20, 5)
    clock.move(40)
    assert at_once(storage.get_moving_window("a", 9, 60)) == (TODAY + 40, 3)
    clock.move(20)
    assert at_once(storage.get_moving_window("a", 9, 60)) == (TODAY + 100, 0)


def test_a_sliding_window_tells_both_windows_and_how_long_they_count() -> None:
    storage, clock, _ = storage_of()
    assert at_once(storage.get_sliding_window("a", 60)) == (0, 0.0, 0, 120)
    clock.move(15)
    assert at_once(storage.acquire_sliding_window_entry("a", 9, 60, 4))
    assert at_once(storage.get_sliding_window("a", 60)) == (0, 0.0, 4, 105)
    clock.move(60)
    assert at_once(storage.acquire_sliding_window_entry("a", 9, 60, 1))
    assert at_once(storage.get_sliding_window("a", 60)) == (4, 45, 1, 105)


Acquire = Callable[[EmbeddedStorage, str, int, int], Awaitable[bool]]
ACQUIRE: dict[str, Acquire] = {
    "moving": lambda storage, key, limit, amount: storage.acquire_entry(key, limit, 60, amount),
    "sliding": lambda storage, key, limit, amount: storage.acquire_sliding_window_entry(key, limit, 60, amount),
}


@pytest.mark.parametrize("acquire", ACQUIRE.values(), ids=ACQUIRE)
def test_more_than_the_limit_is_never_acquired(acquire: Acquire) -> None:
    storage, _, _ = storage_of()
    assert not at_once(acquire(storage, "a", 5, 6))
    assert at_once(acquire(storage, "a", 5, 5))
    assert not at_once(acquire(storage, "a", 5, 1))
    assert at_once(acquire(storage, "a", 6, 1))


def test_no_limit_is_too_high_to_be_counted() -> None:
    storage, _, _ = storage_of()
    most = 10**9
    assert at_once(storage.acquire_sliding_window_entry("a", 2**40, 60, most))
    assert not at_once(storage.acquire_sliding_window_entry("a", 2**40, 60, 1))


def test_strategies_count_for_themselves_and_clear_where_they_are_told_to() -> None:
    storage, _, _ = storage_of()
    at_once(storage.incr("a", 60))
    at_once(storage.acquire_entry("a", 9, 60))
    at_once(storage.acquire_sliding_window_entry("a", 9, 60))
    at_once(storage.clear("a"))
    assert (at_once(storage.get("a")), at_once(storage.get_moving_window("a", 9, 60))) == (0, (TODAY, 0))
    assert at_once(storage.get_sliding_window("a", 60)) == (0, 0.0, 1, 120)
    at_once(storage.clear_sliding_window("a", 60))
    assert at_once(storage.get_sliding_window("a", 60)) == (0, 0.0, 0, 120)
    assert len(storage.counts) == 0


def test_reset_says_how_many_keys_it_forgets() -> None:
    storage, _, _ = storage_of()
    for key in "abc":
        at_once(storage.incr(key, 60))
    at_once(storage.acquire_entry("a", 9, 30))
    assert (at_once(storage.reset()), at_once(storage.reset()), at_once(storage.get("a"))) == (4, 0, 0)


# --- room ---


@every_limiter
def test_new_keys_share_what_is_left_when_there_is_no_room(name: str) -> None:
    storage, clock, said = storage_of(max_keys=100)
    limiter, item = LIMITERS[name](storage), parse("3/minute")
    passed = [at_once(limiter.hit(item, f"flood {number}")) for number in range(1000)]
    assert sum(passed) == 100 + 3
    assert len(storage.counts) == 101
    assert said == [TODAY]
    # Those that were there first have what they had, and a newcomer is told what all share.
    assert at_once(limiter.get_window_stats(item, "flood 0")).remaining == 2
    assert at_once(limiter.get_window_stats(item, "newcomer")).remaining == 0
    assert not at_once(limiter.test(item, "newcomer"))
    clock.move(121)
    assert at_once(limiter.hit(item, "newcomer"))


def test_a_key_of_another_length_keeps_its_count_beside_an_overflow() -> None:
    storage, _, _ = storage_of(max_keys=1)
    at_once(storage.incr("a", 60))
    at_once(storage.get("stranger"))
    assert (at_once(storage.get("stranger")), at_once(storage.get_expiry("stranger"))) == (0, TODAY)
    for _ in range(5):
        at_once(storage.incr("stranger", 30))
    assert (at_once(storage.get("a")), at_once(storage.get_expiry("a"))) == (1, TODAY + 60)
    assert (at_once(storage.get("stranger")), at_once(storage.get_expiry("stranger"))) == (5, TODAY + 30)


def test_demands_and_limits_share_room_and_clock() -> None:
    storage, _, said = storage_of(max_keys=2)
    demand = [Demand(Quota("q", 5, 60), b"a")]
    assert storage.counts.take(demand)[0].remaining == 4
    assert [at_once(storage.incr(key, 60)) for key in "abc"] == [1, 1, 2]
    assert said == [TODAY]
    assert storage.counts.take(demand)[0].remaining == 3
