"""The app of one case, for uvicorn: the variable BENCHMARK names the case."""

from __future__ import annotations

import os

from tests.benchmarks.cases import SERVED, build

_apps, _missing = build(tuple(case for case in SERVED if case.name == os.environ["BENCHMARK"]))
(app,) = _apps.values()
