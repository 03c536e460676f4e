"""The nonce, as a dependency."""

from __future__ import annotations

from typing import Annotated, TypeAlias, cast

from fastapi import Depends
from starlette.requests import HTTPConnection


async def _nonce(connection: HTTPConnection) -> str:
    try:
        return cast("str", connection.state.csp_nonce)
    except AttributeError:
        raise RuntimeError(
            "CSPNonce found no policy that could name a nonce: the csp section is off (SECGUARD_CSP), "
            "or nobody called protect(app)"
        ) from None


CSPNonce: TypeAlias = Annotated[str, Depends(_nonce)]
"""The nonce of this response, for the `nonce` attribute of its script and style elements.

Asking for it puts it into the response's Content-Security-Policy, and keeps the response out of shared caches.
Endpoints over http and websocket may ask.

Raises:
    RuntimeError: no policy stands around this app, because the `csp` section is off.

Example:
    >>> @app.get("/")
    ... async def page(nonce: CSPNonce) -> HTMLResponse:
    ...     return HTMLResponse(f'<!doctype html><script nonce="{nonce}">start()</script>')
"""
