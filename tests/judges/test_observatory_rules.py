"""Our account of the Observatory's rules, beside MDN's own code (algorithm 4) and what MDN says of algorithm 6."""

from random import Random
from typing import Any

import pytest

from tests.judges.conftest import Ask
from tests.judges.observatory import SCORES, grade_of, judge, score_of
from tests.judges.sites import SITES, combined, headers

OPENER_TEST, EMBEDDER_TEST = "cross-origin-opener-policy", "cross-origin-embedder-policy"
SHARED = SCORES.keys() - {OPENER_TEST, EMBEDDER_TEST}

# Algorithm 5 gives for the header what 4 gives only for frame-ancestors.
RAISED = {"x-frame-options-sameorigin-or-deny": 5}

# Where algorithm 6 says something else than 4, whose code we have: (what 4 says, what 6 says) of Subresource Integrity.
MOVED = {
    # Origins are compared exactly, and no longer by registrable domain.
    "scripts: another subdomain": (
        "sri-not-implemented-but-all-scripts-loaded-from-secure-origin",
        "sri-not-implemented-but-external-scripts-loaded-securely",
    ),
    # A script without a scheme is as safe as the page's own way to https (their issue 464).
    "scripts: without a scheme": (
        "sri-not-implemented-and-external-scripts-not-loaded-securely",
        "sri-not-implemented-but-external-scripts-loaded-securely",
    ),
    "scripts: without a scheme, hashed": (
        "sri-implemented-but-external-scripts-not-loaded-securely",
        "sri-implemented-and-external-scripts-loaded-securely",
    ),
    "scripts: without a scheme, nobody on http": (
        "sri-not-implemented-and-external-scripts-not-loaded-securely",
        "sri-not-implemented-but-external-scripts-loaded-securely",
    ),
    "scripts: own, without a scheme": (
        "sri-implemented-but-external-scripts-not-loaded-securely",
        "sri-implemented-and-all-scripts-loaded-securely",
    ),
    "scripts: own, without a scheme, on http": (
        "sri-implemented-but-external-scripts-not-loaded-securely",
        "sri-not-implemented-but-all-scripts-loaded-from-secure-origin",
    ),
    # A page that does not say what it is may be HTML.
    "scripts: in what is not said": (
        "sri-not-implemented-response-not-html",
        "sri-not-implemented-and-external-scripts-not-loaded-securely",
    ),
}


@pytest.fixture(scope="module")
def mdn(ask: Ask) -> dict[str, Any]:
    """What MDN's own code says of each site."""
    answer = ask("mdn_observatory.mjs", [site.as_json() for site in SITES.values()])
    assert answer["algorithm"] == 4
    return dict(zip(SITES, answer["verdicts"], strict=True))


@pytest.mark.parametrize("name", SITES)
def test_both_say_the_same_but_for_what_has_moved(name: str, mdn: dict[str, Any]) -> None:
    ours = judge(SITES[name]).results
    theirs = {test: result for test, (result, _) in mdn[name]["tests"].items()}
    assert theirs.keys() == SHARED
    moved = {"subresource-integrity": MOVED[name]} if name in MOVED else {}
    assert {test: (theirs[test], ours[test]) for test in SHARED if theirs[test] != ours[test]} == moved


def test_both_say_the_same_of_combinations(ask: Ask) -> None:
    draw = Random(6)  # noqa: S311 - the same every time
    sites = [combined(draw, but={*MOVED, "scripts: without a scheme, on http"}) for _ in range(300)]
    theirs = ask("mdn_observatory.mjs", [site.as_json() for site in sites])["verdicts"]
    for site, verdict in zip(sites, theirs, strict=True):
        ours = judge(site).results
        assert {test: result for test, (result, _) in verdict["tests"].items()} == {test: ours[test] for test in SHARED}


def test_every_result_is_worth_the_same(mdn: dict[str, Any]) -> None:
    # All of the shared tests' results occur among the sites, so that every number that can be compared is.
    worth = {result: modifier for verdict in mdn.values() for result, modifier in verdict["tests"].values()}
    assert {result: SCORES[test][result] for test in SHARED for result in SCORES[test]} == worth | RAISED


def test_modifiers_are_summed_alike(mdn: dict[str, Any]) -> None:
    scores = {name: score_of([modifier for _, modifier in mdn[name]["tests"].values()]) for name in mdn}
    assert {name: (score, grade_of(score)) for name, score in scores.items()} == {
        name: (verdict["score"], verdict["grade"]) for name, verdict in mdn.items()
    }


def test_the_highest_scores_are_those_that_are_published() -> None:
    # 145 on developer.mozilla.org/en-US/observatory/docs/tests_and_scoring (algorithm 4); the two new tests add 20.
    highest = {test: max(results.values()) for test, results in SCORES.items()}
    assert 100 + sum(highest[test] for test in SHARED) == 145
    assert 100 + sum(highest.values()) == 165


# What MDN's own tests say of algorithm 6; the peers' defaults, on https; an app that does nothing.
KNOWN = {
    "observatory.mozilla.org": (110, "A+"),
    "mozilla.org": (75, "B"),
    "helmet 8": (130, "A+"),
    "Django, with HSTS": (75, "B"),
    "bare": (30, "D"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_sites_score_what_is_known(name: str) -> None:
    verdict = judge(SITES[name])
    assert (verdict.score, verdict.grade) == KNOWN[name]


# The numbers of pull request 498, and the cases of the tests that came with it.
OPENER = {
    "same-origin": ("coop-implemented-with-same-origin", 10),
    "same-origin-allow-popups": ("coop-implemented-with-same-origin-allow-popups", 10),
    "noopener-allow-popups": ("coop-implemented-with-noopener-allow-popups", 10),
    "unsafe-none": ("coop-implemented-with-unsafe-none", 0),
    'same-origin; report-to="coop-endpoint"': ("coop-implemented-with-same-origin", 10),
    "same-origin; report-to": ("coop-implemented-with-same-origin", 10),
    "": ("coop-not-implemented", 0),
    "whimsy": ("coop-header-invalid", -5),
    '"same-origin"': ("coop-header-invalid", -5),
    "Same-Origin": ("coop-header-invalid", -5),
    "same-origin; report-to=coop endpoint": ("coop-header-invalid", -5),
    "same-origin, unsafe-none": ("coop-header-invalid", -5),
}
EMBEDDER = {
    "require-corp": ("coep-implemented-with-require-corp", 10),
    "credentialless": ("coep-implemented-with-credentialless", 10),
    'require-corp; report-to="endpoint"': ("coep-implemented-with-require-corp", 10),
    "unsafe-none": ("coep-implemented-with-unsafe-none", 0),
    "": ("coep-not-implemented", 0),
    "same-origin": ("coep-header-invalid", -5),
}


@pytest.mark.parametrize("value", OPENER)
def test_opener_policy_is_read_as_the_structured_field_it_is(value: str) -> None:
    verdict = judge(headers(cross_origin_opener_policy=value))
    assert (verdict.results[OPENER_TEST], verdict.modifiers[OPENER_TEST]) == OPENER[value]


@pytest.mark.parametrize("value", EMBEDDER)
def test_embedder_policy_is_read_as_the_structured_field_it_is(value: str) -> None:
    verdict = judge(headers(cross_origin_embedder_policy=value))
    assert (verdict.results[EMBEDDER_TEST], verdict.modifiers[EMBEDDER_TEST]) == EMBEDDER[value]


def test_every_result_of_the_new_tests_was_reached() -> None:
    assert dict([*OPENER.values(), *EMBEDDER.values()]) == {**SCORES[OPENER_TEST], **SCORES[EMBEDDER_TEST]}
