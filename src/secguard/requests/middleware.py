"""The section alone, around any ASGI app."""

from __future__ import annotations

from typing import Unpack

from starlette.types import ASGIApp

from secguard.guard import Guard
from secguard.policy import Context, ContextOptions
from secguard.requests.hygiene import RequestsPolicy
from secguard.requests.limits import RequestLimitsPolicy
from secguard.requests.settings import RequestsSettings


class RequestsMiddleware(Guard):
    """Refuses requests that two readers could understand differently, or that take too much, and does nothing else.

    Example:
        >>> from secguard.requests import RequestsMiddleware, RequestsSettings
        >>> app.add_middleware(RequestsMiddleware, settings=RequestsSettings(max_body_size=65536))
    """

    def __init__(
        self, app: ASGIApp, settings: RequestsSettings | None = None, **options: Unpack[ContextOptions]
    ) -> None:
        section, context = settings or RequestsSettings(), Context(**options)
        super().__init__(app, policies=[RequestsPolicy(section, context), RequestLimitsPolicy(section, context)])
