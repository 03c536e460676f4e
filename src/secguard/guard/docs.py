"""FastAPI's documentation pages, which would stay blank under a policy."""

from __future__ import annotations

import sys
from typing import Final

from starlette.types import ASGIApp

from secguard.policy import Offers

_NONCE: Final = "csp_nonce"  # where it is on offer, a policy stands around the app


def serve_docs(app: ASGIApp, offers: Offers) -> None:
    """Put pages that live under the policy in their place, in every FastAPI app inside `app`."""
    if _NONCE in offers and "fastapi" in sys.modules:  # it is not imported for an app that does not use it
        from secguard.fastapi import serve_docs as serve  # noqa: PLC0415 - further down, and an extra

        serve(app)
