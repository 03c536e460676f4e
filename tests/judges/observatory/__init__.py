"""The MDN HTTP Observatory's rules, algorithm 6, written down again from what Mozilla publishes.

Each file names the one it follows; the numbers are in `scores`. Left out, because no site of ours needs it: policies in
`<meta>` elements, cookies for other domains, a missing or bad certificate, pages that cannot be parsed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from tests.judges.observatory import headers
from tests.judges.observatory.cookies import cookies
from tests.judges.observatory.csp import csp
from tests.judges.observatory.scores import EXTRA_CREDIT_FROM, GRADES, SCORES
from tests.judges.observatory.scripts import integrity
from tests.judges.observatory.site import Site

__all__ = ["SCORES", "Site", "Verdict", "grade_of", "judge", "score_of"]


@dataclass(frozen=True)
class Verdict:
    """The result of each test."""

    results: Mapping[str, str]

    @cached_property
    def modifiers(self) -> Mapping[str, int]:
        return {test: SCORES[test][result] for test, result in self.results.items()}

    @property
    def counted(self) -> Mapping[str, int]:
        """The tests that gave or took points."""
        return {test: modifier for test, modifier in self.modifiers.items() if modifier}

    @property
    def score(self) -> int:
        return score_of(self.modifiers.values())

    @property
    def grade(self) -> str:
        return grade_of(self.score)


def score_of(modifiers: Collection[int]) -> int:
    """Start from 100. What is given counts only where little was taken."""
    score = 100 + sum(modifier for modifier in modifiers if modifier < 0)
    if score >= EXTRA_CREDIT_FROM:
        score += sum(modifier for modifier in modifiers if modifier > 0)
    return max(score, 0)


def grade_of(score: int) -> str:
    return next(grade for lowest, grade in GRADES.items() if score >= lowest)


def judge(site: Site) -> Verdict:
    """Judge a site."""
    hsts = headers.hsts(site)
    protected = hsts in ("hsts-preloaded", "hsts-implemented-max-age-at-least-six-months")
    return Verdict({
        "content-security-policy": csp(site),
        "cookies": cookies(site, hsts=protected),
        "cross-origin-resource-sharing": headers.sharing(site),
        "redirection": headers.redirection(site),
        "referrer-policy": headers.referrer(site),
        "strict-transport-security": hsts,
        "subresource-integrity": integrity(site),
        "x-content-type-options": headers.nosniff(site),
        "x-frame-options": headers.frames(site),
        "cross-origin-resource-policy": headers.resource_policy(site),
        "cross-origin-opener-policy": headers.opener_policy(site),
        "cross-origin-embedder-policy": headers.embedder_policy(site),
    })  # fmt: skip
