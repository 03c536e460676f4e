"""The cases, and which of them stand in which part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.types import ASGIApp

from secguard import Guard, Settings
from tests.benchmarks import peers
from tests.benchmarks.apps import json_app, own_lines_app, text_app
from tests.benchmarks.by_hand import ByHand
from tests.benchmarks.floor import HonestFloor
from tests.benchmarks.traffic import BROWSER, PROXIED, Traffic


@dataclass(frozen=True)
class Case:
    """One contestant: what is put around the app, and the requests it then gets."""

    name: str
    wrap: Callable[[Starlette], ASGIApp]
    traffic: Traffic = BROWSER
    slow: bool = False  # so slow that fewer requests tell enough
    inner: Callable[[], Starlette] | None = None  # takes the place of the app it is measured on


def _headers_only(app: Starlette) -> ASGIApp:
    return Guard(app, Settings(requests=None, https=None))


def _everything(app: Starlette) -> ASGIApp:
    return Guard(app, Settings(hosts={"allowed": peers.ALLOWED_HOSTS}))


def _behind_proxy(app: Starlette) -> ASGIApp:
    proxies = {"trusted": ["10.0.0.0/8"], "header": "x-forwarded-for", "proto": "x-forwarded-proto"}
    return Guard(app, Settings(hosts={"allowed": peers.ALLOWED_HOSTS}, proxies=proxies))


BARE = Case("bare", lambda app: app)
BY_HAND = Case("by hand", ByHand)
FLOOR = Case("honest floor", HonestFloor)
HEADERS_ONLY = Case("secguard headers only", _headers_only)
EVERYTHING = Case("secguard everything", _everything)
BEHIND_PROXY = Case("secguard everything behind a trusted proxy", _behind_proxy, PROXIED)
PLAIN_HTTP = Case("secguard everything over plain http", _everything, Traffic(scheme="http"))
SECURE = Case("secure", peers.secure)
SECWEB = Case("Secweb", peers.secweb)
STARLETTE = Case("Starlette's CORS + session + trusted host", peers.starlettes_three)
SLOWAPI = Case("slowapi", peers.slowapi, slow=True)
STACK = Case("the usual stack", peers.usual_stack, slow=True)
RECIPE = Case("BaseHTTPMiddleware recipe", peers.recipe, slow=True)
OWN_LINES = Case("an app that sets the lines itself", lambda app: app, inner=own_lines_app)

GUARDS = (HEADERS_ONLY, EVERYTHING, PLAIN_HTTP, BEHIND_PROXY)
OURS = (BARE, BY_HAND, FLOOR, *GUARDS)
PEERS = (SECURE, SECWEB, STARLETTE, SLOWAPI, STACK, RECIPE)
EVERY = (*OURS, *PEERS)
COLLIDING = (BARE, BY_HAND, FLOOR, HEADERS_ONLY, EVERYTHING, SECURE, RECIPE)
COUNTED = (*OURS, SECURE, STACK)
SERVED = (BARE, OWN_LINES, HEADERS_ONLY, EVERYTHING, STACK, RECIPE)

SITES: dict[str, tuple[Callable[[], Starlette], tuple[Case, ...]]] = {
    "a short text": (text_app, EVERY),
    "JSON that sets X-Frame-Options itself": (json_app, COLLIDING),
}


def build(cases: tuple[Case, ...], app: Callable[[], Starlette] = text_app) -> tuple[dict[Case, ASGIApp], list[str]]:
    """Make the app of every case, and say which cases are left out, and why."""
    built: dict[Case, ASGIApp] = {}
    missing = []
    for case in cases:
        try:
            built[case] = case.wrap((case.inner or app)())
        except ModuleNotFoundError as error:
            missing.append(f"{case.name}: left out, {error.name} is not installed")
    return built, missing
