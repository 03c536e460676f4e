"""protect(): the Guard, mounted on an app in place."""

from __future__ import annotations

from types import MethodType
from typing import TypeVar

from starlette.applications import Starlette
from starlette.types import ASGIApp

from secguard.guard.core import Configured, Guard
from secguard.guard.docs import serve_docs

AppType = TypeVar("AppType", bound=Starlette)


def protect(app: AppType, settings: Configured | None = None) -> AppType:
    """Harden a Starlette or FastAPI app in place, and return the same object.

    The Guard stands outside everything the app does, its error middleware and later instrumentors included. Routes,
    middleware, mounts and exception handlers may still be added afterwards. FastAPI's own documentation pages are
    replaced by pages that work under a Content-Security-Policy (see `secguard.fastapi.serve_docs`).

    Raises:
        SettingsError: the settings are wrong; the message lists every mistake at once.
        RuntimeError: the app is protected already, or has built its middleware stack and may have served requests.

    Example:
        >>> from fastapi import FastAPI
        >>> from secguard import protect
        >>> app = protect(FastAPI())
    """
    unprotected = type(app)
    if issubclass(unprotected, _Protected):
        raise RuntimeError("this app is protected already: call protect() once, with all settings")
    if app.middleware_stack is not None:
        raise RuntimeError("protect() comes before the first request: this app has built its middleware stack")
    guard = Guard(MethodType(unprotected.__call__, app), settings)

    def build_middleware_stack(app: AppType) -> ASGIApp:
        serve_docs(app, guard.offers)  # now that everything is mounted
        guard.meet(app)
        return unprotected.build_middleware_stack(app)

    # Of this object only, and of nothing inside it: instrumentors replace `build_middleware_stack`, take what it
    # returns apart, and put it back later, whatever stood there in the meantime. A bound method in the class body is
    # called as it is, without `self` and without another frame.
    body = {"__call__": guard.__call__, "build_middleware_stack": build_middleware_stack}
    app.__class__ = type(unprotected.__name__, (_Protected, unprotected), body)
    return app


class _Protected:
    """Marks the class that `protect` makes of an app's own."""
