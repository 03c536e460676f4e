"""The cases, and which of them stand in which part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from secguard import Guard, Settings
from secguard.cors import CORSMiddleware, CORSSettings
from secguard.rate_limit import RateLimitMiddleware, RateLimitSettings
from tests.benchmarks import peers
from tests.benchmarks.apps import asgi_app, asgi_nonce_app, json_app, nonce_app, own_lines_app, text_app
from tests.benchmarks.by_hand import ByHand
from tests.benchmarks.floor import HonestFloor
from tests.benchmarks.traffic import ALLOWED, BROWSER, PROXIED, Traffic


@dataclass(frozen=True)
class Case:
    """One contestant: what is put around the app, and the requests it then gets."""

    name: str
    wrap: Callable[[Any], ASGIApp]
    traffic: Traffic = BROWSER
    slow: bool = False  # so slow that fewer requests tell enough
    inner: Callable[[], ASGIApp] | None = None  # takes the place of the app it is measured on


class Pair(NamedTuple):
    """Two cases that differ in nothing but that the endpoint of one reads its nonce."""

    name: str
    unread: Case
    read: Case


# What is not on by default. The app behind is an API, too: a page of another origin uses it.
_CORS: dict[str, Any] = {
    "allow_origins": ["https://app.example.com"],
    "allow_methods": ["GET", "POST", "DELETE"],
    "allow_headers": ["x-token"],
    "allow_credentials": True,
    "expose_headers": ["x-total"],
}
_SECTIONS: dict[str, Any] = {
    "hosts": {"allowed": peers.ALLOWED_HOSTS},
    "cors": _CORS,
    "rate_limit": {"default": peers.PLENTY},
    "ip_access": {"deny": ["192.0.2.0/24", "2001:db8:bad::/48"]},
}


def _headers_only(app: Starlette) -> ASGIApp:
    return Guard(app, Settings(requests=None, https=None, csp=None, csrf=None))


def _limit_alone(app: Starlette) -> ASGIApp:
    return RateLimitMiddleware(app, settings=RateLimitSettings(default=peers.PLENTY))


def _everything(app: Starlette) -> ASGIApp:
    return Guard(app, Settings(**_SECTIONS))


def _behind_proxy(app: Starlette) -> ASGIApp:
    proxies = {"trusted": ["10.0.0.0/8"], "header": "x-forwarded-for", "proto": "x-forwarded-proto"}
    return Guard(app, Settings(**_SECTIONS, proxies=proxies))


def _cors_alone(app: ASGIApp) -> ASGIApp:
    return CORSMiddleware(app, settings=CORSSettings(**_CORS))


def _given(app: Starlette) -> ASGIApp:
    """Put a nonce there beforehand: what reading it takes then is Starlette's."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["csp_nonce"] = "a nonce of nobody's making"
        await app(scope, receive, send)

    return serve


BARE = Case("bare", lambda app: app)
BY_HAND = Case("by hand", ByHand)
FLOOR = Case("honest floor", HonestFloor)
LIMIT = Case("secguard rate_limit alone", _limit_alone)
HEADERS_ONLY = Case("secguard headers only", _headers_only)
EVERYTHING = Case("secguard everything", _everything)
BEHIND_PROXY = Case("secguard everything behind a trusted proxy", _behind_proxy, PROXIED)
PLAIN_HTTP = Case("secguard everything over plain http", _everything, Traffic(scheme="http"))
SECURE = Case("secure", peers.secure)
SECWEB = Case("Secweb", peers.secweb)
STARLETTE = Case("Starlette's CORS + session + trusted host", peers.starlettes_three)
SLOWAPI = Case("slowapi", peers.slowapi, slow=True)
SLOWAPI_TELLING = Case("slowapi, with headers", lambda app: peers.slowapi(app, tells=True), slow=True)
STACK = Case("the usual stack", peers.usual_stack, slow=True)
RECIPE = Case("BaseHTTPMiddleware recipe", peers.recipe, slow=True)
OWN_LINES = Case("an app that sets the lines itself", lambda app: app, inner=own_lines_app)

NONCE = Case("secguard everything, the nonce read", _everything, inner=nonce_app)
FLOOR_NONCE = Case("honest floor, the nonce read", HonestFloor, inner=nonce_app)
ASGI = Case("everything around a bare ASGI app", _everything, inner=asgi_app)
ASGI_NONCE = Case("everything around a bare ASGI app, the nonce read", _everything, inner=asgi_nonce_app)
FLOOR_ASGI = Case("honest floor around a bare ASGI app", HonestFloor, inner=asgi_app)
FLOOR_ASGI_NONCE = Case("honest floor around a bare ASGI app, the nonce read", HonestFloor, inner=asgi_nonce_app)
ASGI_BARE = Case("a bare ASGI app", lambda app: app, ALLOWED, inner=asgi_app)
CORS = Case("secguard cors alone", _cors_alone, ALLOWED, inner=asgi_app)
STARLETTES_CORS = Case(
    "Starlette's CORSMiddleware", lambda app: peers.starlettes_cors(app, _CORS), ALLOWED, inner=asgi_app
)
GIVEN = Case("a given nonce", _given)
GIVEN_READ = Case("a given nonce, read", _given, inner=nonce_app)
STARLETTE_PAIR = Pair("secguard everything, a Starlette endpoint", EVERYTHING, NONCE)
ASGI_PAIR = Pair("secguard everything, a bare ASGI endpoint", ASGI, ASGI_NONCE)
GIVEN_PAIR = Pair("Starlette's own request.state", GIVEN, GIVEN_READ)
PAIRS = (
    GIVEN_PAIR,
    Pair("honest floor, a Starlette endpoint", FLOOR, FLOOR_NONCE),
    STARLETTE_PAIR,
    Pair("honest floor, a bare ASGI endpoint", FLOOR_ASGI, FLOOR_ASGI_NONCE),
    ASGI_PAIR,
)

GUARDS = (HEADERS_ONLY, EVERYTHING, PLAIN_HTTP, BEHIND_PROXY)
OURS = (BARE, BY_HAND, FLOOR, LIMIT, *GUARDS)
LITTERING = (*OURS, FLOOR_NONCE, NONCE, RECIPE)
PEERS = (SECURE, SECWEB, STARLETTE, SLOWAPI, SLOWAPI_TELLING, STACK, RECIPE)
EVERY = (*OURS, *PEERS)
COLLIDING = (BARE, BY_HAND, FLOOR, HEADERS_ONLY, EVERYTHING, SECURE, RECIPE)
CROSS_ORIGIN = (ASGI_BARE, CORS, STARLETTES_CORS)
COUNTED = (*OURS, SECURE, SLOWAPI_TELLING, STACK)
PAIRED = tuple(chain.from_iterable((pair.unread, pair.read) for pair in PAIRS))
SERVED = (BARE, OWN_LINES, HEADERS_ONLY, EVERYTHING, STACK, RECIPE)

SITES: dict[str, tuple[Callable[[], ASGIApp], tuple[Case, ...]]] = {
    "a short text": (text_app, EVERY),
    "JSON that sets X-Frame-Options itself": (json_app, COLLIDING),
    "a bare ASGI app, asked by a page of an allowed origin": (asgi_app, (BARE, CORS, STARLETTES_CORS)),
}


def build(cases: tuple[Case, ...], app: Callable[[], ASGIApp] = text_app) -> tuple[dict[Case, ASGIApp], list[str]]:
    """Make the app of every case, and say which cases are left out, and why."""
    built: dict[Case, ASGIApp] = {}
    missing = []
    for case in cases:
        try:
            built[case] = case.wrap((case.inner or app)())
        except ModuleNotFoundError as error:
            missing.append(f"{case.name}: left out, {error.name} is not installed")
    return built, missing
