"""`python -m tests.benchmarks.networks`: what a million networks cost, beside what else could hold them.

Each candidate reads the same file, in a process of its own, and is asked for the same addresses: some that are in a
network, some that are not, each for the first time and then again. It is asked as the policy would ask it, with the
address that `exchange.client` is. What it answers is compared with what is true.

Install some of `pytricia py-radix pysubnettree ipset_c netaddr` to see them too.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

from secguard._networks import Address, Networks
from tests.benchmarks.report import Table, machine
from tests.benchmarks.resident import resident

Ask: TypeAlias = Callable[[Address], bool]

_MILLION: Final = 1_000_000
_ASKED: Final = 20_000
_LONGEST_ASKING: Final = 5.0  # seconds for the addresses of one kind

# How often each length of prefix occurs: about as in lists of abuse, most of them addresses and small networks.
_LENGTHS_V4: Final = {8: 1, 12: 5, 16: 200, 20: 2000, 22: 5000, 24: 25_000, 26: 10_000, 28: 10_000, 32: 48_000}
_LENGTHS_V6: Final = {29: 100, 32: 2000, 40: 5000, 48: 30_000, 56: 10_000, 64: 35_000, 96: 2000, 112: 2000, 128: 14_000}


# --- candidates ---


def _secguard(lines: Iterable[str]) -> Ask:
    return Networks(lines).__contains__


def _stdlib_list(lines: Iterable[str]) -> Ask:
    networks = [ip_network(line) for line in _entries(lines)]
    return lambda address: any(address in network for network in networks)


def _sets_by_length(lines: Iterable[str]) -> Ask:
    """One set for each length of prefix, which is what a short list of one's own tends to become."""
    sets: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
    for line in _entries(lines):
        network = ip_network(line)
        free = network.max_prefixlen - network.prefixlen
        sets[network.version].setdefault(free, set()).add(int(network.network_address) >> free)

    def ask(address: Address) -> bool:
        value = int(address)
        return any(value >> free in held for free, held in sets[address.version].items())

    return ask


def _pytricia(lines: Iterable[str]) -> Ask:
    make = import_module("pytricia").PyTricia
    tries = {4: make(32), 6: make(128)}
    for line in _entries(lines):
        tries[6 if ":" in line else 4].insert(line, 1)
    return lambda address: address in tries[address.version]


def _py_radix(lines: Iterable[str]) -> Ask:
    tree = import_module("radix").Radix()
    for line in _entries(lines):
        tree.add(line)
    return lambda address: tree.search_best(packed=address.packed) is not None


def _pysubnettree(lines: Iterable[str]) -> Ask:
    tree = import_module("SubnetTree").SubnetTree()
    for line in _entries(lines):
        tree.insert(line)
    tree.set_binary_lookup_mode(True)
    return lambda address: address.packed in tree


def _ipset_c(lines: Iterable[str]) -> Ask:
    ipset = import_module("ipset_c").IPSet(list(_entries(lines)))
    return lambda address: bool(ipset.isContainsCidr(str(address)))


def _netaddr(lines: Iterable[str]) -> Ask:
    netaddr = import_module("netaddr")
    ipset = netaddr.IPSet(_entries(lines))
    return lambda address: netaddr.IPAddress(int(address), address.version) in ipset


def _entries(lines: Iterable[str]) -> Iterator[str]:
    return (line.strip() for line in lines)


@dataclass(frozen=True)
class Candidate:
    """Something that holds networks, and the module that it needs."""

    name: str
    load: Callable[[Iterable[str]], Ask]
    module: str = "secguard"


CANDIDATES: Final = (
    Candidate("secguard", _secguard),
    Candidate("a set for each prefix length", _sets_by_length),
    Candidate("a list of ip_network", _stdlib_list),
    Candidate("pytricia", _pytricia, "pytricia"),
    Candidate("py-radix", _py_radix, "radix"),
    Candidate("pysubnettree", _pysubnettree, "SubnetTree"),
    Candidate("ipset_c", _ipset_c, "ipset_c"),
    Candidate("netaddr.IPSet", _netaddr, "netaddr"),
)


# --- what is asked ---


def write_networks(path: Path, count: int) -> None:
    """Write a file of networks, four fifths of them IPv4: the same ones every time."""
    random = Random(7)  # noqa: S311
    v6 = count // 5
    lines = [
        f"{IPv4Address(_cut(random.getrandbits(32), 32, at))}/{at}" for at in _drawn(random, _LENGTHS_V4, count - v6)
    ]
    lines += [
        f"{IPv6Address(1 << 125 | _cut(random.getrandbits(125), 128, at))}/{at}"
        for at in _drawn(random, _LENGTHS_V6, v6)
    ]
    random.shuffle(lines)
    path.write_text("\n".join(lines) + "\n")


def _drawn(random: Random, lengths: dict[int, int], count: int) -> list[int]:
    return random.choices(list(lengths), list(lengths.values()), k=count)


def _cut(value: int, bits: int, length: int) -> int:
    return value >> (bits - length) << (bits - length)


def addresses(path: Path) -> tuple[list[Address], list[Address]]:
    """Return addresses that networks of the file hold, and others that mostly nobody holds."""
    random = Random(11)  # noqa: S311
    with path.open() as file:
        lines = random.choices(file.readlines(), k=_ASKED)
    inside: list[Address] = []
    for line in lines:
        network = ip_network(line.strip())
        inside.append(network[random.randrange(network.num_addresses)])
    outside: list[Address] = [IPv4Address(random.getrandbits(32)) for _ in range(_ASKED * 4 // 5)]
    outside += [IPv6Address(1 << 125 | random.getrandbits(125)) for _ in range(_ASKED // 5)]
    random.shuffle(outside)
    return inside, outside


@dataclass(frozen=True)
class Measured:
    """Seconds to load, MiB that this added at its peak, microseconds of a lookup, and how many answers were wrong."""

    load: float
    peak: float
    inside: float
    outside: float
    again: float
    wrong: int


def measure(candidate: Candidate, path: Path, *, check: bool = True) -> Measured:
    """Measure one candidate; in a process that has done nothing else."""
    inside, outside = addresses(path)
    gc.collect()
    before = resident("VmRSS")
    _forget_peak()
    began = time.perf_counter()
    with path.open() as file:
        ask = candidate.load(file)
    load = time.perf_counter() - began
    peak = resident("VmHWM") - before

    hits, answers = _timed(ask, inside)
    misses, more = _timed(ask, outside)
    again, _ = _timed(ask, inside[-1000:] * 20 if len(answers) == len(inside) else inside[: len(answers)])
    asked = inside[: len(answers)] + outside[: len(more)]
    wrong = 0
    if check:
        with path.open() as file:
            truth = _sets_by_length(file)
        wrong = sum(answer is not truth(address) for address, answer in zip(asked, answers + more, strict=True))
    return Measured(load, peak, hits, misses, again, wrong)


def _timed(ask: Ask, asked: list[Address]) -> tuple[float, list[bool]]:
    """Return the microseconds of one question, and the answers; not all of them where that would take too long."""
    answers = []
    began = now = time.perf_counter()
    at = 0
    while at < len(asked) and now - began < _LONGEST_ASKING:
        end = at + max(1, min(1000, at * 2))
        answers += [ask(address) for address in asked[at:end]]
        at = end
        now = time.perf_counter()
    return (now - began) / len(answers) * 1e6, answers


def _forget_peak() -> None:
    with suppress(OSError):  # where this is not allowed, the peak is the one since the start, which was not higher
        Path("/proc/self/clear_refs").write_text("5")


def alone(candidate: Candidate, path: Path, patience: float) -> Measured | str:
    """Measure one candidate in a process of its own, or say why there is nothing to tell."""
    if find_spec(candidate.module) is None:
        return "not installed"
    command = [sys.executable, "-m", "tests.benchmarks.networks", "--only", candidate.name, "--file", str(path)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        return f"not done in {patience:.0f} s"
    if ran.returncode:
        return ran.stderr.strip().splitlines()[-1]
    return Measured(**json.loads(ran.stdout))


def table(count: int, found: dict[str, Measured | str]) -> Table:
    """Return what was found out."""
    rows = [["", "load, s", "peak, MiB", "inside, µs", "outside, µs", "asked again, µs", "wrong"]]
    for name, one in found.items():
        if isinstance(one, str):
            rows.append([name, one, *[""] * 5])
        else:
            micros = [f"{micro:,.2f}" for micro in (one.inside, one.outside, one.again)]
            rows.append([name, f"{one.load:.1f}", f"{one.peak:.0f}", *micros, str(one.wrong)])
    return Table(f"{count:,} networks", rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.networks", description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=_MILLION, help="networks in the file")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds that one candidate may take")
    parser.add_argument("--only", help="this candidate, in this process; prints JSON")
    parser.add_argument("--file", type=Path, help="a file of networks, in place of one that is made")
    chosen = parser.parse_args()
    if chosen.only:
        (candidate,) = [one for one in CANDIDATES if one.name == chosen.only]
        print(json.dumps(asdict(measure(candidate, chosen.file))))
        return
    with TemporaryDirectory() as directory:
        path = chosen.file or Path(directory, "networks.txt")
        if not chosen.file:
            write_networks(path, chosen.count)
        print(machine(), end="\n\n")
        found = {one.name: alone(one, path, chosen.patience) for one in CANDIDATES}
        print(table(chosen.count, found).text())


if __name__ == "__main__":
    main()
