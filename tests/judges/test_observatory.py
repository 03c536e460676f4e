"""The MDN HTTP Observatory's opinion of what secguard sends on https in production."""

from dataclasses import replace
from typing import Any

import pytest

from tests.judges.conftest import Ask
from tests.judges.observatory import Site, judge
from tests.judges.profiles import PROFILES, Profile, app, guarded, seen

# What algorithm 6 gives for, profile by profile; it takes for nothing.
COUNTED: dict[Profile, dict[str, int]] = {
    "web": {
        "content-security-policy": 10,  # default-src 'none', and nothing unsafe
        "referrer-policy": 5,
        "x-frame-options": 5,  # by frame-ancestors
        "cross-origin-resource-policy": 10,  # same-site
        "cross-origin-opener-policy": 10,  # same-origin-allow-popups
    },
    "strict": {
        "content-security-policy": 10,
        "referrer-policy": 5,
        "x-frame-options": 5,
        "cross-origin-resource-policy": 10,
        "cross-origin-opener-policy": 10,
        "cross-origin-embedder-policy": 10,  # credentialless
    },
    "api": {
        "content-security-policy": 10,
        "referrer-policy": 5,
        "x-frame-options": 5,
        "cross-origin-resource-policy": 10,
        "cross-origin-opener-policy": 10,
    },
}
SCORES: dict[Profile, int] = {"web": 140, "strict": 150, "api": 140}

# MDN's own code, as far as it can be had: algorithm 4, without the opener and the embedder policy.
SCORES_OF_4: dict[Profile, int] = {"web": 130, "strict": 130, "api": 130}

# What the app itself can add.
MORE: dict[str, tuple[int, dict[str, bool]]] = {
    "a session cookie as ours is": (5, {"cookie": True}),
    "and a hash on its own scripts": (10, {"cookie": True, "hashed": True}),
}
PRELOAD = {"hsts": {"max_age": 63072000, "include_subdomains": True, "preload": True}}


@pytest.fixture(params=[False, True], ids=["without a nonce", "with a nonce"])
def nonce(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("profile", PROFILES)
def test_each_header_counts_as_it_is_meant_to(profile: Profile, nonce: bool) -> None:
    verdict = judge(guarded(profile, nonce=nonce))
    assert verdict.counted == COUNTED[profile]
    assert (verdict.score, verdict.grade) == (SCORES[profile], "A+")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_rehearsal_of_a_stricter_policy_costs_nothing(profile: Profile, nonce: bool) -> None:
    site = guarded(profile, nonce=nonce, csp={"rollout": "report"})
    assert judge(site).score == SCORES[profile]


@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("profile", PROFILES)
def test_cookies_and_hashes_of_the_app_count_on_top(profile: Profile, more: str) -> None:
    gained, added = MORE[more]
    assert judge(guarded(profile, **added)).score == SCORES[profile] + gained


def test_the_highest_score_there_is_can_be_had() -> None:
    site = guarded("strict", cookie=True, hashed=True, headers=PRELOAD)
    assert judge(replace(site, preloaded=True)).score == 165


def test_an_app_without_secguard_fails() -> None:
    assert judge(seen(app())).score == 30


@pytest.fixture(scope="module")
def mdn(ask: Ask) -> dict[str, Any]:
    """What MDN's own code says of each profile's site, without and with a nonce, and of an app without secguard."""
    sites: dict[str, Site] = {"bare": seen(app())}
    for profile in PROFILES:
        sites[f"{profile}, without a nonce"] = guarded(profile)
        sites[f"{profile}, with a nonce"] = guarded(profile, nonce=True)
    answer = ask("mdn_observatory.mjs", [site.as_json() for site in sites.values()])
    return dict(zip(sites, answer["verdicts"], strict=True))


@pytest.mark.parametrize("profile", PROFILES)
def test_mdn_itself_agrees_as_far_as_its_code_can_be_had(profile: Profile, nonce: bool, mdn: dict[str, Any]) -> None:
    verdict = mdn[f"{profile}, {'with' if nonce else 'without'} a nonce"]
    theirs = {test: modifier for test, (_, modifier) in verdict["tests"].items() if modifier}
    assert theirs == {test: modifier for test, modifier in COUNTED[profile].items() if test in verdict["tests"]}
    assert (verdict["score"], verdict["grade"]) == (SCORES_OF_4[profile], "A+")


def test_mdn_itself_fails_an_app_without_secguard(mdn: dict[str, Any]) -> None:
    assert mdn["bare"]["score"] == 30
