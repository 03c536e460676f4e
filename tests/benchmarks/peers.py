"""What others put around the app: the middlewares of the usual stack, each as its own documentation says.

A peer that is not installed raises ModuleNotFoundError, and its case is left out with that reason.
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from tests.benchmarks.floor import SECURE_READY
from tests.benchmarks.traffic import SESSION_KEY

ALLOWED_HOSTS = ["example.com", "*.example.com"]
PLENTY = "1000000000/minute"
_SECURE_HEADERS = {name.decode(): value.decode() for name, value in SECURE_READY}


def starlettes_three(app: Starlette) -> ASGIApp:
    """CORS, sessions and trusted hosts, of Starlette itself."""
    app.add_middleware(SessionMiddleware, secret_key=SESSION_KEY, https_only=True)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=ALLOWED_HOSTS)
    app.add_middleware(
        CORSMiddleware, allow_origins=["https://app.example.com"], allow_methods=["*"], allow_credentials=True
    )
    return app


def starlettes_cors(app: ASGIApp, settings: dict[str, Any]) -> ASGIApp:
    """CORS alone, of Starlette itself."""
    return CORSMiddleware(app, **settings)


def secure(app: Starlette) -> ASGIApp:
    """`secure`, with its default headers."""
    from secure import Secure
    from secure.middleware import SecureASGIMiddleware

    app.add_middleware(SecureASGIMiddleware, secure=Secure.with_default_headers())
    return app


def secweb(app: Starlette) -> ASGIApp:
    """Secweb, with its defaults."""
    from Secweb.index import SecWeb

    SecWeb(app=app)
    return app


def slowapi(app: Starlette, *, tells: bool = False) -> ASGIApp:
    """One limit for everybody in memory, by slowapi's ASGI middleware, which tells of it if it is asked to."""
    from slowapi import Limiter
    from slowapi.middleware import SlowAPIASGIMiddleware
    from slowapi.util import get_remote_address

    app.state.limiter = Limiter(key_func=get_remote_address, default_limits=[PLENTY], headers_enabled=tells)
    app.add_middleware(SlowAPIASGIMiddleware)
    return app


def usual_stack(app: Starlette) -> ASGIApp:
    """Starlette's three, `secure` and slowapi."""
    slowapi(app)
    starlettes_three(app)
    return secure(app)


def recipe(app: Starlette) -> ASGIApp:
    """The first answer of every forum: a BaseHTTPMiddleware that sets the same header lines."""

    async def add_security_headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers.update(_SECURE_HEADERS)
        return response

    app.add_middleware(BaseHTTPMiddleware, dispatch=add_security_headers)
    return app
