"""X-Frame-Options and frame-ancestors say the same: what somebody set of the one, the other follows.

Browsers that know frame-ancestors ignore X-Frame-Options beside it (CSP 3 section 6.4.2.2), old ones and auditors read
the old header. It cannot name other sites: where frame-ancestors does, it is not sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pydantic_core import ErrorDetails

from secguard._paths import expression
from secguard.csp import NONE, SELF, CSPFields, CSPRule, CSPSettings, Directives
from secguard.headers import HeaderFields, HeaderRule, HeadersSettings

_ANCESTORS: Final[dict[str, tuple[str, ...]]] = {"DENY": (NONE,), "SAMEORIGIN": (SELF,)}
_OPTIONS: Final = {sources: option for option, sources in _ANCESTORS.items()}


def agreed(
    headers: HeadersSettings, csp: CSPSettings, ancestors: Sequence[str] | None, *, explicit: bool
) -> tuple[HeadersSettings, CSPSettings]:
    """Return both sections, each following what the other was told.

    `ancestors` are those of the policy in force, and `explicit` tells whether somebody set `headers.frame_options`.
    """
    own = _ANCESTORS.get(headers.frame_options or "") if explicit else None
    if own and not _names(csp):
        csp = csp.model_copy(update={"directives": csp.directives.model_copy(update={"frame_ancestors": own})})
    elif not explicit:
        headers = headers.model_copy(update={"frame_options": _option(ancestors)})
    # Of rules that are as specific as each other the last has the last word. So that this is the same rule in both
    # sections, those of `headers` stand behind those of `csp` in either: one that switches X-Frame-Options off, which
    # says nothing of frame-ancestors, is obeyed there too.
    followed = [
        HeaderRule(paths=rule.paths, frame_options=_option(rule.directives.frame_ancestors))
        for rule in csp.rules
        if _names(rule)
    ]
    following = [
        CSPRule(paths=rule.paths, directives=Directives(frame_ancestors=_ANCESTORS[rule.frame_options]))
        for rule in headers.rules
        if _says(rule) and rule.frame_options
    ]
    return (
        headers.model_copy(update={"rules": (*followed, *headers.rules)}),
        csp.model_copy(update={"rules": (*csp.rules, *following)}),
    )


def contradictions(headers: HeadersSettings, csp: CSPSettings, *, explicit: bool) -> Iterator[ErrorDetails]:
    """Yield an error for each place where somebody set both, and they differ."""
    pairs: list[tuple[tuple[str | int, ...], HeaderFields, CSPFields]] = [
        (("headers", "rules", at, "frame_options"), rule, other)
        for at, rule in enumerate(headers.rules)
        for other in csp.rules
        if _says(rule) and not _matched(rule).isdisjoint(_matched(other))
    ]
    if explicit:
        pairs.insert(0, (("headers", "frame_options"), headers, csp))
    for loc, fields, other in pairs:
        option, ancestors = fields.frame_options, other.directives.frame_ancestors
        if option and _names(other) and _option(ancestors) != option:
            said = " ".join(ancestors) if ancestors else "nothing"
            message = (
                f"X-Frame-Options says {option} and frame-ancestors says {said}: "
                "set csp.directives.frame_ancestors alone, and X-Frame-Options follows it"
            )
            yield ErrorDetails(type="frame-options", loc=loc, msg=message, input=option)


def _option(ancestors: Sequence[str] | None) -> str | None:
    """Return the X-Frame-Options that says what frame-ancestors does, or None where there is none."""
    return _OPTIONS.get(tuple(ancestors or ()))


def _matched(rule: HeaderRule | CSPRule) -> set[str]:
    """Return what the patterns of a rule match, comparable however their segments are named."""
    return {expression(pattern) for pattern in rule.paths}


def _names(part: CSPFields) -> bool:
    return "frame_ancestors" in part.directives.model_fields_set


def _says(rule: HeaderRule) -> bool:
    return "frame_options" in rule.model_fields_set
