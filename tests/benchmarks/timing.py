"""In-process: the processor time of a request, without a server or a socket."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from starlette.types import ASGIApp

from tests.benchmarks.cases import BARE, PAIRED, PAIRS, Case, Pair, build
from tests.benchmarks.spread import Spread, ratios, spread
from tests.benchmarks.traffic import batch_for

CHUNKS = 6
WARM_UP = 2  # rounds


@dataclass
class Timings:
    """Microseconds a request, per case and round: of the bare app in whole, of the others what they add to it."""

    rounds: dict[Case, list[float]]
    missing: list[str] = field(default_factory=list)

    def microseconds(self, case: Case) -> Spread:
        return spread(self.rounds[case])

    def ratio(self, case: Case, to: Case) -> Spread | None:
        """Divide what two cases add, where both took part."""
        if case not in self.rounds or to not in self.rounds:
            return None
        return ratios(self.rounds[case], self.rounds[to])


class Runner:
    """Serves requests to one case, and measures the processor time of that."""

    def __init__(self, case: Case, app: ASGIApp) -> None:
        self.case = case
        self.app = app
        self.batch = batch_for(app, case.traffic)

    def spend(self, requests: int) -> float:
        """Return the microseconds that each of some requests takes."""
        scopes = self.case.traffic.scopes(requests)
        start = time.thread_time_ns()
        self.batch(self.app, scopes)
        return (time.thread_time_ns() - start) / requests / 1000


def measure(app: Callable[[], ASGIApp], cases: tuple[Case, ...], rounds: int, requests: int) -> Timings:
    """Let all cases take turns for some rounds of some requests each.

    In its turn a case alternates with the bare app, a few requests each: what disturbs one disturbs the other.
    """
    apps, missing = build(cases, app)
    runners = [Runner(case, built) for case, built in apps.items()]
    bare = next(runner for runner in runners if runner.case is BARE)
    timings = Timings({case: [] for case in apps}, missing)
    for number in range(-WARM_UP, rounds):
        for runner in runners:
            alone, whole = _alternate(bare, runner, requests // 10 if runner.case.slow else requests)
            if number >= 0:
                timings.rounds[runner.case].append(whole - (alone if runner is not bare else 0))
        runners = runners[1:] + runners[:1]  # nobody always follows the same neighbour
    return timings


def measure_pairs(rounds: int, requests: int) -> dict[Pair, list[float]]:
    """Return how many microseconds more a page takes that reads its nonce, per pair and round."""
    runners = {case: Runner(case, app) for case, app in build(PAIRED)[0].items()}
    more: dict[Pair, list[float]] = {pair: [] for pair in PAIRS}
    for number in range(-WARM_UP, rounds):
        for pair in PAIRS:
            unread, read = _alternate(runners[pair.unread], runners[pair.read], requests)
            if number >= 0:
                more[pair].append(read - unread)
    return more


def _alternate(one: Runner, other: Runner, requests: int) -> tuple[float, float]:
    """Serve some requests to each of two, a few at a time, and return the median microseconds of both."""
    count = max(requests // CHUNKS, 1)
    gc.collect()
    gc.freeze()  # what stands around is no business of a collection that a case sets off
    ones, others = zip(*((one.spend(count), other.spend(count)) for _ in range(CHUNKS)), strict=True)
    gc.unfreeze()
    return median(ones), median(others)
