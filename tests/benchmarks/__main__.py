"""`python -m tests.benchmarks`: measure, print, and say which budgets were met."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.benchmarks import counting, garbage, instructions, shared_store, timing, wire
from tests.benchmarks.budgets import BUDGETS, Results
from tests.benchmarks.cases import LITTERING, SITES
from tests.benchmarks.report import PAGE, machine, tables, write_page
from tests.benchmarks.spread import NotMeasuredError


def main() -> int:
    """Run the parts that were asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--in-process", action="store_true", help="only this part, or those named: time in-process")
    parser.add_argument("--garbage", action="store_true", help="... reference cycles and bytes")
    parser.add_argument("--instructions", action="store_true", help="... instruction counts, by callgrind")
    parser.add_argument("--socket", action="store_true", help="... requests per second over uvicorn")
    parser.add_argument("--counting", action="store_true", help="... what limits cost when many clients are known")
    parser.add_argument("--shared-store", action="store_true", help="... limits in a Valkey server, beside a PING")
    parser.add_argument("--quick", action="store_true", help="few rounds, and no instruction counts: a smoke test")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a budget is not met")
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables into {PAGE.name}")
    chosen = parser.parse_args()
    parts = (chosen.in_process, chosen.garbage, chosen.instructions, chosen.socket, chosen.counting)
    everything = not any((*parts, chosen.shared_store))

    logging.getLogger("secguard").setLevel(logging.ERROR)  # its notices would stand between the tables
    began = time.monotonic()
    results = Results()
    print(machine(), end="\n\n")
    if everything or chosen.in_process:
        rounds, requests = (6, 100) if chosen.quick else (60, 300)
        results.timings = {site: timing.measure(app, some, rounds, requests) for site, (app, some) in SITES.items()}
        results.nonces = timing.measure_pairs(rounds, requests)
        for line in next(iter(results.timings.values())).missing:
            print(line)
    if everything or chosen.garbage:
        results.garbage = garbage.measure(LITTERING)
    if chosen.instructions or (everything and not chosen.quick):
        try:
            results.instructions = instructions.measure()
        except NotMeasuredError as reason:
            print(f"no instruction counts: {reason}")
    if everything or chosen.socket:
        try:
            results.rates = wire.measure(*((1, 0.2) if chosen.quick else (10, 0.5)))
        except NotMeasuredError as reason:
            print(f"nothing over a socket: {reason}")
    if everything or chosen.shared_store:
        try:
            results.stored = shared_store.measure(*((4, 50) if chosen.quick else (60, 200)))
        except NotMeasuredError as reason:
            print(f"nothing in a shared store: {reason}")
    if everything or chosen.counting:
        results.counting = counting.measure(*((5, 20_000) if chosen.quick else (60, 1_000_000)))

    for table in tables(results):
        print(table.text())
    print(f"{time.monotonic() - began:.0f} seconds")
    if chosen.write_docs:
        write_page(results)
    return int(chosen.strict and any(budget.verdict(results)[0] == "over" for budget in BUDGETS))


if __name__ == "__main__":
    sys.exit(main())
