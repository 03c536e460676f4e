"""What FastAPI apps get besides: dependencies for nonce, token and limits, and API documentation under every policy."""

from secguard.fastapi.docs import serve_docs
from secguard.fastapi.limit import RouteLimit, limit
from secguard.fastapi.nonce import CSPNonce
from secguard.fastapi.token import CSRFToken

__all__ = ["CSPNonce", "CSRFToken", "RouteLimit", "limit", "serve_docs"]
