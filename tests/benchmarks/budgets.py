"""The budgets, and whether they were met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.benchmarks import cases, shared_store
from tests.benchmarks.cases import Case, Pair
from tests.benchmarks.counting import COUNTERS, REQUEST, Counting
from tests.benchmarks.garbage import Garbage
from tests.benchmarks.spread import ratios, spread
from tests.benchmarks.timing import Timings


@dataclass
class Results:
    """Whatever was measured in this run; a part that was not is empty."""

    timings: dict[str, Timings] = field(default_factory=dict)
    nonces: Mapping[Pair, list[float]] = field(default_factory=dict)
    garbage: Mapping[Case, Garbage] = field(default_factory=dict)
    instructions: Mapping[Case, float] = field(default_factory=dict)
    rates: Mapping[Case, list[float]] = field(default_factory=dict)
    stored: Mapping[str, list[float]] = field(default_factory=dict)
    counting: Counting | None = None

    @property
    def plain(self) -> Timings | None:
        return next(iter(self.timings.values()), None)


@dataclass(frozen=True)
class Budget:
    """A limit on one number. `at_least` budgets are met above it, the others below."""

    sentence: str
    limit: float
    measure: Callable[[Results], float | None]
    at_least: bool = False

    def verdict(self, results: Results) -> tuple[str, str]:
        """Return PASS, over or not measured, and the number."""
        value = self.measure(results)
        if value is None:
            return "not measured", ""
        met = value >= self.limit if self.at_least else value <= self.limit
        return ("PASS" if met else "over"), f"{value:.2f}"


def _time(above: Case, below: Case) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        ratio = results.plain and results.plain.ratio(above, below)
        return ratio.middle if ratio else None

    return measure


def _count(above: Case, below: Case, bare: Case | None = None) -> Callable[[Results], float | None]:
    """Divide what two cases add: to the app that all are measured on, or to another bare one."""

    def measure(results: Results) -> float | None:
        counts = results.instructions
        if not {above, below} <= counts.keys():
            return None
        alone = counts[bare] if bare else 0
        return (counts[above] - alone) / (counts[below] - alone)

    return measure


def _rate(above: Case, below: Case) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        rates = results.rates
        return ratios(rates[above], rates[below]).middle if above in rates and below in rates else None

    return measure


def _more(pair: Pair, than: Pair | None = None) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        if pair not in results.nonces:
            return None
        return spread(results.nonces[pair]).middle - (spread(results.nonces[than]).middle if than else 0)

    return measure


def _stored(name: str) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        stored = results.stored
        return ratios(stored[name], stored[shared_store.PING]).middle if stored else None

    return measure


def _cycles(results: Results) -> float | None:
    counts = [results.garbage[case].cyclic for case in (*cases.GUARDS, cases.NONCE) if case in results.garbage]
    return max(counts, default=None)


def _counting(number: Callable[[Counting], float]) -> Callable[[Results], float | None]:
    return lambda results: number(results.counting) if results.counting else None


BUDGETS = (
    Budget("headers only: times by hand, in time", 1.5, _time(cases.HEADERS_ONLY, cases.BY_HAND)),
    Budget("headers only: times by hand, in instructions", 1.5, _count(cases.HEADERS_ONLY, cases.BY_HAND)),
    Budget("everything: times the honest floor, in instructions", 1.5, _count(cases.EVERYTHING, cases.FLOOR)),
    Budget(
        "cors alone, an allowed origin: of Starlette's CORSMiddleware, in instructions",
        0.5,
        _count(cases.CORS, cases.STARLETTES_CORS, cases.ASGI_BARE),
    ),
    Budget(
        "rate_limit alone: of slowapi's ASGI middleware with headers, in time",
        0.1,
        _time(cases.LIMIT, cases.SLOWAPI_TELLING),
    ),
    Budget(
        "rate_limit alone: of slowapi's ASGI middleware with headers, in instructions",
        0.1,
        _count(cases.LIMIT, cases.SLOWAPI_TELLING),
    ),
    Budget("the usual stack: times everything, in time", 15, _time(cases.STACK, cases.EVERYTHING), at_least=True),
    Budget(
        "the usual stack: times everything, in instructions", 15, _count(cases.STACK, cases.EVERYTHING), at_least=True
    ),
    Budget(
        "over a socket: everything, of an app that sets the lines itself",
        0.8,
        _rate(cases.EVERYTHING, cases.OWN_LINES),
        at_least=True,
    ),
    Budget("over a socket: everything, times the usual stack", 3, _rate(cases.EVERYTHING, cases.STACK), at_least=True),
    Budget("microseconds that a page pays for its nonce, Starlette", 3, _more(cases.STARLETTE_PAIR)),
    Budget("... of which are not Starlette's own", 3, _more(cases.STARLETTE_PAIR, cases.GIVEN_PAIR)),
    Budget("microseconds that a page pays for its nonce, bare ASGI", 3, _more(cases.ASGI_PAIR)),
    Budget("three limits in Valkey: times a PING", 2, _stored(shared_store.THREE)),
    Budget("objects that a request leaves to the garbage collector", 0, _cycles),
    Budget(
        "a limited request among many known clients: times one among a few",
        1.3,
        _counting(lambda found: ratios(found.many[REQUEST], found.few[REQUEST]).middle),
    ),
    Budget(
        "bytes that a counter takes, its key among them",
        150,
        _counting(lambda found: max(found.key_bytes[strategy] for strategy in COUNTERS)),
    ),
    Budget(
        "milliseconds that many keys add to a full garbage collection",
        10,
        _counting(lambda found: found.collection),
    ),
    Budget("MiB that a flood of new keys adds when all room is taken", 1, _counting(lambda found: found.flood)),
)
