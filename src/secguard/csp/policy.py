"""The policy that sends the headers of the section, and the middleware that holds nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Final, TypeAlias, Unpack

from starlette.types import ASGIApp

from secguard._http import NO_STORE, Declared, Lines, finder, keep, keep_private
from secguard._paths import Matched, PathRules, precedence
from secguard.csp.amendments import AMENDED, Amendments, Policies
from secguard.csp.directives import Directives
from secguard.csp.header import Header, write
from secguard.csp.profiles import PROFILES
from secguard.csp.settings import CSPSettings
from secguard.guard import Guard
from secguard.policy import Context, ContextOptions, Exchange, Policy

ENFORCED: Final = b"content-security-policy"
REPORT_ONLY: Final = b"content-security-policy-report-only"
_meets_the_apps: Final = finder(ENFORCED, REPORT_ONLY, NO_STORE[0])
_NOT_MODIFIED: Final = 304

Headers: TypeAlias = tuple[tuple[bytes, Header], ...]


class CSPPolicy(Policy):
    """Sends Content-Security-Policy, and its report-only twin where there is one.

    1. A page that reads no nonce gets headers that were ready at start, without one.
    2. A page that reads its nonce gets it in every list that asks for one, and is cached by its own browser at most.
    3. A 304 carries no policy that could hold a nonce: the stored response keeps the one it came with.
    4. An app's own policy stands, and several of them stand together (CSP 3 section 4.2).

    Example:
        >>> policy = CSPPolicy(CSPSettings())
        >>> [line.name for line in policy.declare(secure=True, matched=())]
        [b'content-security-policy', b'content-security-policy-report-only']
    """

    section: CSPSettings

    def __init__(self, section: CSPSettings, context: Context | None = None) -> None:
        super().__init__(context)
        self.section = section
        self._rules = sorted(section.rules, key=lambda rule: precedence(rule.paths))
        self.rules = PathRules(rule.paths for rule in self._rules)
        self.offers = MappingProxyType({"csp_nonce": attrgetter("nonce"), AMENDED: self._amendments})
        self._headers = lru_cache(maxsize=1024)(self._compile)
        self._everywhere = self._headers(False, ()), self._headers(True, ())

    def policies(self, matched: Matched) -> Policies:
        """Return the policies of responses to paths that match these rules."""
        rules = [self._rules[at] for at in matched]
        profile, rehearses = self.context.profile, self.section.rollout == "report"
        layers = [part.directives for part in (self.section, *rules)]
        reports = [part.report_only for part in (self.section, *rules) if "report_only" in part.model_fields_set]
        own = reports[-1] if reports else None
        rehearsed = _laid(PROFILES["strict"], layers).rehearsed() if rehearses else None
        return Policies(
            _laid(PROFILES["web" if rehearses and profile == "strict" else profile], layers),
            tuple(policy for policy in (rehearsed, own) if policy is not None),
        )

    def declare(self, secure: bool, matched: Matched) -> Iterator[Declared]:
        """Yield the headers of a response whose nonce nobody read."""
        for name, header in self._headers(secure, matched):
            yield keep(name, header.plain, listed=True)

    def revise(self, exchange: Exchange, headers: Lines) -> None:
        """Set the headers of a response whose nonce was read or whose policy was amended, or of a 304."""
        amended: Policies | None = exchange.notes.get(self) if exchange.notes else None
        if amended:
            ready = _written(amended, exchange.secure)
        elif self._rules:
            ready = self._headers(exchange.secure, self._matched(exchange))
        else:
            ready = self._everywhere[exchange.secure]
        nonce = exchange.nonce_read
        if nonce is None or exchange.status == _NOT_MODIFIED or _meets_the_apps(headers):
            _settle(ready, nonce, exchange.status, headers)
        else:
            word = nonce.encode()
            for name, header in ready:
                if header.plain:
                    headers.append((name, word.join(header.parts)))
            headers.append(NO_STORE)

    def _compile(self, secure: bool, matched: Matched) -> Headers:
        return _written(self.policies(matched), secure)

    def _matched(self, exchange: Exchange) -> Matched:
        return self.rules.match((exchange.routed,))

    def _amendments(self, exchange: Exchange) -> Amendments:
        return Amendments(exchange, self, self.policies(self._matched(exchange)))


def _settle(ready: Headers, nonce: str | None, status: int | None, headers: Lines) -> None:
    """Set the headers among those that the app has sent itself."""
    for name, header in ready:
        value = nonce.encode().join(header.parts) if nonce else header.plain
        # The stored response that a 304 refreshes has the nonce of its own time (RFC 9111 section 3.2).
        stale = status == _NOT_MODIFIED and header.has_nonce
        keep(name, None if stale else value or None, listed=True).apply(headers)
    if nonce:
        keep_private(headers)


def _laid(base: Directives, layers: Iterable[Directives]) -> Directives:
    for layer in layers:
        base = layer.over(base)
    return base


def _written(policies: Policies, secure: bool) -> Headers:
    return (
        (ENFORCED, write([policies.enforced], secure=secure)),
        (REPORT_ONLY, write(policies.report_only, secure=secure)),
    )


class CSPMiddleware(Guard):
    """Sends the headers of a CSPSettings, and nothing else.

    Example:
        >>> from secguard.csp import CSPMiddleware, CSPSettings
        >>> app.add_middleware(CSPMiddleware, settings=CSPSettings(), profile="strict")
    """

    def __init__(self, app: ASGIApp, settings: CSPSettings | None = None, **options: Unpack[ContextOptions]) -> None:
        super().__init__(app, policies=[CSPPolicy(settings or CSPSettings(), Context(**options))])
