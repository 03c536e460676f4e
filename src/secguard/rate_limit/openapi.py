"""The 429 in FastAPI's OpenAPI schema, for operations that are limited."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from secguard.guard.inside import inside
from secguard.rate_limit.dialects import BODY, TYPE
from secguard.rate_limit.settings import RateLimitRule

_STATUS: Final = "429"


def document(app: object, applies: Callable[[str, str], bool]) -> None:
    """Let the schema of every FastAPI app inside `app` tell of the refusal, where `applies` or a route's limit does.

    `applies` is asked with a path template and a method. What an operation says of its 429 itself stays as it is.
    """
    fastapi = sys.modules.get("fastapi")  # it is not imported for an app that does not use it
    if fastapi is None:
        return
    for part in inside(app):
        if isinstance(part, fastapi.FastAPI):
            made = part.openapi
            if getattr(made, "func", None) is not _documented or made.args[2] is not applies:
                part.openapi = partial(_documented, part, made, applies)


def _documented(app: Any, openapi: Callable[[], dict[str, Any]], applies: Callable[[str, str], bool]) -> dict[str, Any]:
    schema = openapi()
    limited = set(_limited(app))
    for path, operations in schema.get("paths", {}).items():
        for method, operation in operations.items():
            if (path, method.upper()) in limited or applies(path, method.upper()):
                operation.setdefault("responses", {}).setdefault(_STATUS, _RESPONSE)
    return schema


def _limited(app: Any) -> Iterator[tuple[str, str]]:
    """Yield path and method of every operation whose dependencies have a limit."""
    routing = sys.modules["fastapi.routing"]
    # Newer versions include a router as one route, and have a function that goes through it.
    contexts = getattr(routing, "iter_route_contexts", iter)
    for route in contexts(app.routes):
        if _has_limit(getattr(route, "dependant", None)):
            yield from ((route.path_format, method) for method in route.methods or ())


def _has_limit(dependant: Any) -> bool:
    return dependant is not None and (
        isinstance(getattr(dependant.call, "rule", None), RateLimitRule) or any(map(_has_limit, dependant.dependencies))
    )


_RESPONSE: Final[dict[str, Any]] = {
    "description": "Too Many Requests",
    "headers": {
        "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    },
    "content": {
        TYPE: {
            "schema": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "format": "uri"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "violated-policies": {"type": "array", "items": {"type": "string"}},
                },
            },
            "example": {**BODY, "violated-policies": ["default"]},
        }
    },
}
