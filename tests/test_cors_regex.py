"""`allow_origin_regex`: what the worst origin costs is counted at start, with the same result on every machine."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from secguard._origins import LONGEST_ORIGIN, parse_origin
from secguard.cors import CORSSettings
from secguard.cors.regex import LIMIT, Places, UnforeseeableError

GOOD = [
    ("everything", r".*"),
    ("a scheme", r"https://.*"),
    ("a domain and its subdomains", r"https://(.*\.)?example\.com"),
    ("any subdomain", r"https://.*\.example\.com"),
    ("one label", r"https://[a-z0-9-]+\.example\.com"),
    ("labels", r"https://(?:[a-z0-9-]+\.)*example\.com"),
    ("labels as RFC 1035 has them", r"https://(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+example\.com"),
    ("anchors of its own", r"^https?://(localhost|127\.0\.0\.1)(:\d+)?$"),
    ("ports", r"https?://([\w-]+\.)*example\.(com|org)(:\d{1,5})?"),
    ("previews of branches", r"https://pr-\d+--app\.netlify\.app"),
    ("hyphens between words", r"https://\w+(-\w+)*\.vercel\.app"),
    ("two loops, which is quadratic and stays cheap", r"https://.+-.+\.vercel\.app"),
    ("two loops between dots", r"https://.*\..*\.com"),
    ("two loops in a row", r"https://.*.*x"),
    ("tenants by name", r"https://(acme|globex|initech|umbrella)\.example\.com"),
    ("flags for the whole", r"(?i)https://[A-Z]+\.EXAMPLE\.com"),
    ("flags for a part", r"https://(?i:[A-Z]+)\.example\.com"),
    ("blanks that mean nothing", r"(?x) https:// [a-z]+ \. example\.com  # ours"),
    ("what is ahead", r"https://(?!evil)(?=.*app).*\.example\.com"),
    ("what is behind", r"https://[a-z-]+(?<!-)\.example\.com"),
    ("a word's edge", r"https://\bapp\b\.example\.com"),
    ("lazy loops", r"https://[a-z]+?\.example\.com"),
    ("loops that give nothing back", r"https://[a-z]++\.example\.com"),
    ("an atomic group", r"https://(?>[a-z]+)\.example\.com"),
    ("a name for a group", r"https://(?P<tenant>[a-z]+)\.example\.com"),
    ("what is not in a set", r"https://[^/]+"),
    ("a letter that it is not", r"https://[^x]example\.com"),
    ("an extension", r"chrome-extension://[a-p]{32}"),
    ("an IPv6 address", r"http://\[[0-9a-f:]+\](:\d+)?"),
    ("a set with a set's letters", r"https://[\w.\-]+\.example\.com"),
]
BAD = [
    ("a loop in a loop", r"https://(a+)+"),
    ("a loop in a loop before a name", r"https://([a-z]+)*\.example\.com"),
    ("any letter, twice over", r"https://(.*)*x"),
    ("alternatives that are the same", r"https://(a|a)*"),
    ("alternatives that overlap", r"https://(\w|[a-z]-?)*\.example\.com"),
    ("alternatives that overlap as words", r"https://(?:ab|a|b)*x"),
    ("alternatives that overlap three letters later", r"https://(?:abc|a|bc)*x"),
    ("a dot that may be missing", r"https://(\w+\.?)+"),
    ("a dot that may be missing, in a set", r"https://(?:[a-z0-9-]+\.?)+example\.com"),
    ("a part that may be missing", r"https://([a-z]+[0-9]*)+\.example\.com"),
    ("two loops in a loop", r"https://([a-z]+[a-z]+)+\.example\.com"),
    ("a bounded loop in a bounded loop", r"https://(a{1,30}){1,30}x"),
    ("many that may be missing", r"https://(a?){60}a{60}"),
    ("three loops", r"https://.*.*.*x"),
    ("three loops between hyphens", r"https://.+-.+-.+\.vercel\.app"),
    ("three bounded loops", r"https://[a-z]{1,99}[a-z]{1,99}[a-z]{1,99}\.com"),
    ("lazy loops", r"https://(a+?)+?x"),
    ("a loop in what is ahead", r"https://(?=(a+)+x).*"),
    ("a loop in a scheme", r"([a-z]+)+://.*"),
    ("without a prefix", r"([\w:/.-]+)+"),
    ("a loop in a group that gives nothing back, which is not looked at", r"https://(?:[a-z]+)++x"),
]  # fmt: skip
WRONG = [
    ("an open bracket", r"https://(a", "no regular expression: missing ), unterminated subpattern at position 8"),
    ("a repeat of nothing", r"*.example.com", "no regular expression: nothing to repeat at position 0"),
    ("a number too large", r"a{99999999999}", "no regular expression: the repetition number is too large"),
    ("a thousand brackets", "(" * 3000 + ")" * 3000, "no regular expression: "),
    ("a flag that is for bytes", r"(?L)https://.*", "no regular expression: bad inline flags"),
    ("a group that is referred to", r"https://(a)\1\.example\.com", "refers back to a group"),
    ("a group that is asked about", r"https://(?P<a>x)?(?(a)y|z)", "refers back to a group"),
    ("thousands of letters", r"https://(?:x{100}){100}", "too large"),
    ("nothing", r"", "no origin matches it"),
    ("no scheme", r"example\.com", "no origin matches it"),
    ("a slash at the end", r"https://example\.com/", "no origin matches it"),
    ("capitals", r"https://Example\.com", "no origin matches it"),
    ("null", r"null", "no origin matches it"),
    ("beyond ASCII", r"https://münchen\.example", "no origin matches it"),
]


def problem(pattern: str) -> str:
    """Return what is said about a pattern, or nothing."""
    try:
        CORSSettings(allow_origin_regex=pattern)
    except ValidationError as error:
        (told,) = error.errors()
        assert (told["type"], told["loc"]) == ("cors-regex", ("allow_origin_regex",))
        assert told["msg"].startswith(repr(pattern))
        return told["msg"].removeprefix(repr(pattern))
    return ""


def rows(table: Iterable[tuple[str, ...]]) -> list[Any]:
    return [pytest.param(*row, id=name) for name, *row in table]


@pytest.mark.parametrize("pattern", rows(GOOD))
def test_a_good_pattern_passes(pattern: str) -> None:
    assert problem(pattern) == ""


@pytest.mark.parametrize("pattern", rows(BAD))
def test_a_pattern_that_some_origin_makes_slow_stops_the_start(pattern: str) -> None:
    assert f"more than {LIMIT} steps" in problem(pattern)


@pytest.mark.parametrize(("pattern", "said"), rows(WRONG))
def test_a_pattern_that_is_none_or_matches_nobody_stops_the_start(pattern: str, said: str) -> None:
    assert said in problem(pattern)


def test_where_a_pattern_breaks_is_told() -> None:
    assert "at position 12" in problem(r"https://(a)b)")


def test_an_origin_of_33_bytes_that_would_cost_seconds_is_foreseen() -> None:
    origin = "https://" + "a" * 25
    assert len(origin) == 33
    assert parse_origin(origin.encode())
    assert Places(r"https://(a+)+\.example\.com").cost(origin) > 10**8


def test_the_judgement_takes_no_time() -> None:
    """An exponential pattern does not hang the start, for nobody tries it."""
    took = []
    for _, pattern in (*GOOD, *BAD):
        start = time.perf_counter()
        Places(pattern).worst()
        took.append(time.perf_counter() - start)
    assert sorted(took)[len(took) // 2] < 0.5  # usually 0.01


@pytest.mark.parametrize("pattern", rows(GOOD))
def test_the_worst_origin_of_a_good_pattern_is_answered_at_once(pattern: str) -> None:
    _, beginning = Places(pattern).worst()
    matches = re.compile(pattern).fullmatch
    for origin in (beginning, beginning[:LONGEST_ORIGIN] + "\0", (beginning * 300)[:LONGEST_ORIGIN] + "\0"):
        took = []
        for _ in range(3):
            start = time.perf_counter()
            matches(origin)
            took.append(time.perf_counter() - start)
        assert min(took) < 0.1  # at most 0.004, on a machine that does nothing else


# The count is right: somebody who really tries comes to the same number.


def tries(pattern: str, text: str) -> tuple[int, bool]:
    """Try every way, as `re` does, and return how many letters were compared, and whether one of the ways was right.

    No way ends early: what matches is taken for a failure as well.
    """
    compared, matched = 0, False

    def end(at: int) -> None:
        nonlocal matched
        matched = matched or at == len(text)

    def sequence(items: list[Any], at: int, then: Callable[[int], None]) -> None:
        if items:
            one(items[0], at, lambda reached: sequence(items[1:], reached, then))
        else:
            then(at)

    def one(item: Any, at: int, then: Callable[[int], None]) -> None:
        nonlocal compared
        kind, value = str(item[0]), item[1]
        if kind == "MAX_REPEAT":
            least, most, body = value
            repeat(least, most, body, at, then, 0)
        elif kind == "BRANCH":
            for branch in value[1]:
                sequence(list(branch), at, then)
        elif kind == "SUBPATTERN":
            sequence(list(value[3]), at, then)
        else:
            compared += 1
            if at < len(text) and takes(kind, value, text[at]):
                then(at + 1)

    def repeat(least: int, most: int, body: Any, at: int, then: Callable[[int], None], done: int) -> None:
        if done < most:
            sequence(list(body), at, lambda reached: repeat(least, most, body, reached, then, done + 1))
        if done >= least:
            then(at)

    sequence(list(PARSER.parse(pattern)), 0, end)
    return compared, matched


def takes(kind: str, value: Any, letter: str) -> bool:
    if kind == "IN":
        negated = str(value[0][0]) == "NEGATE"
        return negated != any(takes(str(inner), what, letter) for inner, what in value[negated:])
    tests: dict[str, Callable[[], bool]] = {
        "LITERAL": lambda: letter == chr(value),
        "NOT_LITERAL": lambda: letter != chr(value),
        "RANGE": lambda: value[0] <= ord(letter) <= value[1],
        "CATEGORY": letter.isalnum,  # there is no other than `\\w` here
        "ANY": lambda: True,
    }
    return tests[kind]()


PARSER: Any = import_module("re._parser")
atoms = st.sampled_from(("a", "b", "[ab]", "[a-z]", r"\w", ".", r"\.", "[^a]"))


def larger(smaller: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Patterns made of smaller ones, none of which takes nothing: that is where `re` has rules of its own."""
    several = st.lists(smaller, min_size=2, max_size=3)
    return (
        several.map("".join)
        | several.map(lambda parts: f"(?:{'|'.join(parts)})")
        | st.builds("(?:{}){}".format, smaller, st.sampled_from(("+", "{1,3}", "{2}", "{2,}")))
        | st.builds("(?:{}){}{}".format, smaller, st.sampled_from(("*", "?", "{0,2}")), smaller)
    )


patterns = st.recursive(atoms, larger, max_leaves=6)


@settings(max_examples=300, deadline=None)
@given(patterns, st.text("ab.", max_size=7))
def test_the_ways_are_counted_right(pattern: str, origin: str) -> None:
    places = Places(pattern)
    cost = places.cost(origin)
    assume(cost < 20_000)
    compared, matched = tries(pattern, origin)
    assert cost == compared
    assert matched == (re.fullmatch(pattern, origin) is not None)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(patterns)
def test_the_search_finds_the_worst_of_all_origins(pattern: str) -> None:
    """Every word of at most three letters is repeated; none costs more than the limit if the search says so."""
    places = Places(pattern)
    cost, beginning = places.worst()
    assert cost > LIMIT or places.cost(beginning) <= cost
    if cost <= LIMIT:
        words = ["".join(word) for size in (1, 2, 3) for word in product("ab.", repeat=size)]
        assert all(places.cost((word * 300)[:LONGEST_ORIGIN]) <= LIMIT for word in words)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(patterns, st.text("ab.", min_size=1, max_size=30))
def test_what_is_accepted_answers_every_origin_in_a_bounded_number_of_steps(tail: str, host: str) -> None:
    pattern = rf"https://(?:{tail})\.example\.com"
    if problem(pattern) == "":
        assert Places(pattern).cost(f"https://{host * 10}"[:LONGEST_ORIGIN]) <= LIMIT


@given(st.text(max_size=30) | st.from_regex(r"[a-z.*+?()|\[\]{},\\0-9^$:/-]{0,25}", fullmatch=True))
@settings(max_examples=300, deadline=None)
def test_no_text_is_too_odd_to_be_judged(pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError):
        assert "no regular expression" in problem(pattern)
    except FutureWarning:
        assume(False)
    else:
        try:
            Places(pattern).worst()
        except UnforeseeableError:
            assert problem(pattern)
