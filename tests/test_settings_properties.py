"""What holds for any settings: however they are written they are the same, and no garbage goes unmentioned."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from secguard.settings import Problem
from tests.settings_helpers import settings, wrong

relaxed = limits(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

# Values that are written the same everywhere: no quotes, no commas, no blanks at the ends, none of our own words.
words = st.text("abcäß/:.-_ ", min_size=1, max_size=8).map(str.strip).filter(lambda word: word)
names = st.text("abc-", min_size=1, max_size=6).filter(lambda name: "--" not in name and name.strip("-") == name)
counts = st.integers(0, 10**9)
lists = st.lists(words, max_size=3)

parts = st.fixed_dictionaries({}, optional={"depth": counts, "label": words | st.none()})
rules = st.fixed_dictionaries({"paths": lists}, optional={"count": counts})
toys = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["enforce", "report"]),
        "flag": st.booleans(),
        "maybe": st.booleans() | st.none(),
        "count": counts,
        "label": words,
        "names": lists,
        "sizes": st.lists(counts, max_size=3) | st.none(),
        "choice": st.sampled_from(["auto", "off", "on"]),
        "frame": st.sampled_from(["DENY", "SAME"]) | st.none(),
        "either": counts | st.just("all"),
        "part": parts | st.none(),
        "table": st.dictionaries(names, lists | st.none(), max_size=3),
        "limits": st.dictionaries(names, counts, max_size=3) | st.none(),
        "parts": st.dictionaries(names, parts, max_size=2),
        "rules": st.lists(rules, max_size=2),
        "password": words | st.none(),
        "pins": lists,
    },
)
trees = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["enforce", "report"]),
        "profile": st.sampled_from(["web", "strict", "api"]),
        "toy": toys | st.none(),
        "spare": st.fixed_dictionaries({"size": counts}) | st.none(),
    },
)


def text(value: Any) -> str:
    """Write a leaf as a variable holds it."""
    if value is None:
        return "off"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and value and not isinstance(value[0], dict):
        return ", ".join(str(item) for item in value)
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def variables(tree: Mapping[str, Any], prefix: str = "SECGUARD_") -> Iterator[tuple[str, str]]:
    """Write each leaf as a variable of its own."""
    for name, value in tree.items():
        variable = prefix + name.upper().replace("-", "_")
        if isinstance(value, dict) and value:
            yield from variables(value, f"{variable}__")
        else:
            yield variable, text(value)


def sections(tree: Mapping[str, Any]) -> dict[str, str]:
    """Write each section as JSON."""
    return {
        f"SECGUARD_{name.upper()}": json.dumps(value) if isinstance(value, dict) else text(value)
        for name, value in tree.items()
    }


def lines(env: Mapping[str, str]) -> str:
    """Write variables as a dotenv file."""
    return "".join(f"{name}='{value}'\n" for name, value in env.items())


@given(trees)
@relaxed
def test_however_they_are_written_they_are_the_same(tree: dict[str, Any]) -> None:
    expected = settings(**tree)
    env = dict(variables(tree))
    assert settings(env) == expected
    assert settings({name.lower(): value for name, value in env.items()}) == expected
    assert settings(sections(tree)) == expected
    assert settings(dotenv=lines(env)) == expected
    assert settings(dotenv=lines(sections(tree))) == expected
    assert settings(secrets=env) == expected


@given(trees, trees)
@relaxed
def test_the_stronger_place_wins_wherever_the_two_are(strong: dict[str, Any], weak: dict[str, Any]) -> None:
    """In code nothing contradicts, so that the result is known. Variables agree, or say that they do not."""
    told = wrong(dict(variables(strong)), lines(dict(variables(weak))))
    if told:
        assert {problem.code for problem in told} == {"off-and-set"}
    else:
        assert settings(dict(variables(strong)), lines(dict(variables(weak)))) == settings(
            dict(variables(weak)), **strong
        )


@given(trees)
@relaxed
def test_every_written_leaf_is_traced_to_its_variable(tree: dict[str, Any]) -> None:
    env = dict(variables(tree))
    told = {origin.name for origin in settings(env).origins.values() if origin.kind == "environment"}
    assert told <= env.keys()
    assert {name for name, value in env.items() if value not in {"{}", "on"}} <= told


def as_passed(name: str) -> str:
    """Return a name as it comes out of an environment: its bytes may be UTF-8 after all."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


# What an environment can hold: bytes that need not be UTF-8, but no NUL, and no equals sign in a name.
raw = st.binary(max_size=12).map(lambda value: value.decode("utf-8", "surrogateescape"))
texts = (st.text(st.characters(codec="utf-8"), max_size=12) | raw).map(
    lambda value: value.translate({0: None, 61: None})
)
parts_of_names = st.sampled_from(
    ["TOY", "HEADERS", "PART", "TABLE", "COUNT", "MODE", "RULES", "HSTS", "_", "__", "X", "é"]
)
garbage_names = st.lists(parts_of_names | texts, max_size=4).map(
    lambda parts: as_passed("SECGUARD_" + "__".join(parts))
)
garbage_values = texts | st.sampled_from(["off", "on", "{}", "[]", "{", '{"a": 1}', "[[[", "null", "1", "a,b"])


@given(st.dictionaries(garbage_names, garbage_values, min_size=1, max_size=6))
@relaxed
def test_no_garbage_goes_unmentioned(env: dict[str, str]) -> None:
    places = [problem.where for problem in wrong(env)]
    assert all(known(name) or any(as_shown(name) in place for place in places) for name in env)


def as_shown(name: str) -> str:
    return Problem("", name, None, "").where


def known(name: str) -> bool:
    """Whether a variable is one of ours by a rule that this test has of its own: the fields, walked by name."""
    *above, last = name.removeprefix("SECGUARD_").lower().split("__")
    at: Any = {"mode": 0, "toy": {"part": {}, "table": 1, "count": 0, "mode": 0, "rules": 0}, "headers": {"hsts": {}}}
    for part in above:
        at = at.get(part) if isinstance(at, dict) else None
        if at is None:
            return False
    return bool(last) if at == 1 else isinstance(at, dict) and last in at


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | st.just("count"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["toy", "mode", "headers", "x"]), values), st.dictionaries(garbage_names, texts))
@relaxed
def test_garbage_in_code_raises_nothing_else(code: dict[str, Any], env: dict[str, str]) -> None:
    wrong(env, **code)
