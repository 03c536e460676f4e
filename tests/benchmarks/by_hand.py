"""The header lines of the `web` profile, set by a hand-written wrapper that keeps one line per header.

1. Sent for every response: LINES, and on https HSTS.
2. A name in OWNED stands there once at the end, in whatever letter case the app wrote it, or not at all.
3. Of several lines of one name the first decides: its test in OWNED says whether it stays. Where the value is a list,
   what the other lines say joins it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Final, TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.benchmarks.traffic import Line

Owned: TypeAlias = Mapping[bytes, Callable[[bytes], object]]

HSTS: Final[Line] = (b"strict-transport-security", b"max-age=31536000")
DENIED: Final = (
    "accelerometer browsing-topics camera display-capture geolocation gyroscope hid idle-detection local-fonts "
    "magnetometer microphone midi payment serial usb xr-spatial-tracking"
)
LINES: Final[list[Line]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"cross-origin-opener-policy", b"same-origin-allow-popups"),
    (b"cross-origin-resource-policy", b"same-site"),
    (b"origin-agent-cluster", b"?1"),
    (b"permissions-policy", ", ".join(f"{feature}=()" for feature in DENIED.split()).encode()),
]
SECURE_LINES: Final = [HSTS, *LINES]

_REMOVED: Final = (
    b"$wsep host-header k-proxy-request liferay-portal oraclecommercecloud-version pega-host powered-by product server "
    b"sourcemap x-aspnet-version x-aspnetmvc-version x-atmosphere-error x-atmosphere-first-request "
    b"x-atmosphere-tracking-id x-b3-parentspanid x-b3-sampled x-b3-spanid x-b3-traceid x-beserver x-cf-powered-by "
    b"x-cms x-calculatedbetarget x-cocoon-version x-content-encoded-by x-diaginfo x-envoy-attempt-count "
    b"x-envoy-external-address x-envoy-internal x-envoy-original-dst-host x-envoy-upstream-service-time x-feserver "
    b"x-framework x-generated-by x-generator x-jitsi-release x-kubernetes-pf-flowschema-uid "
    b"x-kubernetes-pf-prioritylevel-uid x-litespeed-cache x-litespeed-purge x-litespeed-tag x-litespeed-vary "
    b"x-litespeed-cache-control x-mod-pagespeed x-nextjs-cache x-nextjs-matched-path x-nextjs-page x-nextjs-redirect "
    b"x-owa-version x-old-content-length x-oneagent-js-injection x-page-speed x-php-version x-powered-by "
    b"x-powered-by-plesk x-powered-cms x-redirect-by x-runtime x-server-powered-by x-sourcefiles x-sourcemap "
    b"x-turbo-charged-by x-umbraco-version x-varnish-backend x-varnish-server x-dtagentid x-dthealthcheck "
    b"x-dtinjectedservlet x-ruxit-js-agent expect-ct feature-policy public-key-pins public-key-pins-report-only"
)
_MAX_AGE_ZERO: Final = re.compile(rb'(?:^|;)[ \t]*max-age[ \t]*=[ \t]*(?:0+|"0+")[ \t]*(?:;|\Z)', re.IGNORECASE)


def _never(value: bytes) -> bool:
    return False


def always(value: bytes) -> bool:
    return True


OWNED: Final[Owned] = {
    **dict.fromkeys(_REMOVED.split(), _never),
    **{name: always for name, _ in LINES},
    b"cross-origin-embedder-policy": always,
    b"strict-transport-security": _MAX_AGE_ZERO.search,
    b"x-content-type-options": _never,
    b"x-frame-options": lambda value: value.strip().upper() in {b"DENY", b"SAMEORIGIN"},
    b"x-xss-protection": lambda value: value.strip() == b"0",
}
LISTED: Final = frozenset({b"permissions-policy", b"referrer-policy"})
EVERYDAY: Final = frozenset(
    b"accept-ranges age allow cache-control content-disposition content-encoding content-language content-length "
    b"content-range content-type date etag expires last-modified link location retry-after set-cookie vary "
    b"transfer-encoding www-authenticate".split()
)
STARTS: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class ByHand:
    """What somebody who knows the laws and needs speed would write for the headers alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self.app(scope, receive, send)
        ready = SECURE_LINES if scope.get("scheme") in {"https", "wss"} else LINES

        def forward(message: Message) -> Awaitable[None]:
            if message["type"] in STARTS:
                headers = message.get("headers", ())
                if type(headers) is not list:
                    headers = list(headers)
                for name, _ in headers:
                    if name not in EVERYDAY and name.lower() in OWNED:
                        headers = settle(headers, ready)
                        break
                else:
                    headers = headers + ready  # half the cost of unpacking both
                message = message.copy() if type(message) is dict else dict(message)
                message["headers"] = headers
            return send(message)

        return self.app(scope, receive, forward)


def settle(
    lines: Iterable[Line], ready: list[Line], owned: Owned = OWNED, listed: Collection[bytes] = LISTED
) -> list[Line]:
    """Set the `ready` lines among those of an app that has some of them itself."""
    stays: dict[bytes, int | None] = {}
    said: dict[bytes, list[bytes]] = {}
    settled = []
    for line in lines:
        name = line[0].lower()
        if name not in owned:
            settled.append(line)
        elif name not in stays:
            passes = always if name == HSTS[0] and HSTS not in ready else owned[name]
            stays[name] = len(settled) if passes(line[1]) else None
            if stays[name] is not None:
                settled.append(line)
        elif name in listed and (at := stays[name]) is not None:
            values = said.setdefault(name, [settled[at][1]])
            if line[1] not in values:
                values.append(line[1])
                settled[at] = (settled[at][0], b", ".join(values))
    return settled + [line for line in ready if stays.get(line[0]) is None]
