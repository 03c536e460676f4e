"""What FastAPI apps get besides: typed dependencies for nonce and token, and API documentation under every policy."""

from secguard.fastapi.docs import serve_docs
from secguard.fastapi.nonce import CSPNonce
from secguard.fastapi.token import CSRFToken

__all__ = ["CSPNonce", "CSRFToken", "serve_docs"]
