"""A page behind a `csp` section: to load it, and to read the header that it came with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from starlette.requests import HTTPConnection

from secguard.csp import CSPMiddleware, CSPSettings
from secguard.policy import Profile
from tests.helpers import Line, Message, Scope, Sent, attempt, http_scope

Policy: TypeAlias = dict[str, tuple[str, ...]]

ENFORCED = b"content-security-policy"
REPORT_ONLY = b"content-security-policy-report-only"


def page(ask: Callable[[HTTPConnection], object] | None, status: int = 200, headers: Iterable[Line] = ()) -> Any:
    """An app that asks something of its request, answers, and has what it was told as its body."""
    lines = list(headers)

    async def app(scope: Scope, receive: Any, send: Callable[[Message], Any]) -> None:
        told = str(ask(HTTPConnection(scope)) if ask else "")
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "headers": [*lines, (b"x-told", told.encode())]})
            return
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": told.encode()})

    return app


def load(
    ask: Callable[[HTTPConnection], object] | None = None,
    *,
    profile: Profile = "web",
    scope: Scope | None = None,
    status: int = 200,
    headers: Iterable[Line] = (),
    **fields: Any,
) -> Sent:
    """Load a page through a `csp` section of these fields."""
    app = CSPMiddleware(page(ask, status, headers), CSPSettings(**fields), profile=profile)
    sent = attempt(app, scope or http_scope())
    if sent.error is not None:
        raise sent.error
    return sent


def read_nonce(request: HTTPConnection) -> str:
    """What a page does that writes its nonce into a tag."""
    nonce = request.state.csp_nonce
    assert isinstance(nonce, str)
    return nonce


def read(header: bytes | str | None) -> list[Policy]:
    """Take a header apart (CSP 3 section 2.2.1): policies, directives, sources. What needs mending fails."""
    if header is None:
        return []
    text = header.decode("ascii") if isinstance(header, bytes) else header
    assert text.isascii()
    assert text.isprintable(), "there is a control character in it"
    return [_policy(part) for part in text.split(",")]


def only(header: bytes | str | None) -> Policy:
    """The one policy of a header."""
    (policy,) = read(header)
    return policy


def nonces(header: bytes | None) -> set[str]:
    """Every nonce source of a header."""
    return {source for sources in only(header).values() for source in sources if source.startswith("'nonce-")}


def _policy(text: str) -> Policy:
    policy: Policy = {}
    for part in text.split(";"):
        name, *sources = part.split()
        assert name == name.lower()
        assert name not in policy, f"{name} stands there twice, and the second time for nothing"
        assert part.strip() == " ".join([name, *sources]), "there is a blank too many"
        policy[name] = tuple(sources)
    return policy
