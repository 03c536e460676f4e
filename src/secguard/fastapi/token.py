"""The token of `csrf`, as a dependency."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from secguard.fastapi.offered import offered

_MISSING: Final = (
    "CSRFToken found no policy that asks for tokens: set csrf.token (SECGUARD_CSRF__TOKEN__PATHS), "
    "or nobody called protect(app)"
)

CSRFToken: TypeAlias = Annotated[str, offered("csrf_token", _MISSING)]
"""A token for this visitor, for a field of a form or for a header that a script sends.

Asking for it keeps the response out of shared caches, and sets a cookie where the visitor has none yet.

Raises:
    RuntimeError: no policy around this app asks for tokens, because `csrf.token` is not set.

Example:
    >>> @app.get("/account")
    ... async def page(token: CSRFToken) -> HTMLResponse:
    ...     return HTMLResponse(f'<form method="post"><input type="hidden" name="csrf_token" value="{token}">…</form>')
"""
