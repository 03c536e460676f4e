"""Response headers: HSTS, framing, sniffing, referrers, permissions, isolation, and what should not be sent at all.

1. Every value is built and checked at start. A response costs one scan of the app's headers and one concatenation.
2. Each header says how it meets the app's own: HSTS and X-Content-Type-Options override it, the others yield to it.
3. HSTS goes out on https only (RFC 6797 section 7.2), and an app may always withdraw its own with `max-age=0`.
4. A rule changes headers for some paths, as they are routed. The most specific pattern has the last word.
"""

from secguard.headers.policy import HeadersMiddleware, HeadersPolicy
from secguard.headers.settings import HeaderFields, HeaderRule, HeadersSettings, Hsts

__all__ = ["HeaderFields", "HeaderRule", "HeadersMiddleware", "HeadersPolicy", "HeadersSettings", "Hsts"]
