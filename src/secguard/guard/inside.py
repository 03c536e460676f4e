"""What is inside an app: behind its middlewares, and on its routes."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.routing import Router

from secguard.guard.core import DEEPEST


def inside(app: object, seen: dict[int, object] | None = None) -> Iterator[object]:
    """Yield an app and everything in it: what middlewares wrap, what routers mount, and what is put around routes.

    Behind the bound method that protect() wraps there is nothing to be found: it looks later, when all is mounted.
    """
    seen = {} if seen is None else seen
    for _ in range(DEEPEST):
        if app is None or id(app) in seen:
            return
        seen[id(app)] = app  # held, for the number of what is gone may be given again
        yield app
        if isinstance(app, Starlette):
            app = app.router
        if isinstance(app, Router):
            yield from inside(getattr(app, "middleware_stack", None), seen)
            for route in app.routes:
                yield from inside(route, seen)
            return
        # Newer versions of FastAPI include a router as a route that holds it, and no longer copy its routes.
        app = getattr(app, "app", getattr(app, "original_router", None))
