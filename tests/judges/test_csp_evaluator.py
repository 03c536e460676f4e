"""Google's csp-evaluator finds nothing of MEDIUM or worse in a policy of ours."""

from itertools import product
from typing import Any

import pytest

from tests.judges.conftest import Ask
from tests.judges.profiles import PROFILES, guarded

# Its severities count down: HIGH is 10, SYNTAX 20, MEDIUM 30. From 40 on, it is a maybe or advice.
MEDIUM = 30

ENFORCED = "content-security-policy"
REHEARSED = "content-security-policy-report-only"
SENT = [("enforce", ENFORCED), ("report", ENFORCED), ("report", REHEARSED)]

CASES = {
    f"{profile}, {'with' if nonce else 'without'} a nonce, rollout={rollout}: {header}": (
        profile,
        nonce,
        rollout,
        header,
    )
    for profile, nonce, (rollout, header) in product(PROFILES, (False, True), SENT)
}

# One for each severity that must not occur, so that silence means something.
BAD = {
    "HIGH": "script-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'",
    "SYNTAX": "script-src 'nonce-MTIzNDU2Nzg5MDEyMzQ1Ng'; object-src 'none'; base-uri 'none'; scriptsrc 'self'",
    "MEDIUM": "script-src 'nonce-short'; object-src 'none'; base-uri 'none'",
}


@pytest.fixture(scope="module")
def policies() -> dict[str, str]:
    sent = {}
    for case, (profile, nonce, rollout, header) in CASES.items():
        policy = guarded(profile, nonce=nonce, csp={"rollout": rollout}).header(header)
        assert policy, f"no {header}"
        sent[case] = policy
    return sent


@pytest.fixture(scope="module")
def findings(ask: Ask, policies: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """What it says of every policy, worst first."""
    asked = policies | BAD
    answers = zip(asked, ask("csp_evaluator.mjs", list(asked.values())), strict=True)
    return {case: sorted(found, key=lambda finding: int(finding["severity"])) for case, found in answers}


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_medium_or_worse(case: str, findings: dict[str, list[dict[str, Any]]]) -> None:
    assert [finding for finding in findings[case] if finding["severity"] <= MEDIUM] == []


@pytest.mark.parametrize("case", CASES)
def test_policy_has_a_nonce_only_where_it_was_read(case: str, policies: dict[str, str]) -> None:
    profile, nonce, _, header = CASES[case]
    asks_for_one = profile != "api" or header == REHEARSED
    assert ("'nonce-" in policies[case]) == (nonce and asks_for_one)


@pytest.mark.parametrize("severity", BAD)
def test_a_bad_policy_is_found(severity: str, findings: dict[str, list[dict[str, Any]]]) -> None:
    assert findings[severity][0]["name"] == severity
