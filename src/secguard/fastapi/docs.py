"""serve_docs(): Swagger UI, ReDoc and the OAuth2 redirect page, as pages that live under a strict policy.

1. No page has an inline script or style. Its settings are JSON in an element that browsers do not run.
2. Every script and stylesheet is let in by the nonce on its element: no host is named, not even our own.
3. A page's policy is the site's, with `script-src` and `style-src` narrowed to the nonce, and with what the page talks
   to: the servers and token endpoints that the app's own schema names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.openapi.docs import swagger_ui_default_parameters
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from secguard.csp import NONCE, csp
from secguard.fastapi.assets import own, third_party
from secguard.fastapi.needs import ICON, Needs, of_redoc, of_swagger
from secguard.guard.inside import inside

_HTML: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
{elements}
</head>
<body>
<noscript>This page needs JavaScript.</noscript>
{body}
<script type="application/json" id="settings">{settings}</script>
</body>
</html>
"""


def serve_docs(app: ASGIApp) -> None:
    """Put pages that live under every policy in the place of FastAPI's own `/docs`, `/redoc` and OAuth2 redirect.

    They keep the addresses, the names and the settings. Where the `apidocs` extra is installed, their scripts and
    stylesheets come from the same origin, below `/docs/assets` and `/redoc/assets`; where it is not, from a CDN, with
    their integrity pinned. Every FastAPI app inside `app` by now is served: behind middlewares, and mounted. Routes of
    your own at those addresses stay as they are, and a second call changes nothing.

    `protect(app)` and `Guard(app)` call it where the `csp` section is on. The pages work without that section as well.

    Example:
        >>> from secguard.fastapi import serve_docs
        >>> serve_docs(app)
    """
    for found in [part for part in inside(app) if isinstance(part, FastAPI)]:
        routes = found.router.routes
        for route in tuple(routes):
            if isinstance(route, Route) and _is_built_in(route) and route.name in _PAGES:
                at = routes.index(route)
                routes[at : at + 1] = _routes(found, route, _PAGES[route.name])


@dataclass(frozen=True, slots=True)
class _Page:
    """What makes one page another than the next. Of its scripts, the first is ours; ours start the others."""

    title: str
    body: str
    scripts: tuple[str, ...]
    settings: Callable[[FastAPI, str], Mapping[str, Any]]
    needs: Callable[[object, str], Needs]


def _is_built_in(route: Route) -> bool:
    """Whether FastAPI made this route in its setup(), and nobody else."""
    return getattr(route.endpoint, "__module__", None) == FastAPI.__module__


def _routes(app: FastAPI, built_in: Route, page: _Page) -> list[BaseRoute]:
    """Return the routes of a page's assets, and of the page itself."""
    folder = built_in.path.rstrip("/") + "/assets"
    assets = [own(page.scripts[0]), *map(third_party, page.scripts[1:])]

    async def show(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        nonce = _fit_policy(request, app, page)
        content = _HTML.format(
            title=escape(f"{app.title} - {page.title}"),
            elements="\n".join(asset.element(root + folder, nonce) for asset in assets),
            body=page.body,
            settings=_json(page.settings(app, root)),
        )
        return HTMLResponse(content)

    served = [route for asset in assets for route in asset.routes(folder)]
    return [*served, Route(built_in.path, show, name=built_in.name, include_in_schema=False)]


def _fit_policy(request: Request, app: FastAPI, page: _Page) -> str | None:
    """Fit the policy of this response to the page, and return its nonce; None where no policy stands around the app."""
    try:
        policy = csp(request)
    except RuntimeError:
        return None
    needs = page.needs(_schema(app), request.scope.get("scheme", "http"))
    policy.replace(
        script_src=NONCE,
        style_src=NONCE,
        # Where a site has these, they would hold in the place of the two above.
        script_src_elem=None,
        script_src_attr=None,
        style_src_elem=None,
        style_src_attr=None,
        # Both bundles give the DOM plain text, and the DOMPurify in them makes a Trusted Types policy of its own.
        require_trusted_types_for=None,
        trusted_types=None,
    ).add(**needs)
    nonce: str = request.state.csp_nonce
    return nonce


def _schema(app: FastAPI) -> object:
    """Return the app's schema, or None where it cannot be made.

    Nobody is told: the page asks for it next, shows what went wrong, and the app raises and logs as it always has.
    """
    try:
        return app.openapi()
    except Exception:
        return None


def _json(settings: Mapping[str, Any]) -> str:
    # Nothing may end the element early or open a comment in it (HTML section 4.12.1.3): both take a `<`.
    return json.dumps(jsonable_encoder(settings)).replace("<", "\\u003c")


def _swagger_settings(app: FastAPI, root: str) -> dict[str, Any]:
    redirect = app.swagger_ui_oauth2_redirect_url
    url = {"url": f"{root}{app.openapi_url}"}
    return {
        "parameters": url | swagger_ui_default_parameters | (app.swagger_ui_parameters or {}),
        "redirect": root + redirect if redirect else None,
        "oauth": app.swagger_ui_init_oauth,
    }


# The names are those of FastAPI's own routes.
_PAGES: Final = {
    "swagger_ui_html": _Page(
        "Swagger UI",
        '<div id="swagger-ui"></div>',
        ("swagger.js", "swagger-ui-bundle.js", "swagger-ui.css"),
        _swagger_settings,
        of_swagger,
    ),
    "swagger_ui_redirect": _Page(
        "OAuth2 redirect",
        "<p>The documentation has the answer. You can close this window.</p>",
        ("oauth2-redirect.js",),
        lambda app, root: {},
        lambda schema, scheme: ICON,
    ),
    "redoc_html": _Page(
        "ReDoc",
        '<div id="redoc"></div>',
        ("redoc.js", "redoc.standalone.js"),
        lambda app, root: {"url": f"{root}{app.openapi_url}"},
        of_redoc,
    ),
}
