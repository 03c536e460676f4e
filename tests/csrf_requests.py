"""Requests as browsers send them, from our own pages and from elsewhere, and what the check makes of them."""

from __future__ import annotations

from typing import Any

from secguard.csrf import CSRFPolicy, CSRFSettings
from secguard.policy import Context, Exchange, Reply
from secguard.policy.exchange import Allowed
from tests.helpers import Line, exchange


def site(value: bytes) -> Line:
    return (b"sec-fetch-site", value)


def origin(value: bytes) -> Line:
    return (b"origin", value)


OWN = origin(b"https://example.com")
SIBLING = origin(b"https://app.example.com")
FOREIGN = origin(b"https://evil.test")
NULL = origin(b"null")
SAME_ORIGIN, SAME_SITE, CROSS_SITE, NONE = map(site, (b"same-origin", b"same-site", b"cross-site", b"none"))
TRUSTING = {"trusted_origins": ["https://app.example.com", "capacitor://localhost"]}
SIBLINGS = {"allow_same_site": True}
ORIGIN = {"require_origin": True}
ISOLATED = {"isolate": True}

OPENED = ((b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document"))
FRAMED = ((b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"iframe"))
EMBEDDED = ((b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"object"))
LOADED = ((b"sec-fetch-mode", b"no-cors"), (b"sec-fetch-dest", b"script"))
FETCHED = ((b"sec-fetch-mode", b"cors"), (b"sec-fetch-dest", b"empty"))


def refusal(section: dict[str, Any], seen: Exchange) -> Reply | None:
    answer = CSRFPolicy(CSRFSettings.model_validate(section), Context(sinks=())).admit(seen)
    assert answer is None or isinstance(answer, Reply)
    return answer


def verdict(section: dict[str, Any], *lines: Line, allowed: Allowed | None = None, **more: Any) -> str:
    """Return the first words of the reason of a refusal, or that the request passes."""
    seen = exchange(headers=lines, **more)
    seen.allowed = allowed
    reply = refusal(section, seen)
    if reply is None:
        return "passes"
    assert reply.status == 403
    assert not reply.cacheable
    assert reply.event
    safe = seen.kind == "http" and seen.method in {"GET", "HEAD", "OPTIONS"}
    assert reply.event.code == ("csrf.isolated" if safe else "csrf.cross-origin")
    return reply.event.reason.partition(":")[0]
