"""What it costs to count requests when many clients are known: in time, in memory, and to the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from random import Random
from statistics import median

from limits import RateLimitItemPerDay
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.types import Scope

from secguard.rate_limit import RateLimitMiddleware, RateLimitSettings
from secguard.store.embedded import EmbeddedStorage
from secguard.store.memory import MAX_KEYS, MemoryCounts
from secguard.store.quota import MOST, Demand, Quota, Strategy
from tests.benchmarks.apps import asgi_app
from tests.benchmarks.resident import resident
from tests.benchmarks.traffic import Traffic, batch_for

COUNTERS: tuple[Strategy, ...] = ("sliding-window", "fixed-window")
STRATEGIES: tuple[Strategy, ...] = (*COUNTERS, "moving-window")  # which has 8 bytes for each unit as well
REQUEST = "a request, sliding-window"
FEW = 10
_DAY = 86_400  # long enough that nothing expires meanwhile
_AT_ONCE = 500  # asked in a row: few enough that what is measured is counting, and not how they are laid out
_WAVES = 10
_COLLECTIONS = 20

Spend = Callable[[], float]


@dataclass
class Counting:
    """Microseconds by round: with few keys, and with many. Then bytes, milliseconds and MiB."""

    keys: int
    few: dict[str, list[float]] = field(default_factory=dict)
    many: dict[str, list[float]] = field(default_factory=dict)
    hits: dict[str, list[float]] = field(default_factory=dict)
    key_bytes: dict[str, float] = field(default_factory=dict)
    collection: float = 0.0
    flood: float = 0.0


def measure(rounds: int, keys: int) -> Counting:
    """Measure everything; with a million keys it takes a minute."""
    found = Counting(keys)
    for strategy in STRATEGIES:
        _compare(found, strategy, _taking(strategy, FEW), _taking(strategy, keys), rounds)
        found.key_bytes[strategy] = _bytes_a_key(strategy, keys)
    _compare(found, REQUEST, _requesting(FEW), _requesting(keys), rounds)
    theirs, ours = _hitting(MemoryStorage()), _hitting(EmbeddedStorage())
    found.hits = {"limits' own": [], "ours": []}
    for _ in range(rounds):
        found.hits["limits' own"].append(theirs())
        found.hits["ours"].append(ours())
    found.collection = _collection(keys)
    found.flood = _flood(min(MAX_KEYS, keys))
    return found


def _compare(found: Counting, name: str, few: Spend, many: Spend, rounds: int) -> None:
    """Let both take turns, so that what disturbs one disturbs the other."""
    found.few[name], found.many[name] = [], []
    for _ in range(rounds):
        found.few[name].append(few())
        found.many[name].append(many())


def _taking(strategy: Strategy, keys: int) -> Spend:
    """Fill counts with so many keys, and return what asks for some of them, in no order, and says what one took."""
    quota = Quota("benchmark", MOST, _DAY, strategy)
    counts = _filled(quota, range(keys))
    random = Random(7)  # noqa: S311

    def spend() -> float:
        demands = [[_demand(quota, random.randrange(keys))] for _ in range(_AT_ONCE)]
        began = time.thread_time_ns()
        for demand in demands:
            counts.take(demand)
        return (time.thread_time_ns() - began) / _AT_ONCE / 1000

    return spend


def _demand(quota: Quota, number: int) -> Demand:
    return Demand(quota, b"%016x" % number)  # an object of its own, as a request's is


def _filled(quota: Quota, numbers: Iterable[int]) -> MemoryCounts:
    counts = MemoryCounts(max_keys=10**7)
    for number in numbers:
        counts.take([_demand(quota, number)])
    return counts


def _requesting(keys: int) -> Spend:
    """Do the same with whole requests, of clients at so many addresses."""
    app = RateLimitMiddleware(asgi_app(), settings=RateLimitSettings(default=f"{MOST}/day", max_keys=10**7))
    batch = batch_for(app, Traffic())
    random = Random(7)  # noqa: S311

    def scope(number: int) -> Scope:
        return Traffic(client=str(IPv4Address(10 << 24 | number))).scope()

    for start in range(0, keys, _AT_ONCE):
        batch(app, [scope(number) for number in range(start, min(start + _AT_ONCE, keys))])

    def spend() -> float:
        scopes = [scope(random.randrange(keys)) for _ in range(_AT_ONCE)]
        began = time.thread_time_ns()
        batch(app, scopes)
        return (time.thread_time_ns() - began) / _AT_ONCE / 1000

    return spend


def _hitting(storage: Storage) -> Spend:
    """Return what hits a few keys through `limits`. What a storage leaves to tasks is part of a hit."""
    limiter, item = FixedWindowRateLimiter(storage), RateLimitItemPerDay(MOST)
    keys = [f"{number:016x}" for number in range(FEW)]

    async def hit() -> float:
        began = time.thread_time_ns()
        for at in range(_AT_ONCE):
            await limiter.hit(item, keys[at % FEW])
            await asyncio.sleep(0)
        return (time.thread_time_ns() - began) / _AT_ONCE / 1000

    return lambda: asyncio.run(hit())


def _bytes_a_key(strategy: Strategy, keys: int) -> float:
    quota = Quota("benchmark", MOST, _DAY, strategy)
    tracemalloc.start()
    try:
        counts = _filled(quota, range(keys))
        return tracemalloc.get_traced_memory()[0] / len(counts)
    finally:
        tracemalloc.stop()


def _collection(keys: int) -> float:
    """Return by how many milliseconds a full collection is longer with so many keys."""
    without = _collections()
    counts = _filled(Quota("benchmark", MOST, _DAY), range(keys))
    with_them = _collections(2 * _COLLECTIONS)
    counts.clear()
    del counts
    return median(with_them) - median(without + _collections())


def _collections(count: int = _COLLECTIONS) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.thread_time_ns()
        gc.collect()
        taken.append((time.thread_time_ns() - began) / 1e6)
    return taken


def _flood(most: int) -> float:
    """Return the MiB that waves of ever new keys add, once the first of them have come and gone."""
    now = 0.0
    counts = MemoryCounts(lambda: now, most)
    quota = Quota("benchmark", MOST, 60)
    sizes = []
    for wave in range(_WAVES):
        for number in range(2 * most):
            now += 40 / most  # a window and a third for each wave
            counts.take([_demand(quota, wave * 2 * most + number)])
        sizes.append(resident("VmRSS"))
    return max(sizes) - sizes[2]
