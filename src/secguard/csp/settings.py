"""The `csp` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from secguard._paths import PathPattern
from secguard.csp.directives import Directives
from secguard.policy import Section
from secguard.policy.section import COMMAS, Several


def _check_report_only(directives: Directives) -> Directives:
    ignored = [name for name in ("sandbox", "upgrade_insecure_requests") if getattr(directives, name) is not None]
    if ignored:
        raise PydanticCustomError(
            "csp-report-only",
            "browsers ignore {ignored} in a report-only policy, and say so in every visitor's console: take it away",
            {"ignored": " and ".join(ignored)},
        )
    return directives


ReportOnly = Annotated[Directives, AfterValidator(_check_report_only)]


class CSPFields(Section):
    """What `csp` and each of its rules may set: the enforced policy, and one that only reports.

    Raises:
        ValidationError: see `Directives`; and a report-only policy with what only an enforced one can hold
            (`csp-report-only`).

    Example:
        >>> CSPFields(report_only=Directives(img_src=[SELF, DATA])).report_only.img_src
        ("'self'", 'data:')
    """

    directives: Directives = Directives()
    """Laid over the profile's (in a rule: over the section's), directive by directive; `None` (`off`) deletes one."""
    report_only: ReportOnly | None = None
    """A second policy, which blocks nothing and only reports: just the directives that it names."""


class CSPRule(CSPFields):
    """A policy for some paths. What the rule sets takes the place of the section's.

    Raises:
        ValidationError: see `CSPFields`; and no path, or one that is no pattern (`path-pattern`).

    Example:
        >>> CSPRule(paths=["/map"], directives=Directives(connect_src="https://tiles.example.com")).paths
        ('/map',)
    """

    paths: Annotated[Several[PathPattern], COMMAS, Field(min_length=1)]
    """Path patterns, compared with the path as routed."""


class CSPSettings(CSPFields):
    """Content-Security-Policy: what a page may load, run and talk to.

    Raises:
        ValidationError: see `CSPFields` and `CSPRule`.

    Example:
        >>> CSPSettings(directives=Directives(script_src=[SELF, NONCE])).directives.script_src
        ("'self'", "'nonce'")
    """

    rollout: Literal["enforce", "report"] = "enforce"
    """`report` enforces the policy of `web` and reports what that of `strict` would block. The profile `api` keeps its
    own enforced, which is narrower than either."""
    rules: Several[CSPRule] = ()
    """Exceptions by path; of several that match, the most specific has the last word."""
