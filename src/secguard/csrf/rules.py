"""The four rules and `isolate`, as they stand in the docstring of the package: each says why it refuses, or nothing."""

from __future__ import annotations

from typing import Final

from secguard._origins import parse_origin
from secguard.csrf.settings import CSRFSettings
from secguard.policy import Exchange

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NAVIGATING: Final = frozenset({"GET", "HEAD"})
_ORIGIN: Final = b"origin"
_SITE: Final = b"sec-fetch-site"
_MODE: Final = b"sec-fetch-mode"
_DEST: Final = b"sec-fetch-dest"
DECISIVE: Final = (_ORIGIN, _SITE, _MODE, _DEST)

_TRUST: Final = "trust it by name in csrf.trusted_origins (SECGUARD_CSRF__TRUSTED_ORIGINS)"
_REPEATED: Final = "contradiction: Origin or a Sec-Fetch line came twice, and says two things"
_CROSS_SITE: Final = f"rule 3: Sec-Fetch-Site says that another site sent it; if that site is yours, {_TRUST}"
_SAME_SITE: Final = (
    f"rule 3: Sec-Fetch-Site says that a sibling of this site sent it; if it is yours, {_TRUST}, "
    "or all siblings with SECGUARD_CSRF__ALLOW_SAME_SITE=true"
)
NO_ORIGIN: Final = "rule 4: neither Sec-Fetch-Site nor Origin came, and SECGUARD_CSRF__REQUIRE_ORIGIN asks for one"
_NULL: Final = (
    "rule 4: Origin is null, or is none: it came from a sandboxed frame, a file, a redirect between sites, "
    "or from an old browser on a page with Referrer-Policy: no-referrer"
)
_ELSEWHERE: Final = (
    f"rule 4: Origin is not the host that was asked for; if it is yours, {_TRUST}; if a proxy changes Host, let it "
    "pass Host on, or name what it sends instead (SECGUARD_PROXIES__TRUSTED and SECGUARD_PROXIES__HOST)"
)
_SCHEME: Final = f"rule 4: Origin has another scheme than the request; if it is yours, {_TRUST}"
_ISOLATED: Final = (
    "isolate: another site loads it, and neither opens it as a page nor is allowed to by CORS; what others may load, "
    "say so in cors, or in csrf.dangerously_exempt_paths (SECGUARD_CSRF__DANGEROUSLY_EXEMPT_PATHS)"
)


class Rules:
    """What a CSRFSettings says of where a request comes from."""

    def __init__(self, section: CSRFSettings) -> None:
        self.trusted = frozenset(origin.encode() for origin in section.trusted_origins)
        self._sites = frozenset({b"same-origin", b"none"} | ({b"same-site"} if section.allow_same_site else set()))
        self._require_origin = section.require_origin

    def acts_from_elsewhere(self, exchange: Exchange) -> str:
        """Return which rule from 2 on a request breaks, or "" where it breaks none."""
        headers = exchange.headers
        origin, site = headers.get(_ORIGIN), headers.get(_SITE)
        if len(headers) < len(exchange.lines) and _says_two_things(exchange):
            return _REPEATED
        if origin in self.trusted or exchange.allowed == "exact":
            return ""
        if site is not None:
            # Fetch Metadata section 2.3 would have an unknown value ignored. It is not one of ours, so it is refused.
            if site not in self._sites:
                return _SAME_SITE if site == b"same-site" else _CROSS_SITE
            if exchange.kind == "http":
                return ""
        if origin is None:
            return NO_ORIGIN if self._require_origin else ""
        return _why_foreign(origin, exchange)

    def loads_from_elsewhere(self, exchange: Exchange) -> str:
        """Return why `isolate` refuses a safe request, or "" where it does not."""
        headers = exchange.headers
        site = headers.get(_SITE)
        if len(headers) < len(exchange.lines) and _says_two_things(exchange):
            return _REPEATED
        if site is None or site in self._sites or exchange.allowed or headers.get(_ORIGIN) in self.trusted:
            return ""
        opens_page = headers.get(_MODE) == b"navigate" and headers.get(_DEST) == b"document"
        return "" if opens_page and exchange.method in _NAVIGATING else _ISOLATED


def _says_two_things(exchange: Exchange) -> bool:
    """Whether a line that decides came twice with different values, of which readers take different ones."""
    return any(len(set(exchange.values(name))) > 1 for name in DECISIVE)


def _why_foreign(value: bytes, exchange: Exchange) -> str:
    """Return why an Origin is not this site's own by rule 4, or "" where it is."""
    origin, host = parse_origin(value), exchange.host
    if origin is None:
        return _NULL
    if host is None or origin.scheme not in {"http", "https"} or not origin.is_at(host):
        return _ELSEWHERE
    # What is not proven is not compared, and the plain http twin of an https site passes: behind a proxy that nobody
    # told us about, every request looks plain. Go's check fails open here, too. Only browsers older than Sec-Fetch-Site
    # come this far, and handshakes; HSTS keeps somebody on the wire from being that twin.
    proven = "https" if exchange.secure else "http" if exchange.identity.plain else origin.scheme
    return "" if origin.scheme == proven else _SCHEME
