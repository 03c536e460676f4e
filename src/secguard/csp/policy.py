"""The policy that sends the headers of the section, and the middleware that holds nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Unpack

from starlette.types import ASGIApp

from secguard._http import NO_STORE, Declared, Lines, finder, keep, keep_private
from secguard._paths import Matched, PathRules
from secguard.csp.amendments import AMENDED, Amendments, Policies
from secguard.csp.directives import Directives
from secguard.csp.header import Header, write
from secguard.csp.profiles import PROFILES
from secguard.csp.settings import CSPSettings
from secguard.guard import Guard
from secguard.policy import Context, ContextOptions, Exchange, Policy

ENFORCED: Final = b"content-security-policy"
REPORT_ONLY: Final = b"content-security-policy-report-only"
_read_nonce: Final = vars(Exchange)["nonce"].fget  # what attrgetter would come to, 350 instructions sooner
_meets_the_apps: Final = finder(ENFORCED, REPORT_ONLY, NO_STORE[0])
_NOT_MODIFIED: Final = 304
_OVERRULED: Final = (
    "the app, or one inside it, sent a policy of its own, which stands: "
    "the nonce that was read, or what csp(request) changed, is not in it"
)


@dataclass(frozen=True, slots=True)
class Ready:
    """The headers of a response, and of those that are sent what stands around the nonce."""

    headers: tuple[tuple[bytes, Header], ...]
    around_nonce: tuple[tuple[bytes, tuple[bytes, ...]], ...]


class CSPPolicy(Policy):
    """Sends Content-Security-Policy, and its report-only twin where there is one.

    1. A page that reads no nonce gets headers that were ready at start, without one.
    2. A page that reads its nonce gets it in every list that asks for one, and is cached by its own browser at most.
    3. A 304 carries no policy that could hold a nonce: the stored response keeps the one it came with.
    4. An app's own policy stands, and several of them stand together (CSP 3 section 8.1).

    Example:
        >>> policy = CSPPolicy(CSPSettings())
        >>> [line.name for line in policy.declare(secure=True, matched=())]
        [b'content-security-policy', b'content-security-policy-report-only']
    """

    section: CSPSettings

    def __init__(self, section: CSPSettings, context: Context | None = None) -> None:
        super().__init__(context)
        self.section = section
        self._rules = section.rules  # at hand for `revise`: what a default of the class stands behind is slow to read
        self.rules = PathRules(rule.paths for rule in self._rules)
        self.offers = MappingProxyType({"csp_nonce": _read_nonce, AMENDED: self._amendments})
        self._headers = lru_cache(maxsize=1024)(self._compile)
        self._everywhere = self._headers(False, ()), self._headers(True, ())
        self._unaided = not self.context.resolver.trusts  # then the scheme is what the server says

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
        for name, header in self._headers(secure, matched).headers:
            yield keep(name, header.plain, listed=True)

    def revise(self, exchange: Exchange, headers: Lines) -> None:
        """Set the headers of a response whose nonce was read or whose policy was amended, or of a 304."""
        nonce = exchange.nonce_read
        if nonce is None or exchange.status == _NOT_MODIFIED or exchange.notes or _meets_the_apps(headers):
            self._settle(exchange, headers)
            return
        word = nonce.encode()
        secure = exchange.tls if self._unaided else exchange.secure
        ready = self._of(exchange) if self._rules else self._everywhere[secure]
        for name, parts in ready.around_nonce:
            headers.append((name, word.join(parts)))
        headers.append(NO_STORE)

    def _settle(self, exchange: Exchange, headers: Lines) -> None:
        """Set the headers of any response, among those that the app has sent itself."""
        amended: Policies | None = exchange.notes.get(self)
        ready = _written(amended, exchange.secure) if amended else self._of(exchange)
        word, stale = (exchange.nonce_read or "").encode(), exchange.status == _NOT_MODIFIED
        for name, header in ready.headers:
            value = word.join(header.parts) if word else header.plain
            # The stored response that a 304 refreshes has the nonce of its own time (RFC 9111 section 3.2).
            keep(name, None if stale and header.has_nonce else value or None, listed=True).apply(headers)
            sent = next((held for own, held in headers if own.lower() == name), b"")
            if not stale and ((amended and sent != (value or b"")) or (header.has_nonce and word not in sent)):
                self.context.notice("csp.overruled", _OVERRULED, exchange, header=name.decode())
        if word:
            keep_private(headers)

    def _of(self, exchange: Exchange) -> Ready:
        return self._headers(exchange.secure, self._matched(exchange))

    def _compile(self, secure: bool, matched: Matched) -> Ready:
        return _written(self.policies(matched), secure)

    def _matched(self, exchange: Exchange) -> Matched:
        return self.rules.match((exchange.routed,))

    def _amendments(self, exchange: Exchange) -> Amendments:
        return Amendments(exchange, self, self.policies(self._matched(exchange)))


def _laid(base: Directives, layers: Iterable[Directives]) -> Directives:
    for layer in layers:
        base = layer.over(base)
    return base


def _written(policies: Policies, secure: bool) -> Ready:
    headers = (
        (ENFORCED, write([policies.enforced], secure=secure)),
        (REPORT_ONLY, write(policies.report_only, secure=secure)),
    )
    return Ready(headers, tuple((name, header.parts) for name, header in headers if header.plain))


class CSPMiddleware(Guard):
    """Sends the headers of a CSPSettings, and nothing else.

    Example:
        >>> from secguard.csp import CSPMiddleware, CSPSettings
        >>> app.add_middleware(CSPMiddleware, settings=CSPSettings(), profile="strict")
    """

    def __init__(self, app: ASGIApp, settings: CSPSettings | None = None, **options: Unpack[ContextOptions]) -> None:
        super().__init__(app, policies=[CSPPolicy(settings or CSPSettings(), Context(**options))])
