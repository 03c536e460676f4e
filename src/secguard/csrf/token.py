"""The token: what a page of ours can tell the browser to send, and no other site can know.

1. It is an HMAC of whom it is bound to, under a key derived for this purpose. Nothing is stored.
2. It is masked anew each time it is read, so that a compressed page does not give it away letter by letter (BREACH).
3. It is compared in constant time, under every key.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from os import urandom
from typing import Final

from secguard._http import Line, cookie_values
from secguard.policy import Exchange

_SIZE: Final = 32  # bytes: 256 bits
_TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]{86}")  # twice as many in base64url, without padding
_VISITOR: Final = re.compile(rb"[A-Za-z0-9_-]{43}")


class Tokens:
    """Makes tokens under the first key, and accepts those under any.

    Example:
        >>> tokens = Tokens(context.keys.derive("csrf-token", "cookie"))
        >>> tokens.accepts(tokens.make(b"visitor").encode(), b"visitor")
        True
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = tuple(keys)

    def make(self, binding: bytes) -> str:
        """Return a token for this visitor, another one each time."""
        mask = urandom(_SIZE)
        return _written(mask + _xor(mask, hmac.digest(self._keys[0], binding, "sha256"))).decode("ascii")

    def accepts(self, token: bytes, binding: bytes) -> bool:
        """Whether a token was made for this visitor."""
        if not _TOKEN.fullmatch(token):
            return False
        read = urlsafe_b64decode(token + b"==")
        signed = _xor(read[:_SIZE], read[_SIZE:])
        # Every key is tried, so that the time tells nothing of which one it was.
        matches = [hmac.compare_digest(signed, hmac.digest(key, binding, "sha256")) for key in self._keys]
        return any(matches)


class VisitorCookie:
    """The cookie that a token is bound to: 256 random bits, which say nothing of the visitor.

    In production its prefix keeps a sibling site and somebody on the wire from setting one (RFC 6265bis section 4.1.3):
    whoever knows the cookie has a token for it. Browsers that do not know `__Host-Http-` enforce `__Host-`.
    """

    def __init__(self, *, development: bool) -> None:
        self._name = b"csrf" if development else b"__Host-Http-csrf"
        self._attributes = b"; Path=/; HttpOnly; SameSite=Lax" + (b"" if development else b"; Secure")

    def of(self, exchange: Exchange) -> bytes | None:
        """Return the visitor that a request names. One that names two names none."""
        named = cookie_values(exchange.values(b"cookie"), self._name)
        return named[0] if len(named) == 1 and _VISITOR.fullmatch(named[0]) else None

    def fresh(self) -> bytes:
        """Return a visitor whom nobody knows yet."""
        return _written(urandom(_SIZE))

    def line(self, visitor: bytes) -> Line:
        """Return the header line that makes the browser name this visitor from now on, until it is closed."""
        return b"set-cookie", self._name + b"=" + visitor + self._attributes


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(_SIZE, "big")


def _written(value: bytes) -> bytes:
    return urlsafe_b64encode(value).rstrip(b"=")
