"""The tables, as text and as Markdown."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import cases, shared_store
from tests.benchmarks.budgets import BUDGETS, Results
from tests.benchmarks.counting import FEW
from tests.benchmarks.spread import ratios, spread

PAGE = Path(__file__).parents[2] / "docs/explanation/performance.md"
BEGIN = "<!-- begin: written by `python -m tests.benchmarks --write-docs` -->"
END = "<!-- end -->"
_STANDARDS = {
    cases.FLOOR: "times the honest floor",
    cases.BY_HAND: "times by hand",
    cases.STARLETTES_CORS: "of Starlette's",
}


@dataclass(frozen=True)
class Table:
    """A title, and rows of which the first names the columns."""

    title: str
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in self.rows]
        lines.insert(1, "-" * len(lines[0]))
        return "\n".join([self.title, *(line.rstrip() for line in lines), ""])

    def markdown(self) -> str:
        rows = [self.rows[0], ["---"] * len(self.rows[0]), *self.rows[1:]]
        return "\n".join([f"### {self.title}", "", *(f"| {' | '.join(row)} |" for row in rows), ""])


def tables(results: Results) -> Iterator[Table]:
    """Yield what was measured, and the verdicts last."""
    for site, timings in results.timings.items():
        standards = {case: name for case, name in _STANDARDS.items() if case in timings.rounds}
        rows = [["", *standards.values(), "µs added"]]
        for case in timings.rounds:
            compared = [str(timings.ratio(case, to)) if case is not cases.BARE else "" for to in standards]
            added = timings.microseconds(case)
            rows.append(
                [case.name, *compared, f"{added.middle:.1f}" if case is not cases.BARE else f"({added.middle:.1f})"]
            )
        yield Table(f"In-process, {site}: median (quartiles)", rows)
    if counts := results.instructions:
        rows = [["", "times the honest floor", "times by hand", "instructions added"]]
        for case in cases.COUNTED:
            if case not in counts:
                continue
            count = counts[case]
            is_bare = case is cases.BARE
            compared = ["" if is_bare else f"{count / counts[to]:.2f}" for to in (cases.FLOOR, cases.BY_HAND)]
            rows.append([case.name, *compared, f"({count:,.0f})" if is_bare else f"{count:,.0f}"])
        yield Table("Instructions, counted by callgrind", rows)
    if results.nonces or results.instructions:
        yield _nonce_table(results)
    if rates := results.rates:
        rows = [["", "of an app that sets the lines itself", "requests a second"]]
        rows += [
            [case.name, str(ratios(rate, rates[cases.OWN_LINES])), f"{spread(rate).middle:,.0f}"]
            for case, rate in rates.items()
        ]
        yield Table("uvicorn on a socket: median (quartiles)", rows)
    if stored := results.stored:
        rows = [["", "times a PING", "µs", "a second"]]
        for name, times in stored.items():
            middle = spread(times).middle
            rows.append([name, str(ratios(times, stored[shared_store.PING])), f"{middle:.1f}", f"{1e6 / middle:,.0f}"])
        yield Table("Limits in a Valkey server, beyond a request without: median (quartiles)", rows)
    if results.garbage:
        alone = results.garbage[cases.BARE].peak
        rows = [["", "objects left to the collector", "bytes added at the peak"]]
        rows += [
            [
                case.name,
                f"{found.cyclic:g}",
                f"{found.peak - alone:,}" if case is not cases.BARE else f"({found.peak:,})",
            ]
            for case, found in results.garbage.items()
        ]
        yield Table("Garbage, per request", rows)
    if counting := results.counting:
        rows = [["", f"{FEW} keys, µs", f"{counting.keys:,} keys, µs", "times", "bytes a key"]]
        for name, many in counting.many.items():
            few, size = counting.few[name], counting.key_bytes.get(name)
            numbers = (f"{spread(few).middle:.2f}", f"{spread(many).middle:.2f}", str(ratios(many, few)))
            rows.append([name, *numbers, f"{size:.0f}" if size else ""])
        for name, hits in counting.hits.items():
            rows.append([f"a hit by way of limits, its storage {name}", f"{spread(hits).middle:.2f}", *[""] * 3])
        yield Table("Counting, in memory: median (quartiles)", rows)
    verdicts = [(budget, *budget.verdict(results)) for budget in BUDGETS]
    rows = [["", "", "measured", "budget"]]
    rows += [
        [verdict, budget.sentence, number, f"{'at least' if budget.at_least else 'at most'} {budget.limit:g}"]
        for budget, verdict, number in verdicts
    ]
    yield Table("Budgets", rows)


def _nonce_table(results: Results) -> Table:
    rows = [["", "µs more", "instructions more"]]
    for pair in cases.PAIRS:
        counts = results.instructions
        time = str(spread(results.nonces[pair])) if pair in results.nonces else ""
        count = f"{counts[pair.read] - counts[pair.unread]:,.0f}" if pair.read in counts else ""
        rows.append([pair.name, time, count])
    return Table("A page that reads its nonce, beside one that does not: median (quartiles)", rows)


def machine() -> str:
    """Say what this was measured with."""
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"


def write_page(results: Results) -> None:
    """Put the tables between the marks of the page, and leave the rest of it alone."""
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    written = "\n".join([BEGIN, "", f"Measured on {machine()}.", "", *(table.markdown() for table in tables(results))])
    PAGE.write_text(f"{head}{written}\n{END}{tail}")
