"""Cross-origin protection (CSRF): no other site makes a visitor's browser act here.

A request that may change something is held to these rules, in this order. The first that applies decides.

1. GET, HEAD and OPTIONS pass: they are safe (RFC 9110 section 9.2.1). A websocket handshake does not count as a GET.
2. An Origin in `trusted_origins` passes, and so does one that the CORS policy of this path names. Patterns and `*` say
   who may read, and never count as trust.
3. Sec-Fetch-Site, where it came, decides: `same-origin` and `none` (the visitor's own doing) pass, `same-site` where
   `allow_same_site` says so, and nothing else. No page can set it (Fetch Metadata sections 2.3 and 4.2).
4. Otherwise Origin does, which no page can set either (Fetch, "forbidden request-header"). Without one it was no
   browser, and passes unless `require_origin`. `null` is refused; any other must have the host and port that the client
   asked for, and its scheme where that is proven.

A handshake has to pass rule 4 whatever rule 3 says of it: of the browsers, Firefox and Safari send Sec-Fetch-Site with
one, and Chromium does not, but all send Origin (RFC 6455 section 4.1).

With `isolate`, what rule 1 lets pass is held to the resource isolation policy of Fetch Metadata: another site may open
a page of ours, and load or read nothing that CORS does not allow.

Rules 1, 3 and 4 are those of Go's net/http CrossOriginProtection.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Final, Unpack

from starlette.types import ASGIApp

from secguard._http import Declared, join
from secguard._origins import OriginEntry, parse_origin
from secguard._paths import Matched, PathPattern, PathRules
from secguard.guard import Guard
from secguard.policy import Context, ContextOptions, Exchange, Policy, RefusingSection, Verdict
from secguard.policy.section import COMMAS, Several


class CSRFSettings(RefusingSection):
    """Which requests from elsewhere may change something, and with `isolate`, load something.

    Raises:
        ValidationError: an entry is no origin (`origin`) or no path pattern (`path-pattern`).

    Example:
        >>> CSRFSettings(trusted_origins=["https://login.example.com"]).trusted_origins
        ('https://login.example.com',)
    """

    trusted_origins: Annotated[Several[OriginEntry], COMMAS] = ()
    """Exact origins that may do here whatever the visitor may."""
    dangerously_exempt_paths: Annotated[Several[PathPattern], COMMAS] = ()
    """Paths, as they are routed, where every site may make a visitor's browser do everything."""
    exempt_paths: Annotated[Several[PathPattern], COMMAS] = ()
    """The same under a name that hides the danger: a notice at start asks to write the other one."""
    allow_same_site: bool = False
    """Trust every sibling, such as `https://anything.example.com`, where the browser sends Sec-Fetch-Site."""
    require_origin: bool = False
    """Refuse what comes with neither Sec-Fetch-Site nor Origin: clients that are no browsers, and very old browsers."""
    isolate: bool = False
    """Let other sites open pages, and load nothing: GET, HEAD and OPTIONS are looked at, too."""


_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NAVIGATING: Final = frozenset({"GET", "HEAD"})
_ORIGIN: Final = b"origin"
_SITE: Final = b"sec-fetch-site"
_MODE: Final = b"sec-fetch-mode"
_DEST: Final = b"sec-fetch-dest"
_DECISIVE: Final = (_ORIGIN, _SITE, _MODE, _DEST)

_TRUST: Final = "trust it by name in csrf.trusted_origins (SECGUARD_CSRF__TRUSTED_ORIGINS)"
_REPEATED: Final = "contradiction: Origin or a Sec-Fetch line came twice, and says two things"
_CROSS_SITE: Final = f"rule 3: Sec-Fetch-Site says that another site sent it; if that site is yours, {_TRUST}"
_SAME_SITE: Final = (
    f"rule 3: Sec-Fetch-Site says that a sibling of this site sent it; if it is yours, {_TRUST}, "
    "or all siblings with SECGUARD_CSRF__ALLOW_SAME_SITE=true"
)
_NO_ORIGIN: Final = "rule 4: neither Sec-Fetch-Site nor Origin came, and SECGUARD_CSRF__REQUIRE_ORIGIN asks for one"
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


class CSRFPolicy(Policy):
    """Refuses what another site made the browser send with 403: Events `csrf.cross-origin` and `csrf.isolated`.

    Where paths are exempt, the Event `csrf.exempt-paths` says so once, at start.

    Example:
        >>> policy = CSRFPolicy(CSRFSettings())
        >>> policy.admit(exchange).status  # a POST with Sec-Fetch-Site: cross-site
        403
    """

    section: CSRFSettings

    def __init__(self, section: CSRFSettings, context: Context | None = None) -> None:
        super().__init__(context)
        self.section = section
        self._trusted = frozenset(origin.encode() for origin in section.trusted_origins)
        self._sites = frozenset({b"same-origin", b"none"} | ({b"same-site"} if section.allow_same_site else set()))
        self._isolates = section.isolate
        exempt = (*section.dangerously_exempt_paths, *section.exempt_paths)
        self._exempt = PathRules([exempt])
        if section.isolate:
            self.rules = self._exempt
        if exempt:
            advice = "; write dangerously_exempt_paths, so that a reviewer sees it" if section.exempt_paths else ""
            told = f"every site may make a visitor's browser act on these paths: {', '.join(exempt)}{advice}"
            self.context.notice("csrf.exempt-paths", told)

    def declare(self, secure: bool, matched: Matched) -> Sequence[Declared]:
        """Return the Vary line of what `isolate` decides: no cache may answer another site with what it kept for us."""
        if matched or not self._isolates:
            return ()
        # Fetch Metadata section 5.1. Origin decides where one is trusted; where CORS allows one, `cors` says so.
        asked = [b"Sec-Fetch-Site", b"Sec-Fetch-Mode", b"Sec-Fetch-Dest", *[b"Origin"] * bool(self._trusted)]
        return (join(b"vary", b", ".join(asked)),)

    def admit(self, exchange: Exchange) -> Verdict:
        """Return the refusal of what another site made the browser send."""
        if exchange.method in _SAFE and exchange.kind == "http":
            if not self._isolates:
                return None
            code, reason = "csrf.isolated", self._loads_from_elsewhere(exchange)
        else:
            code, reason = "csrf.cross-origin", self._acts_from_elsewhere(exchange)
        if not reason or self._exempt.match((exchange.routed,)):
            return None
        said = {name: exchange.headers[name].decode("latin-1") for name in _DECISIVE if name in exchange.headers}
        detail = {name.decode().replace("-", "_"): value for name, value in said.items()}
        return self.context.refuse(
            exchange, HTTPStatus.FORBIDDEN, code, reason, host=str(exchange.host or ""), **detail
        )

    def _acts_from_elsewhere(self, exchange: Exchange) -> str:
        """Return which rule from 2 on a request breaks, or "" where it breaks none."""
        headers = exchange.headers
        origin, site = headers.get(_ORIGIN), headers.get(_SITE)
        if len(headers) < len(exchange.lines) and _says_two_things(exchange):
            return _REPEATED
        if origin in self._trusted or exchange.allowed == "exact":
            return ""
        if site is not None:
            # Fetch Metadata section 2.3 would have an unknown value ignored. It is not one of ours, so it is refused.
            if site not in self._sites:
                return _SAME_SITE if site == b"same-site" else _CROSS_SITE
            if exchange.kind == "http":
                return ""
        if origin is None:
            return _NO_ORIGIN if self.section.require_origin else ""
        return _why_foreign(origin, exchange)

    def _loads_from_elsewhere(self, exchange: Exchange) -> str:
        """Return why `isolate` refuses a safe request, or "" where it does not."""
        headers = exchange.headers
        site = headers.get(_SITE)
        if len(headers) < len(exchange.lines) and _says_two_things(exchange):
            return _REPEATED
        if site is None or site in self._sites or exchange.allowed or headers.get(_ORIGIN) in self._trusted:
            return ""
        opens_page = headers.get(_MODE) == b"navigate" and headers.get(_DEST) == b"document"
        return "" if opens_page and exchange.method in _NAVIGATING else _ISOLATED


def _says_two_things(exchange: Exchange) -> bool:
    """Whether a line that decides came twice with different values, of which readers take different ones."""
    return any(len(set(exchange.values(name))) > 1 for name in _DECISIVE)


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


class CSRFMiddleware(Guard):
    """The check alone, for any ASGI 3 app. Its keywords are the fields of `Context`.

    Example:
        >>> app.add_middleware(CSRFMiddleware, settings=CSRFSettings(trusted_origins=["https://login.example.com"]))
    """

    def __init__(self, app: ASGIApp, settings: CSRFSettings | None = None, **options: Unpack[ContextOptions]) -> None:
        super().__init__(app, policies=[CSRFPolicy(settings or CSRFSettings(), Context(**options))])
