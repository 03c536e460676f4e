"""The policy that answers preflights and tells browsers who may read a response, and the middleware that holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Unpack

from starlette.types import ASGIApp

from secguard._http import Declared, Lines
from secguard._paths import Matched, PathRules
from secguard.cors.settings import CORSSettings
from secguard.cors.terms import ALLOW_CREDENTIALS, ALLOW_ORIGIN, EXPOSE_HEADERS, Grant, Terms, asked_for
from secguard.events import escape
from secguard.guard import Guard
from secguard.guard.inside import inside
from secguard.policy import Context, ContextOptions, Exchange, Policy, Reply, Verdict
from secguard.policy.context import PLAIN_TEXT

_REQUEST_METHOD: Final = b"access-control-request-method"
_REQUEST_HEADERS: Final = b"access-control-request-headers"
_ANSWER: Final = b"OK"
_NOWHERE: Final[Matched] = (-1,)


class _Rules(PathRules):
    """Rules of which none holds where frameworks disagree about the path, and neither does the section.

    What opens a path up is an exemption: it holds for the path as routed, and for none where that is not certain.
    """

    __slots__ = ()

    def match(self, paths: Iterable[str]) -> Matched:
        """Return the indices of the rules that hold."""
        routed = tuple(paths)
        return super().match(routed) if all(routed) else _NOWHERE


class CORSPolicy(Policy):
    """Answers preflights, and says on each response which origin may read it (Fetch section 3.3).

    1. A preflight is answered here, before anybody counts it or asks for a login: browsers send it without credentials.
    2. One that fails gets a 403 without any CORS header, and a body that says what failed: Event `cors.preflight`.
    3. An origin that is not allowed is told nothing. Its request passes, for CORS only governs who may read.
    4. What the app itself says about CORS is replaced: Event `cors.second`, once.
    5. Where nobody is allowed, nothing is done: preflights pass to the app.

    Example:
        >>> policy = CORSPolicy(CORSSettings(allow_origins=["https://app.example.com"]))
        >>> policy.admit(exchange) is None
        True
        >>> exchange.allowed
        'exact'
    """

    section: CORSSettings
    sets = frozenset({ALLOW_ORIGIN, ALLOW_CREDENTIALS, EXPOSE_HEADERS})

    def __init__(self, section: CORSSettings, context: Context | None = None) -> None:
        super().__init__(context)
        self.section = section
        self._has_told = False
        self._terms = lru_cache(maxsize=1024)(self._compile)
        if section.rules:
            self.rules = _Rules(rule.paths for rule in section.rules)
        # At hand, without a look at the path, where there are no rules.
        self._everywhere = None if section.rules else self._terms(())
        self._exact: Mapping[bytes, Grant] = self._everywhere.exact if self._everywhere else {}
        self._opens = any(fields.everybody for fields in (section, *section.rules))

    def declare(self, secure: bool, matched: Matched) -> Iterable[Declared]:
        """Return the lines of every response under the rules that hold for its path."""
        terms = self._terms(matched)
        return terms.declared if terms else ()

    def admit(self, exchange: Exchange) -> Verdict:
        """Find out how the origin is allowed, and answer a preflight."""
        headers = exchange.headers
        origin = headers.get(b"origin")
        if origin is None:
            if self._opens and (terms := self._everywhere or self._of(exchange)) and terms.everybody:
                exchange.allowed = "any"  # an <img> of another site brings no Origin, and may have what all may have
            return None
        grant = self._exact.get(origin) or self._grant(exchange, origin)
        if grant is not None:
            exchange.allowed = grant.allowed
        if _REQUEST_METHOD in headers and exchange.method == "OPTIONS" and (terms := self._of(exchange)):
            return self._preflight(exchange, terms, grant)
        return None

    def finish(self, exchange: Exchange, headers: Lines) -> None:
        """Tell an allowed origin so."""
        if exchange.allowed is not None:  # by these terms, or by those of another Guard
            origin = exchange.headers.get(b"origin", b"")
            grant = self._exact.get(origin) or self._grant(exchange, origin)
            if grant is not None:
                headers += grant.lines

    def meet(self, app: object) -> None:
        """Look for a second CORS middleware, which could only lose."""
        for part in inside(app):
            kinds = [type(part), *(middleware.cls for middleware in getattr(part, "user_middleware", ()))]
            if any(getattr(kind, "__name__", "") == "CORSMiddleware" for kind in kinds):
                self._tell("a CORSMiddleware stands inside", app=type(part).__name__)

    def _grant(self, exchange: Exchange, origin: bytes) -> Grant | None:
        terms = self._everywhere or self._of(exchange)
        return terms.grant(origin) if terms else None

    def _of(self, exchange: Exchange) -> Terms | None:
        return self._everywhere or self._terms(self.rules.match((exchange.routed,)))

    def _compile(self, matched: Matched) -> Terms | None:
        if matched == _NOWHERE:
            return None
        fields = self.section.over(matched)
        return Terms(fields, self._meet_line) if fields.somebody else None

    def _preflight(self, exchange: Exchange, terms: Terms, grant: Grant | None) -> Reply:
        lists = exchange.values(_REQUEST_HEADERS)
        method, names = b", ".join(exchange.values(_REQUEST_METHOD)), asked_for(lists)  # several methods are none
        failed: dict[str, list[bytes]] = {}
        if grant is None:
            failed["origin"] = [exchange.headers[b"origin"]]
        if not terms.takes(method):
            failed["method"] = [method]
        if strange := [b", ".join(lists)] if names is None else terms.strange(names):
            failed["headers"] = strange
        if grant is None or names is None or failed:
            return self._refuse(exchange, failed)
        return Reply(HTTPStatus.OK, (*terms.answer(grant, method, names), PLAIN_TEXT), _ANSWER, cacheable=True)

    def _refuse(self, exchange: Exchange, failed: Mapping[str, Sequence[bytes]]) -> Reply:
        refusal = self.context.refuse(
            exchange,
            HTTPStatus.FORBIDDEN,  # Fetch section 3.3.3
            "cors.preflight",
            f"cors does not allow what a preflight asks for: {', '.join(failed)}",
            origin=exchange.headers[b"origin"],
            **{f"asked_{what}": b", ".join(values) for what, values in failed.items() if what != "origin"},
        )
        # Whoever reads it in the tools of a browser has to know, in production too, and has asked for all of it.
        told = ", ".join(f"{what} {', '.join(map(escape, values))}" for what, values in failed.items())
        return replace(refusal, body=f"Disallowed CORS {told}\n".encode())

    def _meet_line(self, value: bytes) -> bool:
        """Take note of what the app says itself, which is not kept."""
        self._tell("the app has sent Access-Control-Allow-Origin itself", value=value)
        return False

    def _tell(self, what: str, **detail: object) -> None:
        if not self._has_told:
            self._has_told = True
            reason = f"{what}: what it says is replaced here, so take it away, or leave the cors section off"
            self.context.notice("cors.second", reason, None, **detail)


class CORSMiddleware(Guard):
    """CORS alone, for any ASGI 3 app. Its keywords are the fields of `Context`.

    Example:
        >>> from secguard.cors import CORSMiddleware, CORSSettings
        >>> app.add_middleware(CORSMiddleware, settings=CORSSettings(allow_origins=["https://app.example.com"]))
    """

    def __init__(self, app: ASGIApp, settings: CORSSettings, **options: Unpack[ContextOptions]) -> None:
        super().__init__(app, policies=[CORSPolicy(settings, Context(**options))])
