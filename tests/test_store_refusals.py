"""Refusals that are known: for how long, for whom, and how many."""

from __future__ import annotations

import pytest

from secguard.store.quota import Demand, Quota, Standing
from secguard.store.refusals import Refusals
from tests.helpers import Clock

HOURLY, DAILY = Quota("hour", 3, 3600), Quota("day", 30, 86400)
ONE = Demand(HOURLY, b"somebody")


def refused(wait: float = 60, quota: Quota = HOURLY, blocked: bool = False) -> Standing:
    return Standing(quota, 0, wait, refused=True, blocked=blocked)


class Known:
    """Refusals, and their clock."""

    def __init__(self) -> None:
        self.clock = Clock(1000.0)
        self.refusals = Refusals(self.clock)

    def remember(self, demand: Demand, standing: Standing) -> None:
        self.refusals.remember([demand], [standing], self.clock())

    def known(self, *demands: Demand) -> list[Standing] | None:
        return self.refusals.known(demands)


@pytest.fixture
def it() -> Known:
    return Known()


def test_nothing_is_known_at_first(it: Known) -> None:
    assert it.known(ONE) is None


@pytest.mark.parametrize(("wait", "lasts"), [(60, 1.0), (1.0, 1.0), (0.25, 0.25)])
def test_lasts_as_long_as_the_refusal_and_a_second_at_most(it: Known, wait: float, lasts: float) -> None:
    it.remember(ONE, refused(wait))
    it.clock.move(lasts - 0.125)
    assert it.known(ONE)
    it.clock.move(0.125)
    assert it.known(ONE) is None


def test_wait_shrinks(it: Known) -> None:
    it.remember(ONE, refused(60, blocked=True))
    it.clock.move(0.5)
    assert it.known(ONE) == [refused(59.5, blocked=True)]


@pytest.mark.parametrize(
    "other",
    [
        Demand(HOURLY, b"somebody else"),
        Demand(DAILY, b"somebody"),
        Demand(Quota("hour", 3, 3600), b"somebody"),
        Demand(HOURLY, b"somebody", 2),
        Demand(HOURLY, b"somebody", 4),
        Demand(HOURLY, b"somebody", 3, b"sponsor"),
        Demand(HOURLY, b"somebody", 3, b"other sponsor"),
    ],
    ids=["another key", "another quota", "a quota of its own", "less", "more", "with a sponsor", "another sponsor"],
)
def test_says_nothing_about_another_demand(it: Known, other: Demand) -> None:
    it.remember(Demand(HOURLY, b"somebody", 3), refused())
    assert it.known(other) is None
    it.remember(Demand(HOURLY, b"somebody", 3, b"some sponsor"), refused())
    assert it.known(other) is None


def test_all_demands_of_a_request_stand_in_the_answer(it: Known) -> None:
    daily = Demand(DAILY, b"somebody")
    it.refusals.remember([ONE, daily], [refused(), Standing(DAILY, 7, 600)], it.clock())
    it.clock.move(0.5)
    assert it.known(daily, ONE) == [Standing(DAILY, 7, 599.5), refused(59.5)]
    assert it.known(daily) is None
    assert it.known(ONE, Demand(DAILY, b"somebody else")) is None


def test_forgets_what_was_said_about_a_key(it: Known) -> None:
    dear = Demand(HOURLY, b"somebody", 2, b"sponsor")
    other = Demand(HOURLY, b"somebody else")
    for demand in (ONE, dear, other):
        it.remember(demand, refused())
    it.refusals.drop([dear, Demand(DAILY, b"unknown")])
    assert [it.known(demand) is None for demand in (ONE, dear, other)] == [False, True, False]
    it.remember(dear, refused())
    it.refusals.forget([ONE])
    assert [it.known(demand) is None for demand in (ONE, dear, other)] == [True, True, False]


def test_is_bounded(it: Known) -> None:
    for number in range(25_000):
        it.remember(Demand(HOURLY, b"%d" % number), refused())
        assert len(it.refusals) <= 10_000
    assert it.known(Demand(HOURLY, b"24999"))


def test_does_not_keep_what_is_long(it: Known) -> None:
    for demand in (Demand(HOURLY, b"k" * 257), Demand(HOURLY, b"k" * 128, 1, b"s" * 129)):
        it.remember(demand, refused())
        assert it.known(demand) is None
    assert len(it.refusals) == 0
