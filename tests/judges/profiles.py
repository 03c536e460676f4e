"""What secguard sends on https in production, for each profile, as the judges take it."""

from typing import Any, Final, Literal, TypeAlias

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from secguard import Guard, Settings
from tests.helpers import drive, http_scope
from tests.judges.observatory import Site
from tests.judges.observatory.site import ORIGIN, Line

Profile: TypeAlias = Literal["web", "strict", "api"]

PROFILES: Final[tuple[Profile, ...]] = ("web", "strict", "api")

# The judges are told of a cookie as the session section sets it, and of a script with its hash.
COOKIE: Final = (b"set-cookie", b"__Host-Http-session=abc; Path=/; Secure; HttpOnly; SameSite=Lax")
HASHED: Final = "sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC"


def app(*, nonce: bool = False, cookie: bool = False, hashed: bool = False) -> ASGIApp:
    """A page with a script of its own, and an inline one where it has read its nonce."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        integrity = f' integrity="{HASHED}"' if hashed else ""
        page = f'<!doctype html><script src="/app.js"{integrity}></script>'
        if nonce:
            page += f'<script nonce="{Request(scope).state.csp_nonce}">1</script>'
        own = [(b"content-type", b"text/html; charset=utf-8"), *([COOKIE] if cookie else [])]
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body", "body": page.encode()})

    return answer


def guarded(
    profile: Profile, *, nonce: bool = False, cookie: bool = False, hashed: bool = False, **sections: Any
) -> Site:
    """The site of a guarded app."""
    return seen(Guard(app(nonce=nonce, cookie=cookie, hashed=hashed), Settings(profile=profile, **sections)))


def seen(served: ASGIApp) -> Site:
    """What the Observatory asks an app on https, and is told."""
    page = drive(served, http_scope())
    asked = [(b"origin", ORIGIN.encode()), (b"access-control-request-method", b"GET")]
    preflight = drive(served, http_scope(headers=asked, method="OPTIONS"))
    return Site(_text(page.headers), page.body.decode(), cors=_text(preflight.headers))


def _text(lines: list[tuple[bytes, bytes]]) -> list[Line]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in lines]
