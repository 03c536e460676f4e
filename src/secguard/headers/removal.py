"""Headers that should not leave: what tells which software runs, and what harms where it is still believed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from secguard._http import Declared, override

# OWASP Secure Headers Project, "Prevent information disclosure via HTTP headers", and Rails' X-Runtime beside it.
OWASP: Final = tuple(
    "$wsep Host-Header K-Proxy-Request Liferay-Portal OracleCommerceCloud-Version Pega-Host Powered-By Product Server "
    "SourceMap X-AspNet-Version X-AspNetMvc-Version X-Atmosphere-error X-Atmosphere-first-request "
    "X-Atmosphere-tracking-id X-B3-ParentSpanId X-B3-Sampled X-B3-SpanId X-B3-TraceId X-BEServer X-CF-Powered-By X-CMS "
    "X-CalculatedBETarget X-Cocoon-Version X-Content-Encoded-By X-DiagInfo X-Envoy-Attempt-Count "
    "X-Envoy-External-Address X-Envoy-Internal X-Envoy-Original-Dst-Host X-Envoy-Upstream-Service-Time X-FEServer "
    "X-Framework X-Generated-By X-Generator X-Jitsi-Release X-Kubernetes-PF-FlowSchema-UID "
    "X-Kubernetes-PF-PriorityLevel-UID X-LiteSpeed-Cache X-LiteSpeed-Purge X-LiteSpeed-Tag X-LiteSpeed-Vary "
    "X-Litespeed-Cache-Control X-Mod-Pagespeed X-Nextjs-Cache X-Nextjs-Matched-Path X-Nextjs-Page X-Nextjs-Redirect "
    "X-OWA-Version X-Old-Content-Length X-OneAgent-JS-Injection X-Page-Speed X-Php-Version X-Powered-By "
    "X-Powered-By-Plesk X-Powered-CMS X-Redirect-By X-Runtime X-Server-Powered-By X-SourceFiles X-SourceMap "
    "X-Turbo-Charged-By X-Umbraco-Version X-Varnish-Backend X-Varnish-Server X-dtAgentId X-dtHealthCheck "
    "X-dtInjectedServlet X-ruxit-JS-Agent".split()
)

# Gone from browsers, or worse than nothing in those that still obey them: pins can lock a site out of its own name,
# and the XSS filter could be made to delete chosen scripts (MDN: X-XSS-Protection).
RELICS: Final = ("Expect-CT", "Feature-Policy", "Public-Key-Pins", "Public-Key-Pins-Report-Only")

WORDS: Final = {"owasp": OWASP, "relics": RELICS}


def removals(remove: Iterable[str]) -> Iterator[Declared]:
    """Yield what takes these headers out of a response; `owasp` and `relics` stand for their lists."""
    for word in remove:
        for name in WORDS.get(word.lower(), (word,)):
            yield override(name.lower().encode("ascii"), None)
        if word.lower() == "relics":
            yield override(b"x-xss-protection", None, unless=lambda value: value.strip() == b"0")


def is_frame_option(value: bytes) -> bool:
    """Whether browsers still obey this X-Frame-Options value: ALLOW-FROM makes them ignore the header altogether."""
    return value.strip().upper() in {b"DENY", b"SAMEORIGIN"}
