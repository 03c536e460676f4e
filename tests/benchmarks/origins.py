"""What the honest floor knows of other origins: one may read its answers, with credentials, and the others may not."""

from __future__ import annotations

import re
from typing import Final

from secguard.events import escape
from tests.benchmarks.by_hand import EVERYDAY, LISTED, Owned, always, settle
from tests.benchmarks.traffic import Line

APP: Final = b"https://app.example.com"
_METHODS: Final = (b"GET", b"POST", b"DELETE")
_HEADERS: Final = (b"Accept", b"Accept-Language", b"Content-Language", b"Content-Type", b"x-token")
_MOST_ASKED: Final = 4096  # bytes

VARY: Final[Line] = (b"vary", b"Origin")
_ALLOWED: Final[list[Line]] = [
    (b"access-control-allow-origin", APP),
    (b"access-control-allow-credentials", b"true"),
]
GRANT: Final[list[Line]] = [*_ALLOWED, (b"access-control-expose-headers", b"x-total")]
_PASSED: Final[list[Line]] = [
    *_ALLOWED,
    (b"access-control-allow-methods", b", ".join(_METHODS)),
    (b"access-control-allow-headers", b", ".join(_HEADERS)),
    (b"access-control-max-age", b"600"),
    VARY,
]
_KNOWN: Final = frozenset(name.lower() for name in _HEADERS)
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# Vary is set by `name_origin`, and then stays.
NAMES: Final = frozenset(
    b"access-control-" + name
    for name in b"allow-origin allow-credentials allow-methods allow-headers allow-private-network expose-headers "
    b"max-age".split()
)
EVERYDAY_BUT_VARY: Final = EVERYDAY - {b"vary"}


def owning(owned: Owned) -> Owned:
    """Return the names that are owned with those of CORS: what the app says itself is not kept."""
    return {**owned, **dict.fromkeys(NAMES, lambda _: False), b"vary": always}


def settle_all(headers: list[Line], ready: list[Line], owned: Owned, also_listed: frozenset[bytes]) -> list[Line]:
    """Settle the lines of an app that has some of ours itself, and name Origin in its Vary."""
    held = [value for name, value in headers if name.lower() == b"vary"]
    if held:
        each: dict[bytes, bytes] = {}
        for part in b",".join([*held, VARY[1]]).split(b","):
            if element := part.strip(b" \t"):
                each.setdefault(element.lower(), element)
        merged = b"*" if b"*" in each else b", ".join(each.values())
        headers = [(b"vary", merged), *(line for line in headers if line[0].lower() != b"vary")]
    return settle(headers, ready, owned, LISTED | also_listed)


def preflight(lines: list[Line], origin: bytes) -> tuple[int, list[Line], bytes]:
    """Answer a preflight, or say what it asks for in vain."""
    method = b", ".join(value for name, value in lines if name == b"access-control-request-method")
    asked = [value for name, value in lines if name == b"access-control-request-headers"]
    names = dict.fromkeys(element for value in asked for part in value.split(b",") if (element := part.strip(b" \t")))
    strange = [name for name in names if name.lower() not in _KNOWN]
    if sum(map(len, asked)) > _MOST_ASKED or not all(map(_TOKEN.fullmatch, names)):
        strange = [b", ".join(asked)]
    failed = {
        "origin": [origin] if origin != APP else [],
        "method": [method] if method not in _METHODS else [],
        "headers": strange,
    }
    told = ", ".join(f"{what} {', '.join(map(escape, values))}" for what, values in failed.items() if values)
    return (403, [], f"Disallowed CORS {told}\n".encode()) if told else (200, _PASSED, b"OK")
