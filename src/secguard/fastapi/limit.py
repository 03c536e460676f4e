"""Limits of a route, as a dependency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from starlette.requests import HTTPConnection

from secguard.rate_limit import Limit
from secguard.rate_limit.routes import LimitOptions


class RouteLimit(Limit):
    """A Limit that FastAPI can depend on."""

    async def __call__(self, connection: HTTPConnection) -> None:
        """Count the request, and refuse what is too much."""
        await self.take(connection)


def limit(limits: str | Sequence[str], **options: Unpack[LimitOptions]) -> RouteLimit:
    """Make the dependency that limits a route, a router or an app, over http and websocket.

    `limits` is written like `5/minute` or `10/second; 1000/hour`. `name` lets routes share a count; `key`, `cost`,
    `statuses` and `on_store_error` are those of a rule in the settings. Refusals, and the headers that tell how the
    limits stand, are those of the `rate_limit` section around the app, and the OpenAPI schema has its 429.

    Raises:
        ValidationError: see `secguard.rate_limit.RateLimitRule`.

    Example:
        >>> @app.post("/login", dependencies=[Depends(limit("5/minute", statuses=[401]))])
        ... async def login() -> None: ...
    """
    return RouteLimit(limits, **options)
