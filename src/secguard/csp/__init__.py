"""Content-Security-Policy: what a page may load, run and talk to (CSP 3)."""

from secguard.csp.amendments import Amendments, csp
from secguard.csp.directives import Directives
from secguard.csp.hashes import hash_file, hash_text
from secguard.csp.policy import CSPMiddleware, CSPPolicy
from secguard.csp.settings import CSPFields, CSPRule, CSPSettings
from secguard.csp.words import (
    ALLOW_DUPLICATES,
    BLOB,
    DATA,
    HTTPS,
    NONCE,
    NONE,
    REPORT_SAMPLE,
    SCRIPT,
    SELF,
    STRICT_DYNAMIC,
    UNSAFE_EVAL,
    UNSAFE_HASHES,
    UNSAFE_INLINE,
    WASM_UNSAFE_EVAL,
    WSS,
)

__all__ = [
    "ALLOW_DUPLICATES",
    "BLOB",
    "DATA",
    "HTTPS",
    "NONCE",
    "NONE",
    "REPORT_SAMPLE",
    "SCRIPT",
    "SELF",
    "STRICT_DYNAMIC",
    "UNSAFE_EVAL",
    "UNSAFE_HASHES",
    "UNSAFE_INLINE",
    "WASM_UNSAFE_EVAL",
    "WSS",
    "Amendments",
    "CSPFields",
    "CSPMiddleware",
    "CSPPolicy",
    "CSPRule",
    "CSPSettings",
    "Directives",
    "csp",
    "hash_file",
    "hash_text",
]
