"""Path patterns, and the paths of a request that they are compared with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from starlette._utils import get_route_path

from secguard._paths import PathPattern, PathRules, expression, possible_paths, routed_path, specificity

PATTERN: TypeAdapter[str] = TypeAdapter(PathPattern)

WHOLE_SEGMENTS = [
    # pattern, path, whether it holds
    ("/admin", "/admin", True),
    ("/admin", "/admin/", True),
    ("/admin", "/admin/users/7", True),
    ("/admin", "/administrator", False),
    ("/admin", "/Admin", False),
    ("/admin", "/", False),
    ("/admin", "/x/admin", False),
    ("/admin", "/admin\n", False),
    ("/admin", "admin", False),
    ("/", "/", True),
    ("/", "/anything/at/all", True),

    ("/users/{id}/keys", "/users/7/keys", True),
    ("/users/{id}/keys", "/users/7/keys/2", True),
    ("/users/{id}/keys", "/users//keys", False),
    ("/users/{id}/keys", "/users/7/8/keys", False),
    ("/users/*", "/users/7", True),
    ("/users/*", "/users", False),
    ("/users/*", "/users/", False),
    ("/*/keys", "/a\nb/keys", True),

    ("/a.b", "/axb", False),
    ("/a+(b)", "/a+(b)/c", True),
    ("/straße", "/straße", True),
    ("/with space", "/with space", True),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "path", "holds"), WHOLE_SEGMENTS)
def test_patterns_match_whole_segments(pattern: str, path: str, holds: bool) -> None:
    assert bool(PathRules([[pattern]]).match([path])) is holds


def test_rules_tell_which_groups_hold_for_any_of_the_paths() -> None:
    rules = PathRules([["/"], ["/a", "/b"], [], ["/b/*"]])
    assert rules.match(["/b/1"]) == (0, 1, 3)
    assert rules.match(iter(["/x", "/a"])) == (0, 1)
    assert rules.match([]) == ()


LAST_WORD = {
    "the pattern with more literal segments": ([["/a/b"], ["/a"]], "/a/b", (1, 0)),
    "as many literal segments, and more at all": ([["/a/*"], ["/a"]], "/a/b", (1, 0)),
    "a pattern that does not match counts for nothing": ([["/a/b"], ["/a", "/z/y/x"]], "/a/b", (1, 0)),
    "a rule counts by the best of its patterns that match": ([["/a/b", "/"], ["/a"]], "/a/b", (1, 0)),
    "and by a lesser one elsewhere": ([["/a/b", "/"], ["/a"]], "/a/c", (0, 1)),
    "of two alike, the one written last": ([["/{x}/b"], ["/a/*"]], "/a/b", (0, 1)),
    "of the same two the other way round, too": ([["/a/*"], ["/{x}/b"]], "/a/b", (0, 1)),
}


@pytest.mark.parametrize(("groups", "path", "matched"), LAST_WORD.values(), ids=LAST_WORD.keys())
def test_the_last_word_goes_to(groups: list[list[str]], path: str, matched: tuple[int, ...]) -> None:
    assert PathRules(groups).match([path]) == matched


patterns = st.lists(st.sampled_from(["a", "b", "*", "{x}"]), max_size=3).map(lambda parts: "/" + "/".join(parts))
paths = st.lists(st.sampled_from("ab"), max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(st.lists(patterns, max_size=3), max_size=4), st.lists(paths, max_size=2))
def test_groups_come_in_the_order_of_their_best_pattern_that_matches(groups: list[list[str]], tried: list[str]) -> None:
    best = {
        at: max(specificity(pattern) for pattern in holding)
        for at, group in enumerate(groups)
        if (holding := [pattern for pattern in group if PathRules([[pattern]]).match(tried)])
    }
    assert PathRules(groups).match(tried) == tuple(sorted(best, key=lambda at: (best[at], at)))


@given(patterns, patterns, paths)
def test_patterns_with_the_same_expression_match_the_same(one: str, other: str, path: str) -> None:
    if expression(one) == expression(other):
        assert PathRules([[one]]).match([path]) == PathRules([[other]]).match([path])
        assert specificity(one) == specificity(other)
    else:
        assert one.replace("{x}", "*") != other.replace("{x}", "*")


def test_without_patterns_there_are_no_rules() -> None:
    assert not PathRules(())
    assert not PathRules([[]])
    assert PathRules([["/"]])


@given(st.text("/ab*{.", max_size=8).map("/".__add__), st.sampled_from(["/a", "/a/b", "/a/*", "/*/b"]))
def test_a_pattern_holds_where_its_segments_are_the_first_of_the_path(path: str, pattern: str) -> None:
    wanted, given_ = pattern.split("/")[1:], path.split("/")[1:]
    holds = len(given_) >= len(wanted) and all(
        want in ("*", have) and have for want, have in zip(wanted, given_, strict=False)
    )
    assert bool(PathRules([[pattern]]).match([path])) is bool(holds)


GOOD = {"/": "/", "/admin": "/admin", "/admin/": "/admin", "/users/{id}/*": "/users/{id}/*", "/ü b": "/ü b"}


@pytest.mark.parametrize(("written", "kept"), GOOD.items())
def test_good_patterns_lose_their_trailing_slash_only(written: str, kept: str) -> None:
    assert PATTERN.validate_python(written) == kept


BAD = {
    "": "begins with one slash",
    "admin": "begins with one slash",
    "//admin": "no empty segment",
    "/a//b": "no empty segment",
    "/admin//": "no empty segment",
    "/a%2fb": "percent-decoded",
    "/a?b": "no query",
    "/a#b": "no query",
    "/a*": "literal, {name} or *",
    "/**": "literal, {name} or *",
    "/{a}b": "literal, {name} or *",
    "/{}": "literal, {name} or *",
    "/{1}": "literal, {name} or *",
    "/{a:path}": "literal, {name} or *",
    "/a/../b": "no dot segments",
    "/.": "no dot segments",
}


@pytest.mark.parametrize(("written", "problem"), BAD.items(), ids=repr)
def test_bad_patterns_say_what_is_wrong_and_what_to_write(written: str, problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PATTERN.validate_python(written)
    (error,) = caught.value.errors()
    assert error["type"] == "path-pattern"
    assert problem in error["msg"]
    assert "/users/{id}/keys" in error["msg"]


def test_literal_segments_make_a_pattern_specific() -> None:
    patterns = ["/", "/*", "/{a}/{b}", "/a", "/a/*", "/a/b", "/a/b/{c}", "/a/b/c"]
    mixed = [patterns[at] for at in (3, 0, 7, 5, 1, 6, 4, 2)]
    assert sorted(mixed, key=specificity) == patterns


ROUTED = [
    # path, root path, as routed
    ("/api/admin", "/api", "/admin"),
    ("/api/admin", "/api/", "/admin"),
    ("/api", "/api", "/"),
    ("/api/", "/api", "/"),
    ("/apiary", "/api", "/apiary"),
    ("/admin", "/api", "/admin"),
    ("/admin", "", "/admin"),
    ("/admin", "/", "/admin"),
    ("/api/api/x", "/api", "/api/x"),
]


@pytest.mark.parametrize(("path", "root_path", "routed"), ROUTED)
def test_routed_path_is_the_path_without_the_root_path_in_front(path: str, root_path: str, routed: str) -> None:
    assert routed_path(path, root_path) == routed


@given(st.text("/abc", max_size=8).map("/".__add__), st.sampled_from(["", "/a", "/a/b", "/abc"]))
def test_routed_path_is_the_one_that_starlette_routes(path: str, root_path: str) -> None:
    assert routed_path(path, root_path) == (get_route_path({"path": path, "root_path": root_path}) or "/")


POSSIBLE = [
    # path, root paths, one of the paths it may be served as
    ("/admin", ["", ""], "/admin"),
    ("/api/admin", ["/api", ""], "/admin"),
    ("/api/admin", ["", "/api"], "/admin"),
    ("/admin", ["/api", ""], "/api/admin"),
    ("/v1/api/admin", ["/v1", "/api"], "/admin"),
    ("/api/v1/admin", ["/v1", "/api"], "/admin"),
    ("/apiadmin", ["/api", ""], "/admin"),
    ("/x/api/admin", ["/api", ""], "/admin"),
    ("/api/admin", ["/api/", ""], "/admin"),
]


@pytest.mark.parametrize(("path", "root_paths", "possible"), POSSIBLE)
def test_a_refusing_rule_sees_every_path_that_a_framework_may_make_of_it(
    path: str, root_paths: list[str], possible: str
) -> None:
    assert possible in possible_paths(path, root_paths)


def test_without_root_paths_there_is_one_path() -> None:
    assert possible_paths("/admin", ("", "/")) == ("/admin",)


@given(st.text("/ap", max_size=10).map("/".__add__), st.lists(st.sampled_from(["", "/", "/a", "/ap/"]), max_size=2))
def test_possible_paths_hold_the_path_itself_and_the_routed_one(path: str, root_paths: list[str]) -> None:
    possible = possible_paths(path, root_paths)
    assert possible[0] == path
    assert len(possible) == len(set(possible))
    assert {routed_path(path, root_path) for root_path in root_paths} <= set(possible)


def test_a_path_of_a_million_characters_is_compared_once() -> None:
    assert PathRules([["/{a}/{b}/{c}/x", "/*/*/*/y"]]).match(["/" + "a" * 1_000_000]) == ()


def test_flood_of_paths_leaves_a_bounded_memory() -> None:
    rules = PathRules([["/admin"]])
    for number in range(3000):
        assert rules.match([f"/{number}"]) == ()
        assert rules.match([f"/admin/{'x' * 10_000}{number}"]) == (0,)
    assert len(rules._known) <= 1024
    assert max(map(len, rules._known)) <= 256
    assert rules.match(["/admin"]) == (0,)
