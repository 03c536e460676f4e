"""Counts in memory: all of a request's or none, bounded, and none is forgotten."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from secguard.store.generations import Capacity
from secguard.store.memory import OVERFLOW, MemoryCounts
from secguard.store.quota import Demand, Quota, Standing, Strategy
from tests.helpers import Clock
from tests.store_models import MODELS, Model

TODAY = 1_767_225_600.0
ALL: list[Strategy] = ["fixed-window", "sliding-window", "moving-window"]

every_strategy = pytest.mark.parametrize("strategy", ALL)


def counts_of(max_keys: int = 1000) -> tuple[MemoryCounts, Clock, list[float]]:
    """Return counts, their clock, and when they said that they are full."""
    clock = Clock(TODAY)
    said: list[float] = []
    return MemoryCounts(clock, max_keys, lambda: said.append(clock.now)), clock, said


def admits(standings: Sequence[Standing]) -> bool:
    return not any(standing.refused for standing in standings)


# --- all or none ---

QUOTAS = [
    Quota("burst", 3, 1, "moving-window"),
    Quota("minute", 5, 60, "sliding-window"),
    Quota("hour", 8, 3600, "fixed-window"),
]
demanded = st.dictionaries(st.sampled_from(range(3)), st.tuples(st.sampled_from([b"a", b"b"]), st.integers(1, 4)))
requests = st.lists(st.tuples(st.sampled_from([0, 0, 1, 32, 64, 640, 3840, 64 * 3600]), demanded), max_size=40)


@given(requests=requests)
def test_a_request_counts_for_all_its_quotas_or_for_none(
    requests: list[tuple[int, dict[int, tuple[bytes, int]]]],
) -> None:
    counts, clock, _ = counts_of()
    models: dict[tuple[int, bytes], Model] = {}
    for step, wanted in requests:
        clock.now += step / 64
        now = Fraction(clock.now)
        lefts = []
        for at, (key, cost) in wanted.items():
            quota = QUOTAS[at]
            model = models.setdefault((at, key), MODELS[quota.strategy](quota.seconds))
            lefts.append(quota.amount - model.used(now) - cost)
        admitted = all(left >= 0 for left in lefts)
        demands = [Demand(QUOTAS[at], key, cost) for at, (key, cost) in wanted.items()]
        peeked = counts.peek(demands)
        standings = counts.take(demands)
        assert [standing.refused for standing in standings] == [left < 0 for left in lefts]
        assert [standing.refused for standing in peeked] == [left < 0 for left in lefts]
        for standing, (at, (key, cost)), left in zip(standings, wanted.items(), lefts, strict=True):
            assert standing.remaining == (left if admitted else left + cost)
            if admitted:
                models[at, key].add(cost, now)
        if not admitted:
            assert standings == peeked


@every_strategy
def test_what_another_quota_refuses_costs_nothing_here(strategy: Strategy) -> None:
    counts, _, _ = counts_of()
    wide, narrow = Quota("wide", 9, 60, strategy), Quota("narrow", 1, 60, strategy)
    both = [Demand(wide, b"a", 2), Demand(narrow, b"a")]
    assert [standing.remaining for standing in counts.take(both)] == [7, 0]
    for _ in range(3):
        first, second = counts.take(both)
        assert (first.remaining, first.refused) == (7, False)
        assert (second.remaining, second.refused, second.wait) == (0, True, 60)
    assert counts.peek([Demand(wide, b"a")])[0].remaining == 7


def test_nothing_is_demanded() -> None:
    counts, _, _ = counts_of()
    assert counts.take([]) == counts.peek([]) == []


@every_strategy
def test_who_is_refused_passes_after_the_wait(strategy: Strategy) -> None:
    counts, clock, _ = counts_of()
    quota = Quota("q", 5, 60, strategy)
    for cost in (2, 1, 2):
        counts.take([Demand(quota, b"a", cost)])
        clock.now += 7
    (refused,) = counts.take([Demand(quota, b"a", 3)])
    assert refused.refused
    clock.now += refused.wait - 0.001
    assert not admits(counts.take([Demand(quota, b"a", 3)]))
    clock.now += 0.002
    assert admits(counts.take([Demand(quota, b"a", 3)]))


@every_strategy
@pytest.mark.parametrize("spent", [0, 2])
def test_what_costs_more_than_there_is_waits_for_the_best_that_may_be(strategy: Strategy, spent: int) -> None:
    counts, clock, _ = counts_of()
    quota = Quota("q", 5, 60, strategy)
    counts.take([Demand(quota, b"a", spent)])
    (refused,) = counts.take([Demand(quota, b"a", 6)])
    assert (refused.refused, refused.remaining) == (True, 5 - spent)
    assert 0 < refused.wait <= 120
    clock.now += refused.wait + 0.001
    assert counts.peek([Demand(quota, b"a")])[0].remaining == 5


@every_strategy
def test_keys_of_other_quotas_and_windows_are_others(strategy: Strategy) -> None:
    counts, _, _ = counts_of()
    quotas = [Quota("q", 1, 60, strategy), Quota("q", 1, 60, strategy), Quota("q", 1, 61, strategy)]
    for quota in quotas:
        assert admits(counts.take([Demand(quota, b"a")]))
        assert not admits(counts.take([Demand(quota, b"a")]))
    assert len(counts) == 3


# --- sponsors ---


@every_strategy
def test_a_new_key_is_paid_for_by_its_sponsor_as_well(strategy: Strategy) -> None:
    counts, _, _ = counts_of()
    quota = Quota("q", 3, 60, strategy)
    for number in range(3):
        assert admits(counts.take([Demand(quota, b"session %d" % number, 1, b"address")]))
    (refused,) = counts.take([Demand(quota, b"session 3", 1, b"address")])
    assert (refused.refused, refused.remaining, refused.wait) == (True, 0, 60)
    assert counts.peek([Demand(quota, b"session 3")])[0].remaining == 3  # nothing was counted for it
    # Those that are known go on, at nobody else's cost.
    assert admits(counts.take([Demand(quota, b"session 0", 2, b"address")]))
    assert not admits(counts.take([Demand(quota, b"session 0", 1, b"address")]))


@every_strategy
def test_a_key_that_is_its_own_sponsor_pays_once(strategy: Strategy) -> None:
    counts, _, _ = counts_of()
    assert counts.take([Demand(Quota("q", 3, 60, strategy), b"a", 1, b"a")])[0].remaining == 2


@every_strategy
def test_what_a_sponsor_paid_is_given_back_with_the_rest(strategy: Strategy) -> None:
    counts, _, _ = counts_of()
    quota = Quota("q", 3, 60, strategy)
    demand = Demand(quota, b"session", 2, b"address")
    counts.take([demand])
    counts.give_back([demand])
    assert [counts.peek([Demand(quota, key)])[0].remaining for key in (b"session", b"address")] == [3, 3]
    counts.take([demand])
    counts.take([demand._replace(cost=1)])  # which the sponsor has no part in
    counts.give_back([demand._replace(cost=1)])
    assert [counts.peek([Demand(quota, key)])[0].remaining for key in (b"session", b"address")] == [1, 1]


# --- room ---


def flood(counts: MemoryCounts, quota: Quota, count: int, start: int = 0) -> list[bool]:
    return [admits(counts.take([Demand(quota, b"flood %d" % number)])) for number in range(start, start + count)]


@every_strategy
def test_a_flood_forgets_no_count_and_shares_what_is_left(strategy: Strategy) -> None:
    counts, clock, said = counts_of(max_keys=500)
    quota = Quota("q", 10, 60, strategy)
    regulars = [Demand(quota, b"regular %d" % number, 4) for number in range(50)]
    for regular in regulars:
        counts.take([regular])
    passed = flood(counts, quota, 5000)
    assert sum(passed) == 450 + 10  # those there was room for, and the amount for all others together
    assert len(counts) == 501
    for _ in range(2):
        assert counts.take([regulars[0]])[0].refused is (_ == 1)
    assert [counts.peek([regular])[0].remaining for regular in regulars] == [2, *[6] * 49]
    assert said == [TODAY]
    assert counts.peek([Demand(quota, b"somebody new")])[0].refused
    clock.now += 121
    assert all(flood(counts, quota, 500, start=10**6))
    assert len(counts) == 500


@every_strategy
def test_that_it_is_full_is_said_once_a_minute_and_again_when_it_is_full_again(strategy: Strategy) -> None:
    counts, clock, said = counts_of(max_keys=10)
    quota = Quota("q", 10**6, 3600, strategy)
    flood(counts, quota, 30)
    clock.now += 59
    flood(counts, quota, 30, start=100)
    assert said == [TODAY]
    clock.now += 1
    flood(counts, quota, 30, start=200)
    assert said == [TODAY, TODAY + 60]
    clock.now = TODAY + 9000
    flood(counts, quota, 10, start=300)
    assert said == [TODAY, TODAY + 60]
    flood(counts, quota, 1, start=310)
    assert said == [TODAY, TODAY + 60, TODAY + 9000]
    clock.now -= 10**6
    flood(counts, quota, 20, start=400)
    assert len(said) == 4


def test_room_that_another_quota_has_left_is_found() -> None:
    counts, clock, said = counts_of(max_keys=10)
    brief, long = Quota("brief", 1, 1), Quota("long", 1, 3600)
    flood(counts, brief, 10)
    clock.now += 5
    assert all(flood(counts, long, 10))
    assert (len(counts), said) == (10, [])


@every_strategy
def test_one_request_with_many_new_keys_stays_within_the_room(strategy: Strategy) -> None:
    counts, _, said = counts_of(max_keys=10)
    quotas = [Quota("q", 10, 60, strategy) for _ in range(4)]
    for number in range(20):
        counts.take([Demand(quota, b"%d" % number, 1, b"sponsor %d" % number) for quota in quotas])
    assert len(counts) <= 10 + len(quotas)
    assert said == [TODAY]


@every_strategy
def test_a_request_with_known_keys_leaves_the_last_room_to_a_new_one(strategy: Strategy) -> None:
    counts, _, said = counts_of(max_keys=3)
    quotas = [Quota("q", 10, 60, strategy) for _ in range(3)]
    counts.take([Demand(quota, b"known") for quota in quotas[:2]])
    counts.take([Demand(quota, b"known") for quota in quotas])
    assert (len(counts), said) == (3, [])


@every_strategy
def test_overflow_is_given_back_too(strategy: Strategy) -> None:
    counts, _, _ = counts_of(max_keys=1)
    quota = Quota("q", 2, 60, strategy)
    counts.take([Demand(quota, b"first")])
    stranger = [Demand(quota, b"stranger", 2)]
    assert admits(counts.take(stranger))
    assert not admits(counts.take([Demand(quota, b"another")]))
    counts.give_back(stranger)
    assert admits(counts.take([Demand(quota, b"another", 2, b"a sponsor there is no room for")]))
    assert len(counts) == 2


def test_keys_are_freed_by_handfuls_and_faster_than_they_come() -> None:
    capacity = Capacity(10_000)
    capacity.held = 5300
    generation: dict[object, int] = dict.fromkeys(range(5000), 0)
    few: dict[object, int] = dict.fromkeys(range(200), 0)
    capacity.drop(generation)
    capacity.drop(few)  # which is freed at once
    assert (capacity.held, capacity.unfreed) == (100, 5000)
    before = 5000
    while capacity.unfreed:
        capacity.grow()
        assert before - 32 <= capacity.unfreed < before
        before = capacity.unfreed
    assert capacity.held < 5000
    capacity.grow()
    assert capacity.unfreed == 0


def waves(counts: MemoryCounts, clock: Clock, quotas: Sequence[Quota]) -> Iterator[int]:
    for wave in range(12):
        clock.now += 17
        for number in range(700):
            counts.take([Demand(quotas[wave % len(quotas)], b"%d %d" % (wave, number))])
            yield counts._capacity.unfreed + counts._capacity.held


@every_strategy
def test_what_is_held_and_what_is_not_yet_freed_are_never_more_than_there_may_be(strategy: Strategy) -> None:
    counts, clock, _ = counts_of(max_keys=2000)
    quotas = [Quota("q", 1, seconds, strategy) for seconds in (1, 20, 60)]
    assert max(waves(counts, clock, quotas)) <= 2000 + len(quotas)


# --- what code asks for ---


@every_strategy
def test_a_blocked_key_waits_for_that_and_nobody_else_does(strategy: Strategy) -> None:
    counts, clock, _ = counts_of()
    quota = Quota("q", 5, 3600, strategy)
    bad = [Demand(quota, b"bad")]
    counts.take(bad)
    counts.block(bad, 10)
    for standing in (*counts.take(bad), *counts.peek(bad)):
        assert standing == Standing(quota, 4, 10, refused=True, blocked=True)
    assert admits(counts.take([Demand(quota, b"good")]))
    assert admits(counts.take([Demand(Quota("another", 5, 60, strategy), b"bad")]))
    clock.now += 10
    assert counts.take(bad)[0].remaining == 3


@every_strategy
def test_a_block_and_an_empty_quota_wait_for_the_longer_of_both(strategy: Strategy) -> None:
    counts, _, _ = counts_of()
    quota = Quota("q", 1, 60, strategy)
    bad = [Demand(quota, b"bad")]
    counts.take(bad)
    counts.block(bad, 7)
    assert counts.take(bad) == [Standing(quota, 0, 60, refused=True, blocked=True)]
    counts.block(bad, 700)
    assert counts.take(bad) == [Standing(quota, 0, 700, refused=True, blocked=True)]


def test_a_blocked_key_is_blocked_when_there_is_no_room_for_it() -> None:
    counts, _, _ = counts_of(max_keys=1)
    quota = Quota("q", 5, 60)
    flood(counts, quota, 2)
    counts.block([Demand(quota, b"bad")], 10)
    (standing,) = counts.take([Demand(quota, b"bad")])
    assert (standing.refused, standing.blocked) == (True, True)
    assert admits(counts.take([Demand(quota, b"good")]))


def test_blocks_that_are_over_are_not_kept() -> None:
    counts, clock, _ = counts_of()
    quota = Quota("q", 5, 60)
    for number in range(10_000):
        clock.now += 1
        counts.block([Demand(quota, b"%d" % number)], 10)
    assert len(counts._blocked) <= 1024
    assert sum(counts.peek([Demand(quota, b"%d" % number)])[0].blocked for number in range(10_000)) == 10
    assert len(counts._blocked) == 10


@every_strategy
def test_reset_lets_a_key_in_again(strategy: Strategy) -> None:
    counts, _, _ = counts_of()
    quota = Quota("q", 1, 60, strategy)
    for key in (b"a", b"b"):
        counts.take([Demand(quota, key)])
        counts.block([Demand(quota, key)], 10)
    counts.reset([Demand(quota, b"a"), Demand(quota, b"stranger")])
    assert (admits(counts.take([Demand(quota, b"a")])), admits(counts.take([Demand(quota, b"b")]))) == (True, False)


@every_strategy
def test_clear_forgets_everybody(strategy: Strategy) -> None:
    counts, _, _ = counts_of()
    quota = Quota("q", 1, 60, strategy)
    for key in (b"a", b"b"):
        counts.take([Demand(quota, key)])
        counts.block([Demand(quota, key)], 10)
    assert (counts.clear(), len(counts)) == (2, 0)
    assert admits(counts.take([Demand(quota, b"a")]))


@every_strategy
def test_nothing_is_owed_below_zero(strategy: Strategy) -> None:
    counts, _, _ = counts_of()
    quota = Quota("q", 3, 60, strategy)
    counts.take([Demand(quota, b"a")])
    for _ in range(3):
        counts.give_back([Demand(quota, b"a", 2), Demand(quota, b"stranger")])
    assert counts.take([Demand(quota, b"a")])[0].remaining == 2


@every_strategy
@pytest.mark.parametrize("back", [200, 86_400])
def test_a_clock_that_is_set_back_locks_nobody_out(strategy: Strategy, back: float) -> None:
    counts, clock, _ = counts_of()
    quota = Quota("q", 2, 60, strategy)
    demand = [Demand(quota, b"a", 2)]
    counts.take(demand)
    clock.now -= back
    (refused,) = counts.take(demand)
    assert (refused.refused, refused.wait) == (True, 60)
    assert admits(counts.take(demand))
    assert not admits(counts.take(demand))


@every_strategy
@pytest.mark.parametrize("start", [0.0, 0.5, TODAY])
def test_any_time_is_a_time_and_a_clock_may_jump(strategy: Strategy, start: float) -> None:
    counts, clock, _ = counts_of()
    clock.now = start
    quota = Quota("q", 1, 86_400 * 366, strategy)
    for years in (0, 2, 1000):
        clock.now += years * 86_400 * 366
        assert admits(counts.take([Demand(quota, b"a")]))
        assert not admits(counts.take([Demand(quota, b"a")]))


# --- whatever happens ---


class Traffic(RuleBasedStateMachine):
    """Requests, refunds and resets in any order, in little room."""

    def __init__(self) -> None:
        super().__init__()
        self.counts, self.clock, self.said = counts_of(max_keys=6)
        self.quotas = [Quota(strategy, 3, seconds, strategy) for strategy in ALL for seconds in (1, 5)]
        self.models: dict[Demand, Model] = {}

    demands = st.lists(
        st.tuples(
            st.integers(0, 5),
            st.sampled_from([b"a", b"b", b"c", b"d"]),
            st.integers(1, 2),
            st.sampled_from([None, b"s"]),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda demand: demand[0],
    )

    def of(self, drawn: list[tuple[int, bytes, int, bytes | None]]) -> list[Demand]:
        return [Demand(self.quotas[at], key, cost, sponsor) for at, key, cost, sponsor in drawn]

    @rule(drawn=demands)
    def take(self, drawn: list[tuple[int, bytes, int, bytes | None]]) -> None:
        demands = self.of(drawn)
        before = [self.remaining(demand) for demand in demands]
        standings = self.counts.take(demands)
        if admits(standings):
            assert [standing.remaining for standing in standings] == [
                left - demand.cost for left, demand in zip(before, demands, strict=True)
            ]
        else:
            assert [self.remaining(demand) for demand in demands] == before

    @rule(drawn=demands)
    def give_back(self, drawn: list[tuple[int, bytes, int, bytes | None]]) -> None:
        self.counts.give_back(self.of(drawn))

    @rule(drawn=demands)
    def reset(self, drawn: list[tuple[int, bytes, int, bytes | None]]) -> None:
        self.counts.reset(self.of(drawn))

    @rule(step=st.sampled_from([0.25, 1.0, 5.0, 11.0, -0.125]))
    def move_on(self, step: float) -> None:
        self.clock.now += step

    @precondition(lambda self: len(self.counts) > 4)
    @rule()
    def clear(self) -> None:
        self.counts.clear()

    def remaining(self, demand: Demand) -> int:
        return self.counts.peek([demand])[0].remaining

    @invariant()
    def holds_what_it_says(self) -> None:
        windows = self.counts._windows.values()
        assert len(self.counts) == sum(map(len, windows))
        assert len(self.counts) == sum(len(some._young | some._old) for some in windows)
        assert len(self.counts) <= 6 + sum(OVERFLOW in some for some in windows)

    @invariant()
    def never_has_more_than_the_amount(self) -> None:
        for quota, windows in self.counts._windows.items():
            for key in (*windows._young, *windows._old):
                assert 0 <= windows.used(key, self.clock.now) <= quota.amount


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
