"""Windows: each strategy counts as its model does, and says when there is room again."""

import gc
import sys
import tracemalloc
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.store.generations import Capacity, Windows
from secguard.store.quota import MOST, Strategy
from secguard.store.windows import STRATEGIES, FixedWindows, MovingWindows, SlidingWindows
from tests.store_models import MODELS, busiest

TODAY = 1_767_225_600.0  # a whole number of days, so of every window that divides one
ALL: list[Strategy] = ["fixed-window", "sliding-window", "moving-window"]
KEYS = (b"a", b"b", b"c")
YEAR = 366 * 86_400

every_strategy = pytest.mark.parametrize("strategy", ALL)
seconds = st.sampled_from([1, 2, 3, 7, 60, 3600, YEAR])
epochs = st.sampled_from([0.0, 1.0, TODAY, TODAY + 0.5])
amounts = st.integers(1, 8)
# Of a window: moments, parts with the borders among them, and some windows at once.
steps = st.one_of(st.just(0), st.integers(1, 64), st.sampled_from([63, 64, 65, 127, 128, 129, 191, 192, 193, 640]))
hits = st.lists(st.tuples(steps, st.sampled_from(KEYS), st.integers(1, 4)), max_size=60)


def windows_of(strategy: Strategy, seconds: int = 60) -> Windows[Any]:
    return STRATEGIES[strategy](seconds, Capacity(1_000_000))


def hit(windows: Windows[Any], key: bytes, cost: int, amount: int, now: float) -> bool:
    if windows.used(key, now) + cost > amount:
        return False
    windows.add(key, cost, now)
    return True


# --- what is admitted ---


@every_strategy
@given(seconds=seconds, epoch=epochs, amount=amounts, hits=hits)
def test_a_strategy_admits_exactly_what_its_model_admits(
    strategy: Strategy, seconds: int, epoch: float, amount: int, hits: list[tuple[int, bytes, int]]
) -> None:
    windows = windows_of(strategy, seconds)
    models = {key: MODELS[strategy](seconds) for key in KEYS}
    now = epoch
    for step, key, cost in hits:
        now += step * seconds / 64
        used = models[key].used(Fraction(now))
        assert windows.used(key, now) == used
        assert hit(windows, key, cost, amount, now) == (used + cost <= amount)
        if used + cost <= amount:
            models[key].add(cost, Fraction(now))
        assert windows.used(key, now) == models[key].used(Fraction(now))


floats = st.lists(st.tuples(st.floats(0, 1.5), st.integers(1, 3)), max_size=60)


def admitted(
    strategy: Strategy, seconds: int, epoch: float, amount: int, hits: list[tuple[float, int]]
) -> list[tuple[float, int]]:
    windows = windows_of(strategy, seconds)
    now, passed = epoch, []
    for step, cost in hits:
        now += step * seconds
        if hit(windows, b"a", cost, amount, now):
            passed.append((now, cost))
    return passed


@given(seconds=seconds, epoch=epochs, amount=amounts, hits=floats)
def test_a_moving_window_never_has_more_than_the_amount(
    seconds: int, epoch: float, amount: int, hits: list[tuple[float, int]]
) -> None:
    assert busiest(admitted("moving-window", seconds, epoch, amount, hits), seconds) <= amount


@given(seconds=seconds, epoch=epochs, amount=amounts, hits=floats)
def test_a_sliding_window_has_the_amount_in_a_window_of_the_clock_and_twice_that_in_any_stretch(
    seconds: int, epoch: float, amount: int, hits: list[tuple[float, int]]
) -> None:
    passed = admitted("sliding-window", seconds, epoch, amount, hits)
    for when, _ in passed:
        assert sum(cost for at, cost in passed if at // seconds == when // seconds) <= amount
    assert busiest(passed, seconds) <= 2 * amount


@given(seconds=seconds, epoch=st.just(TODAY), amount=amounts, hits=floats)
def test_a_fixed_window_has_the_amount_from_its_first_unit_on_and_twice_that_in_any_stretch(
    seconds: int, epoch: float, amount: int, hits: list[tuple[float, int]]
) -> None:
    passed = admitted("fixed-window", seconds, epoch, amount, hits)
    begins = -seconds * 1.0
    for when, _ in passed:
        if when >= begins + seconds:
            begins = when
            assert sum(cost for at, cost in passed if begins <= at < begins + seconds) <= amount
    assert busiest(passed, seconds) <= 2 * amount


@pytest.mark.parametrize("amount", [1, 2, 10, 1000])
def test_bursts_at_both_ends_are_the_worst_that_a_sliding_window_lets_through(amount: int) -> None:
    late, soon = TODAY + 60 * (1 - 1 / (4 * amount)), TODAY + 120 * (1 - 1 / (8 * amount))
    passed = admitted(
        "sliding-window", 60, late, amount, [*[(0.0, 1)] * (amount + 1), ((soon - late) / 60, 1), *[(0.0, 1)] * amount]
    )
    assert sum(cost for _, cost in passed) == busiest(passed, 60) + (0 if soon - late < 60 else amount) == 2 * amount


def test_a_sliding_window_has_a_steady_flow_at_the_amount() -> None:
    passed = admitted("sliding-window", 60, TODAY, 60, [(1 / 240, 1)] * 2400)  # four times as many, for ten windows
    assert len(passed) == pytest.approx(600, abs=60)
    assert busiest(passed, 60) <= 65


@pytest.mark.parametrize(
    ("last", "rest"),
    [pytest.param(49, 1, id="1/49 of 49"), pytest.param(98, 1, id="1/49 of 98"), pytest.param(3, 7, id="1/7")],
)
def test_what_the_last_window_counts_for_is_not_off_by_one(last: int, rest: int) -> None:
    windows = windows_of("sliding-window", 49)
    windows.used(b"a", 49.0)
    windows.add(b"a", last, 49.0)
    assert windows.used(b"a", 147.0 - rest) == last * rest // 49


@every_strategy
@given(epoch=st.floats(2**30, 2**32), seconds=st.integers(1, YEAR))
def test_a_window_is_as_long_as_it_says(strategy: Strategy, epoch: float, seconds: int) -> None:
    windows = windows_of(strategy, seconds)
    assert hit(windows, b"a", 3, 3, epoch)
    if strategy == "sliding-window":
        end = (epoch // seconds + 1) * seconds
        assert not hit(windows, b"a", 1, 3, max(end - 1e-5, epoch))
        assert not hit(windows, b"a", 1, 3, end)
    else:
        assert not hit(windows, b"a", 1, 3, epoch + seconds - 1e-5)
        assert hit(windows, b"a", 1, 3, epoch + seconds)


# --- the wait ---


@every_strategy
@given(seconds=st.sampled_from([1, 3, 60, 3600]), epoch=epochs, amount=amounts, hits=hits, cost=st.integers(1, 12))
def test_what_is_refused_passes_after_the_wait_and_not_before(
    strategy: Strategy, seconds: int, epoch: float, amount: int, hits: list[tuple[int, bytes, int]], cost: int
) -> None:
    windows = windows_of(strategy, seconds)
    now = epoch
    for step, _, some in hits:
        now += step * seconds / 64
        hit(windows, b"a", some, amount, now)
    used = windows.used(b"a", now)
    lacking = min(used + cost - amount, used)  # what costs more than there is waits until nothing is in use
    if lacking <= 0:
        assert 0 < windows.wait(b"a", now) <= seconds
        return
    wait = windows.wait(b"a", now, lacking)
    assert 0 <= wait <= 2 * seconds
    moment = seconds * 1e-4
    if wait > moment:
        assert windows.used(b"a", now + wait - moment) > used - lacking
    assert windows.used(b"a", now + wait + moment) <= used - lacking


@every_strategy
def test_nothing_in_use_waits_for_a_window_at_most(strategy: Strategy) -> None:
    windows = windows_of(strategy)
    assert windows.used(b"a", TODAY + 15) == 0
    assert windows.wait(b"a", TODAY + 15) == (45 if strategy == "sliding-window" else 60)


# --- taking back ---


@every_strategy
@given(costs=st.lists(st.integers(0, 3), min_size=1, max_size=9), back=st.integers(0, 40), step=st.integers(0, 59))
def test_what_is_given_back_is_free_again(strategy: Strategy, costs: list[int], back: int, step: int) -> None:
    windows = windows_of(strategy)
    for cost in costs:
        assert hit(windows, b"a", cost, MOST, TODAY)
    windows.give_back(b"a", back, TODAY + step)
    assert windows.used(b"a", TODAY + step) == max(sum(costs) - back, 0)


@every_strategy
def test_nobody_owes_anything_to_who_never_came(strategy: Strategy) -> None:
    windows = windows_of(strategy)
    windows.give_back(b"a", 5, TODAY)
    assert (windows.used(b"a", TODAY), len(windows), b"a" in windows) == (0, 0, False)


@every_strategy
def test_what_is_given_back_in_the_next_window_of_the_clock_was_counted_in_the_last(strategy: Strategy) -> None:
    windows = windows_of(strategy)
    hit(windows, b"a", 8, MOST, TODAY + 59)
    windows.give_back(b"a", 5, TODAY + 60)
    assert windows.used(b"a", TODAY + 60) == 3
    hit(windows, b"a", 1, MOST, TODAY + 60)
    windows.give_back(b"a", 2, TODAY + 60)
    assert windows.used(b"a", TODAY + 60) == 2


# --- what is kept ---


@every_strategy
@pytest.mark.parametrize("back", [0.001, 0.5])
def test_a_clock_that_goes_back_a_moment_forgets_nothing(strategy: Strategy, back: float) -> None:
    windows = windows_of(strategy)
    assert hit(windows, b"a", 1, 2, TODAY + 60)
    assert hit(windows, b"a", 1, 2, TODAY + 60 - back)
    assert not hit(windows, b"a", 1, 2, TODAY + 60)
    assert windows.used(b"a", TODAY + 60 - back) == 2
    assert windows.used(b"a", TODAY + 119 - back) == (0 if strategy == "moving-window" and back < 0 else 2)


def test_a_fixed_window_that_began_before_its_generation_ends_before_it_and_is_held_once() -> None:
    capacity = Capacity(9)
    windows = FixedWindows(60, capacity)
    windows.turn(TODAY + 60)
    assert hit(windows, b"a", 1, 1, TODAY + 59.5)
    assert not hit(windows, b"a", 1, 1, TODAY + 119)
    assert hit(windows, b"a", 1, 1, TODAY + 119.5)
    assert capacity.held == len(windows) == 1


def test_times_stay_in_order_when_the_clock_goes_back() -> None:
    windows = MovingWindows(60, Capacity(9))
    for now in (TODAY + 5, TODAY + 4, TODAY + 6):
        hit(windows, b"a", 1, 9, now)
    assert windows.used(b"a", TODAY + 64.5) == 3
    assert windows.used(b"a", TODAY + 65) == 1
    assert windows.oldest(b"a", TODAY + 65) == TODAY + 6
    assert windows.oldest(b"a", TODAY + 66) is None


@every_strategy
@pytest.mark.parametrize("windows_later", [2, 3, 1000])
def test_nothing_is_left_when_nobody_came_for_two_windows(strategy: Strategy, windows_later: int) -> None:
    capacity = Capacity(9)
    windows = STRATEGIES[strategy](60, capacity)
    hit(windows, b"a", 1, 9, TODAY + 59)
    windows.turn(TODAY + 60 * windows_later)
    assert (len(windows), capacity.held) == (0, 0)


@every_strategy
def test_a_key_that_comes_back_is_held_once(strategy: Strategy) -> None:
    capacity = Capacity(9)
    windows = STRATEGIES[strategy](60, capacity)
    for window in range(5):
        for key in KEYS:
            hit(windows, key, 1, 9, TODAY + window * 61)
            assert capacity.held == len(windows)
    assert len(windows) == len(KEYS)


@every_strategy
def test_what_is_forgotten_was_there_once(strategy: Strategy) -> None:
    capacity = Capacity(9)
    windows = STRATEGIES[strategy](60, capacity)
    hit(windows, b"old", 1, 9, TODAY)
    hit(windows, b"young", 1, 9, TODAY + 60)
    assert [windows.forget(key) for key in (b"old", b"old", b"young", b"stranger")] == [True, False, True, False]
    assert (len(windows), capacity.held) == (0, 0)


@every_strategy
def test_everything_is_forgotten_at_once(strategy: Strategy) -> None:
    capacity = Capacity(9)
    windows = STRATEGIES[strategy](60, capacity)
    hit(windows, b"old", 1, 9, TODAY)
    hit(windows, b"young", 1, 9, TODAY + 60)
    assert (windows.clear(), capacity.held, windows.used(b"young", TODAY + 60)) == (2, 0, 0)
    assert windows.clear() == 0


def test_a_fixed_window_counts_to_the_end_of_its_number_and_no_further() -> None:
    windows = FixedWindows(60, Capacity(9))
    for cost in (MOST, MOST, 2**40):
        windows.used(b"a", TODAY)
        windows.add(b"a", cost, TODAY)
    windows.add(b"b", 2**40, TODAY)
    assert windows.used(b"a", TODAY) == windows.used(b"b", TODAY) == 2**30 - 1
    assert windows.wait(b"a", TODAY + 20) == 40


def test_both_windows_of_the_clock_are_told() -> None:
    windows = SlidingWindows(60, Capacity(9))
    hit(windows, b"a", 4, 9, TODAY)
    assert windows.counts(b"a", TODAY + 15) == (0, 4, 45)
    assert windows.counts(b"a", TODAY + 70) == (4, 0, 50)
    hit(windows, b"a", 3, 9, TODAY + 70)
    assert windows.counts(b"a", TODAY + 70) == (4, 3, 50)
    assert windows.counts(b"a", TODAY + 121) == (3, 0, 59)


# --- what it takes ---

MANY = 200_000


def fill(windows: Windows[Any], now: float, count: int = MANY) -> None:
    for number in range(count):
        hit(windows, b"%016d" % number, 1, MOST, now)


@pytest.mark.parametrize("strategy", ["fixed-window", "sliding-window"])
def test_a_key_takes_150_bytes_at_most_the_key_itself_among_them(strategy: Strategy) -> None:
    windows = windows_of(strategy)
    tracemalloc.start()
    try:
        for window in range(2):
            fill(windows, TODAY + 70 * window)
            assert len(windows) == MANY
            assert tracemalloc.get_traced_memory()[0] <= 150 * MANY
    finally:
        tracemalloc.stop()


@every_strategy
def test_the_garbage_collector_has_no_more_to_walk_through(strategy: Strategy) -> None:
    windows = windows_of(strategy)
    hit(windows, b"a", 1, MOST, TODAY)
    gc.collect()
    before = len(gc.get_objects())
    fill(windows, TODAY, 10_000)
    assert len(gc.get_objects()) < before + 100
    if sys.version_info < (3, 14):  # from there on every dict is tracked
        assert not any(gc.is_tracked(generation) for generation in (windows._young, windows._old))
