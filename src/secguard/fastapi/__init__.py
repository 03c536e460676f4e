"""What FastAPI apps get besides: a typed dependency for the nonce, and API documentation under every policy."""

from secguard.fastapi.docs import serve_docs
from secguard.fastapi.nonce import CSPNonce

__all__ = ["CSPNonce", "serve_docs"]
