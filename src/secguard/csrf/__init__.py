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

`token` adds a second proof, for browsers and clients that need one: what a page of ours has told them, in a header or
in a field of a form.
"""

from secguard.csrf.policy import CSRFMiddleware, CSRFPolicy
from secguard.csrf.settings import CSRFSettings, TokenSettings

__all__ = ["CSRFMiddleware", "CSRFPolicy", "CSRFSettings", "TokenSettings"]
