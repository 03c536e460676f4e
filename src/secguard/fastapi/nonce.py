"""The nonce, as a dependency."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from secguard.fastapi.offered import offered

_MISSING: Final = (
    "CSPNonce found no policy that could name a nonce: the csp section is off (SECGUARD_CSP), "
    "or nobody called protect(app)"
)

CSPNonce: TypeAlias = Annotated[str, offered("csp_nonce", _MISSING)]
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
