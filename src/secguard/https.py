"""Redirects plain http to https, where it is certain that it was plain.

1. A socket without TLS proves nothing: a proxy may have taken TLS off, and a redirect would then send the client in
   circles. `auto` redirects only what is *proven* plain: a trusted proxy said `http`; or no proxy is trusted, this very
   app has served TLS itself, and the request came over the open internet without a trace of a proxy.
2. What is not proven passes, and one Event says which variable to set.
3. The redirect is a 307 that no cache may keep. A 308 outlives the rollback of a mistake: it is sent when asked for.
4. Its target is made of the validated host, the path as it was written, and the query: RFC 9110 section 10.2.2.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final, Literal, Unpack
from urllib.parse import quote, unquote

from starlette.types import ASGIApp

from secguard._http import DEFAULT_PORTS
from secguard._paths import PathPattern, PathRules
from secguard.guard import Guard
from secguard.policy import Context, ContextOptions, Exchange, Policy, RefusingSection, Verdict, parse_address
from secguard.policy.section import COMMAS, Several


class HttpsSettings(RefusingSection):
    """When plain http is redirected to https.

    Example:
        >>> HttpsSettings(redirect="always", permanent=True, exempt_paths=["/healthz"]).exempt_paths
        ('/healthz',)
    """

    redirect: Literal["auto", "always", "off"] = "auto"
    """`auto` redirects what is proven plain; `always` redirects what is not proven https; `off` redirects nothing."""
    permanent: bool = False
    """Send 308 instead of 307. Neither may be kept by a cache."""
    exempt_paths: Annotated[Several[PathPattern], COMMAS] = ("/.well-known/acme-challenge/",)
    """Paths, as they are routed, that stay reachable over plain http: health checks, ACME (RFC 8555 section 8.3)."""


# What proxies add. A request that carries one of these, or any X-Forwarded-*, did not come straight from its client.
_TRACES: Final = frozenset(
    b"forwarded via x-real-ip x-scheme x-url-scheme front-end-https x-arr-ssl x-client-ip x-cluster-client-ip "
    b"true-client-ip cf-connecting-ip cf-ray cf-visitor fastly-client-ip cdn-loop cloudfront-forwarded-proto".split()
)

# What stays as it was written: unreserved and reserved characters (RFC 3986 section 2), and the percent sign.
_WRITTEN: Final = "%:/[]@!$&'()*+,;=~"


class HttpsPolicy(Policy):
    """Redirects plain requests, and websocket handshakes, to the same address under https or wss: Event `https.plain`.

    Example:
        >>> policy = HttpsPolicy(HttpsSettings(redirect="always"))
        >>> dict(policy.admit(exchange).headers)[b"location"]
        b'https://example.com/path?query'
    """

    def __init__(self, section: HttpsSettings, context: Context | None = None) -> None:
        super().__init__(context)
        self.section = section
        self._idle = section.redirect == "off" or self.context.development
        self._always = section.redirect == "always"
        self._status = HTTPStatus.PERMANENT_REDIRECT if section.permanent else HTTPStatus.TEMPORARY_REDIRECT
        self._exempt = PathRules([section.exempt_paths])
        # Where a proxy is trusted, it has the word: a socket of its own that says nothing is not plain.
        self._unaided = not self.context.resolver.trusts
        self._serves_tls = False
        self._has_told = False

    def admit(self, exchange: Exchange) -> Verdict:
        """Let pass what is secure, exempt, or not proven plain."""
        if exchange.tls if self._unaided else exchange.secure:
            if self._unaided and not self._serves_tls and exchange.tls:
                self._serves_tls = _is_straight(exchange)
            return None
        plain = not self._idle and self._is_plain(exchange)
        if self._idle or (self._has_told and not plain) or self._exempt.match((exchange.routed,)):
            return None
        if plain:
            return self._redirect(exchange)
        self._has_told = True
        self._tell_unproven(exchange)
        return None

    def _is_plain(self, exchange: Exchange) -> bool:
        """Whether plain http is proven, or what is not proven https is to be redirected all the same."""
        if self._always:
            return True
        return self._serves_tls and _is_from_afar(exchange) if self._unaided else exchange.identity.plain

    def _redirect(self, exchange: Exchange) -> Verdict:
        target = _target(exchange)
        if target is None:
            reason = "plain http, and no well-formed host and path to redirect to"
            return self.context.refuse(exchange, HTTPStatus.BAD_REQUEST, "https.plain", reason)
        return self.context.refuse(
            exchange, self._status, "https.plain", "plain http is redirected", (b"location", target.encode())
        )

    def _tell_unproven(self, exchange: Exchange) -> None:
        if exchange.readdressed:
            remedy = (
                "the server has replaced the proxy's address: start it without that (uvicorn --no-proxy-headers), set "
                "SECGUARD_PROXIES__TRUSTED to the proxy's address and SECGUARD_PROXIES__PROTO=x-forwarded-proto"
            )
        else:
            peer = "unix" if exchange.on_unix_socket else parse_address(exchange.peer) or "its address"
            remedy = (
                f"if the peer is a proxy of yours, set SECGUARD_PROXIES__TRUSTED={peer} and "
                "SECGUARD_PROXIES__PROTO=x-forwarded-proto, or what it calls that header"
            )
        self.context.notice(
            "https.unproven",
            f"plain http was not redirected, because a proxy may have taken TLS off; {remedy}. Where no proxy does "
            "that, set SECGUARD_HTTPS__REDIRECT=always if this app serves TLS itself, or =off if nobody does",
            exchange,
            peer=exchange.peer,
        )


def _is_straight(exchange: Exchange) -> bool:
    """Whether the request shows no trace of anything between its client and this server."""
    return not (
        exchange.readdressed or any(name in _TRACES or name.startswith(b"x-forwarded-") for name in exchange.headers)
    )


def _is_from_afar(exchange: Exchange) -> bool:
    """Whether a plain socket is plain http, given that others reach this app with TLS of its own.

    What takes TLS off without a trace (HAProxy as it comes, stunnel, a service mesh) sits near the app: loopback,
    private networks and unix sockets prove nothing. Nor does the name that test clients have instead of an address.
    """
    client = exchange.client
    return client is not None and client.is_global and _is_straight(exchange)


def _target(exchange: Exchange) -> str | None:
    """Return the same address under https or wss, or None where there is no safe one."""
    host = exchange.host
    raw = exchange.raw_path
    path = quote(exchange.path, errors="surrogatepass") if raw is None else quote(raw, safe=_WRITTEN)
    if host is None or not path.startswith("/"):
        return None
    root = exchange.prefix.rstrip("/")
    if root and not f"{unquote(path)}/".startswith(f"{root}/"):
        path = quote(root, errors="surrogatepass") + path  # a proxy took the prefix off, and the client needs it
    # RFC 6797 section 8.3: port 80 becomes 443, any other explicit port is preserved.
    authority = host.name if host.port in DEFAULT_PORTS else str(host)
    query = f"?{quote(exchange.query, safe=_WRITTEN + '?')}" if exchange.query else ""
    scheme = "https" if exchange.kind == "http" else "wss"
    return f"{scheme}://{authority}{path}{query}"


class HttpsMiddleware(Guard):
    """The redirect alone, for any ASGI 3 app. Its keywords are the fields of `Context`.

    Example:
        >>> app.add_middleware(HttpsMiddleware, settings=HttpsSettings(redirect="always"))
    """

    def __init__(self, app: ASGIApp, settings: HttpsSettings, **options: Unpack[ContextOptions]) -> None:
        super().__init__(app, policies=[HttpsPolicy(settings, Context(**options))])
