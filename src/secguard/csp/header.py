"""A policy as it is sent: bytes that are ready at start, with gaps where the nonce goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from secguard.csp.directives import Directives

_GAP: Final = "\0"  # no word of a policy has it


@dataclass(frozen=True, slots=True)
class Header:
    """The value of a header: `plain` where nobody read the nonce (None sends nothing), `parts` around every nonce.

    `has_nonce` tells whether a list asks for one.
    """

    plain: bytes | None
    parts: tuple[bytes, ...]
    has_nonce: bool


def write(policies: Iterable[Directives], *, secure: bool) -> Header:
    """Write policies into one header, which lists them (CSP 3 section 3.1): each of them is enforced."""
    policies = tuple(policies)
    parts = _text(policies, secure, f"'nonce-{_GAP}'").encode().split(_GAP.encode())
    return Header(_text(policies, secure, None).encode() or None, tuple(parts), len(parts) > 1)


def _text(policies: Iterable[Directives], secure: bool, nonce: str | None) -> str:
    texts = ["; ".join(directives.lines(secure=secure, nonce=nonce)) for directives in policies]
    return ", ".join(text for text in texts if text)
