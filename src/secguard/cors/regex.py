"""`allow_origin_regex`: what the worst origin may cost is found out at start.

Python's `re` tries one way of matching after the other. Where a pattern can take the same letters in several ways, an
origin that fails in the end is tried in all of them: `(a+)+` doubles the ways with every `a`, and a valid Origin of 33
bytes costs seconds. Here nobody tries: the ways are counted, with the same result on every machine.

1. A pattern is taken apart into places, each of which takes one letter, and the ways from each place to the next.
2. As many ways lead to a place as lead to the places before it. What an origin costs is the sum of them all.
3. A search writes the worst origin letter by letter, and goes on with the beginnings that promise to cost the most.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from secguard._origins import LONGEST_ORIGIN

LIMIT: Final = 200_000  # steps, of 1 to 20 ns each: a pattern with two `.*` stays below, one with three does not
_LARGEST: Final = 5_000  # parts of a pattern, repeats written out
_BEGINNINGS: Final = 12  # that the search goes on with
_SHOWN: Final = 40  # letters

# Fetch section 3.2, as far as it matters here: what an origin is made of, and what may follow what.
_LOWER: Final = "abcdefghijklmnopqrstuvwxyz"
_SCHEME: Final = _LOWER + "0123456789+-."
_HOST: Final = _LOWER + "0123456789-._:[]"
_ALPHABET: Final = _LOWER + "0123456789-._:/+[]"
_SHAPE: Final = (
    ((1, _LOWER),),
    ((1, _SCHEME), (2, ":")),
    ((3, "/"),),
    ((4, "/"),),
    ((5, _HOST),),
    ((5, _HOST),),
)

# What `re` itself is made of, from Python 3.11 on: the tree of a pattern, and what compiles a part of one.
_parser: Final[Any] = import_module("re._parser")
_compiler: Final[Any] = import_module("re._compiler")

_Counts: TypeAlias = "Counter[int]"  # by place


class UnforeseeableError(Exception):
    """What a pattern costs cannot be told; the text says why."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a pattern: the ways into it, the ways out of it, and the ways through it that take no letter."""

    first: _Counts = field(default_factory=Counter)
    last: _Counts = field(default_factory=Counter)
    empty: int = 1


class _Beginning(NamedTuple):
    """The beginning of an origin, and the ways that lead as far, by place: more of them promise a higher cost."""

    open_ended: int  # ways to where a loop is still to come: there is no end to what they may cost
    tries: int  # what the next letter costs
    spent: int
    origin: str
    ways: dict[int, int]


class Places:
    """Where a pattern takes a letter, and how many ways lead from one such place to another.

    Raises:
        UnforeseeableError: the pattern refers back to a group, is too large, or has something unknown in it.

    Example:
        >>> pattern = Places("https://(a+)+")
        >>> [pattern.cost("https://" + "a" * times) for times in (10, 11, 12)]
        [2055, 4103, 8199]
    """

    def __init__(self, pattern: str) -> None:
        tree = _parser.parse(pattern)
        self._state = tree.state
        self._parts = 0
        self._takes: list[frozenset[str]] = [frozenset()]  # the first place is the start
        self._ways: list[_Counts] = [Counter()]
        whole = self._sequence(tree, tree.state.flags)
        self._ways[0] = whole.first
        self._ends = frozenset(whole.last)
        self._out = [ways.total() for ways in self._ways]
        self._open_ended = self._before_loops()
        self._known: dict[tuple[int, str], list[tuple[int, int]]] = {}

    def cost(self, origin: str) -> int:
        """Return how many steps it takes to find that an origin does not match, where only its last letter is wrong."""
        ways = {0: 1}
        steps = self._tries(ways)
        for letter in origin:
            ways = self._next(ways, letter)
            steps += self._tries(ways)
        return steps

    def worst(self) -> tuple[int, str]:
        """Return what the worst origin costs, and how it begins. The search ends where it costs more than the limit."""
        letters = self._distinct()
        found = [_Beginning(1, self._out[0], 0, "", {0: 1})]
        worst, most, risen = (self._out[0], ""), 0, 0
        for length in range(1, LONGEST_ORIGIN + 1):
            longer: dict[frozenset[int], _Beginning] = {}
            for beginning in found:
                for letter in letters:
                    new = self._longer(beginning, letter)
                    places = frozenset(new.ways)
                    if places and (places not in longer or new[:3] > longer[places][:3]):
                        longer[places] = new
            if not longer:
                break
            found = sorted(longer.values(), key=lambda beginning: beginning[:3], reverse=True)[:_BEGINNINGS]
            worst = max(worst, *((each.spent + each.tries, each.origin) for each in found))
            tries = max(each.tries for each in found)
            if tries > most:
                most, risen = tries, length
            elif length - risen > len(self._ways):  # it has been everywhere: every further letter costs the same
                return worst[0] + (LONGEST_ORIGIN - length) * most, worst[1]
            if worst[0] > LIMIT:
                break
        return worst

    def matches_origins(self) -> bool:
        """Whether any origin matches, as far as its letters go: assertions are not looked at."""
        seen = waiting = {(0, 0)}
        while waiting:
            reached = {
                (follower, phase)
                for place, before in waiting
                for follower in self._ways[place]
                for phase, letters in _SHAPE[before]
                if not self._takes[follower].isdisjoint(letters)
            }
            waiting = reached - seen
            seen = seen | waiting
        return any(phase == len(_SHAPE) - 1 and place in self._ends for place, phase in seen)

    def _longer(self, beginning: _Beginning, letter: str) -> _Beginning:
        ways = self._next(beginning.ways, letter)
        open_ended = sum([count for place, count in ways.items() if place in self._open_ended])
        spent = beginning.spent + beginning.tries
        return _Beginning(open_ended, self._tries(ways), spent, beginning.origin + letter, ways)

    def _next(self, ways: dict[int, int], letter: str) -> dict[int, int]:
        reached: dict[int, int] = {}
        for place, count in ways.items():
            known = self._known.get((place, letter))
            if known is None:
                known = [(at, each) for at, each in self._ways[place].items() if letter in self._takes[at]]
                self._known[place, letter] = known
            for follower, each in known:
                reached[follower] = reached.get(follower, 0) + count * each
        return reached

    def _tries(self, ways: dict[int, int]) -> int:
        return sum([count * self._out[place] for place, count in ways.items()])

    def _before_loops(self) -> frozenset[int]:
        left = set(range(len(self._ways)))
        while ends := {place for place in left if left.isdisjoint(self._ways[place])}:
            left -= ends
        return frozenset(left)

    def _distinct(self) -> list[str]:
        """Return one letter of each kind that the pattern tells apart."""
        kinds = {tuple(letter in takes for takes in self._takes): letter for letter in reversed(_ALPHABET)}
        return [letter for kind, letter in kinds.items() if any(kind)]

    # How a pattern is taken apart: Glushkov's construction, with the number of ways.

    def _sequence(self, items: Iterable[Any], flags: int) -> _Part:
        whole = _Part()
        for item in items:
            whole = self._joined(whole, self._part(str(item[0]), item[1], item, flags))
        return whole

    def _part(self, kind: str, value: Any, item: Any, flags: int) -> _Part:
        self._parts += 1
        if self._parts > _LARGEST:
            raise UnforeseeableError("it is too large")
        match kind:
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                return self._letter(item, flags)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, inner = value
                return self._repeated(least, most, inner, flags)
            case "BRANCH":
                return self._either([self._sequence(branch, flags) for branch in value[1]])
            case "SUBPATTERN":
                _, added, removed, inner = value
                return self._sequence(inner, (flags | added) & ~removed)
            case "ATOMIC_GROUP":
                return self._sequence(value, flags)
            case "ASSERT" | "ASSERT_NOT":  # what is ahead costs, and leads nowhere; what is behind has a fixed length
                return _Part(self._sequence(value[1], flags).first) if value[0] > 0 else _Part()
            case "AT":
                return _Part()
        raise UnforeseeableError("it refers back to a group, or has something in it that is unknown here")

    def _letter(self, item: Any, flags: int) -> _Part:
        takes = _compiler.compile(_parser.SubPattern(self._state, [item]), flags).match
        self._takes.append(frozenset(letter for letter in _ALPHABET if takes(letter)))
        self._ways.append(Counter())
        here = Counter([len(self._takes) - 1])
        return _Part(here, here, 0)

    def _either(self, parts: Sequence[_Part]) -> _Part:
        first, last = Counter[int](), Counter[int]()
        for part in parts:
            first.update(part.first)
            last.update(part.last)
        return _Part(first, last, sum(part.empty for part in parts))

    def _repeated(self, least: int, most: int, items: Sequence[Any], flags: int) -> _Part:
        whole, rest = _Part(), _Part()
        for _ in range(min(least, LONGEST_ORIGIN)):
            whole = self._joined(whole, self._sequence(items, flags))
        if most > LONGEST_ORIGIN:
            once = self._sequence(items, flags)
            self._connect(once.last, once.first)
            rest = _Part(once.first, once.last, once.empty + 1)
        else:
            for _ in range(most - least):
                once = self._joined(self._sequence(items, flags), rest)
                rest = _Part(once.first, once.last, once.empty + 1)
        return self._joined(whole, rest)

    def _joined(self, one: _Part, two: _Part) -> _Part:
        self._connect(one.last, two.first)
        first, last = one.first.copy(), two.last.copy()
        first.update(_times(two.first, one.empty))
        last.update(_times(one.last, two.empty))
        return _Part(first, last, one.empty * two.empty)

    def _connect(self, ends: _Counts, starts: _Counts) -> None:
        for end, count in ends.items():
            self._ways[end].update(_times(starts, count))


def _times(counts: _Counts, factor: int) -> dict[int, int]:
    return {place: count * factor for place, count in counts.items()} if factor else {}


@lru_cache(maxsize=64)  # a section is validated again for its profile
def check_regex(pattern: str) -> str:
    """Return the pattern, or raise the start-up error that says what is wrong with it."""
    if problem := _problem(pattern):
        raise PydanticCustomError("cors-regex", "{pattern}: {problem}", {"pattern": repr(pattern), "problem": problem})
    return pattern


def _problem(pattern: str) -> str:
    try:
        re.compile(pattern)
        places = Places(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"it is no regular expression: {error}"
    except UnforeseeableError as error:
        return f"{error}, so that nobody can tell beforehand how long it takes: write it in another way"
    if not places.matches_origins():
        return "no origin matches it as a whole: one looks like https://example.com or http://localhost:3000"
    cost, origin = places.worst()
    if cost > LIMIT:
        return (
            f"there are so many ways to match {origin[:_SHOWN]!r}… that it takes more than {LIMIT} steps to try them: "
            "of parts that repeat, let no two take the same letters, neither in a row nor one within the other"
        )
    return ""


OriginRegex: TypeAlias = Annotated[str, AfterValidator(check_regex)]
