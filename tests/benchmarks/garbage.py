"""What a request leaves behind, and how much memory it takes while it lasts."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.cases import Case, build
from tests.benchmarks.traffic import batch_for

REQUESTS = 100
_WARM = 20


@dataclass(frozen=True)
class Garbage:
    """Of one case: objects that only the garbage collector could free, and bytes taken at the peak of a request."""

    cyclic: float
    peak: int


def measure(cases: tuple[Case, ...]) -> dict[Case, Garbage]:
    """Count what is left of requests, with the collector switched off meanwhile."""
    apps, _ = build(cases)
    found = {}
    for case, app in apps.items():
        batch = batch_for(app, case.traffic)
        batch(app, case.traffic.scopes(_WARM))
        scopes = case.traffic.scopes(REQUESTS)
        gc.collect()
        gc.disable()
        try:
            batch(app, scopes)
            cyclic = gc.collect() / REQUESTS
            tracemalloc.start()
            peaks = []
            for _ in range(_WARM):
                scopes = case.traffic.scopes(1)
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                batch(app, scopes)
                peaks.append(tracemalloc.get_traced_memory()[1] - before)
        finally:
            tracemalloc.stop()
            gc.enable()
        found[case] = Garbage(cyclic, int(median(peaks)))
    return found
