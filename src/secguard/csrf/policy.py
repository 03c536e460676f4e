"""The policy that refuses what another site made the browser send, and the middleware that holds nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, Self, Unpack

from starlette.types import ASGIApp

from secguard._http import Declared, Lines, join, keep_private
from secguard._paths import Matched, PathRules
from secguard.csrf.rules import DECISIVE, NO_ORIGIN, SAFE, Rules
from secguard.csrf.settings import CSRFSettings
from secguard.csrf.token import Tokens, VisitorCookie
from secguard.guard import Guard
from secguard.policy import Context, ContextOptions, Exchange, Message, Policy, Reply, Verdict

OFFER: Final = "csrf_token"  # on request.state
_CONTENT_TYPE: Final = b"content-type"


class CSRFPolicy(Policy):
    """Refuses what another site made the browser send with 403: Events `csrf.cross-origin` and `csrf.isolated`.

    Where paths are exempt, the Event `csrf.exempt-paths` says so once, at start. A section with a `token` makes a
    policy that asks for it, too: Event `csrf.token`.

    Raises:
        ValueError: the section has a `token`, and the Context has no keys.
        RuntimeError: tokens are taken from forms, and python-multipart is not installed.

    Example:
        >>> policy = CSRFPolicy(CSRFSettings())
        >>> policy.admit(exchange).status  # a POST with Sec-Fetch-Site: cross-site
        403
    """

    section: CSRFSettings

    # As pathlib.Path makes a PosixPath: the Guard calls hooks that a class overrides, and without a token, or without
    # one in forms, there is nothing to call.
    def __new__(cls, section: CSRFSettings, context: Context | None = None) -> Self:
        """Return a policy that has the hooks which the section needs, and no others."""
        made: Any = cls
        if cls is CSRFPolicy and section.token:
            made = FormTokenPolicy if section.token.form_paths else TokenPolicy
        policy: Self = super().__new__(made)
        return policy

    def __init__(self, section: CSRFSettings, context: Context | None = None) -> None:
        super().__init__(context)
        if section.token and not isinstance(self, TokenPolicy):
            raise TypeError(f"{type(self).__name__} would ask for no token: derive it from TokenPolicy")
        self.section = section
        self._rules = Rules(section)
        self._isolates = section.isolate
        exempt = (*section.dangerously_exempt_paths, *section.exempt_paths)
        self._exempt = PathRules([exempt])
        if section.isolate:
            self.rules = self._exempt
        if exempt:
            advice = "; write dangerously_exempt_paths, so that a reviewer sees it" if section.exempt_paths else ""
            told = f"every site may make a visitor's browser act on these paths: {', '.join(exempt)}{advice}"
            self.context.notice("csrf.exempt-paths", told)

    def declare(self, secure: bool, matched: Matched) -> Sequence[Declared]:
        """Return the Vary line of what `isolate` decides: no cache may answer another site with what it kept for us."""
        if matched or not self._isolates:
            return ()
        # Fetch Metadata section 5.1. Origin decides where one is trusted; where CORS allows one, `cors` says so.
        asked = [b"Sec-Fetch-Site", b"Sec-Fetch-Mode", b"Sec-Fetch-Dest", *[b"Origin"] * bool(self._rules.trusted)]
        return (join(b"vary", b", ".join(asked)),)

    def admit(self, exchange: Exchange) -> Verdict:
        """Return the refusal of what another site made the browser send."""
        if exchange.method in SAFE and exchange.kind == "http":
            if not self._isolates:
                return None
            code, reason = "csrf.isolated", self._rules.loads_from_elsewhere(exchange)
        else:
            code, reason = "csrf.cross-origin", self._rules.acts_from_elsewhere(exchange)
        if not reason or self.is_exempt(exchange):
            return None
        return self.refuse(exchange, code, reason)

    def is_exempt(self, exchange: Exchange) -> bool:
        """Whether this path is."""
        return bool(self._exempt.match((exchange.routed,)))

    def refuse(self, exchange: Exchange, code: str, reason: str) -> Reply:
        """Return the refusal, with what the decision rests on in its Event."""
        said = {name: exchange.headers[name].decode("latin-1") for name in DECISIVE if name in exchange.headers}
        detail = {name.decode().replace("-", "_"): value for name, value in said.items()}
        host = str(exchange.host or "")
        return self.context.refuse(exchange, HTTPStatus.FORBIDDEN, code, reason, host=host, **detail)


class TokenPolicy(CSRFPolicy):
    """The same, and asks for a token at the paths of `token`. It offers `request.state.csrf_token`."""

    def __init__(self, section: CSRFSettings, context: Context | None = None) -> None:
        super().__init__(section, context)
        if section.token is None or not self.context.keys:
            raise ValueError("csrf.token needs secret keys: pass keys=Keys([...]), or set SECGUARD_SECRET_KEYS")
        token = section.token
        self._tokens = Tokens(self.context.keys.derive("csrf-token", "cookie"))
        self._visitors = VisitorCookie(development=self.context.development)
        self._asked = PathRules([token.paths])
        self._header = token.header.encode()
        self._by_header = f"send it in the header {token.header}"
        self.offers = MappingProxyType({OFFER: self._offer})

    def admit(self, exchange: Exchange) -> Verdict:
        """Return the refusal of what comes from elsewhere, or without a token where one is asked for."""
        if exchange.kind != "http" or exchange.method in SAFE or not self._asked.match(exchange.paths):
            return super().admit(exchange)
        if self.is_exempt(exchange):
            return None
        reason = self._rules.acts_from_elsewhere(exchange)
        if reason and reason != NO_ORIGIN:  # in its place, a token is proof enough
            return self.refuse(exchange, "csrf.cross-origin", reason)
        token = exchange.headers.get(self._header)
        return self.judge(exchange, token) if token is not None else self.missing(exchange)

    def judge(self, exchange: Exchange, token: bytes) -> Verdict:
        """Return the refusal of a token that is not this visitor's."""
        visitor = self._visitors.of(exchange)
        if visitor is not None and self._tokens.accepts(token, visitor):
            return None
        why = "is not this visitor's" if visitor is not None else "came without the cookie that it belongs to"
        return self.refuse(exchange, "csrf.token", f"the token {why}: read request.state.csrf_token anew")

    def missing(self, exchange: Exchange) -> Verdict:
        """Return the refusal of a request without a token."""
        return self.refuse(exchange, "csrf.token", f"no token came: {self._by_header}")

    def revise(self, exchange: Exchange, headers: Lines) -> None:
        """Keep an answer whose token was read to its visitor, and name a new one."""
        matched = self.rules.match((exchange.routed,)) if self.rules else ()
        for line in self.declare(exchange.secure, matched):
            line.apply(headers)
        if (visitor := exchange.notes.get(self)) is not None:
            keep_private(headers)
            if visitor != self._visitors.of(exchange):
                headers.append(self._visitors.line(visitor))

    def _offer(self, exchange: Exchange) -> str:
        visitor = exchange.notes.get(self) or self._visitors.of(exchange) or self._visitors.fresh()
        exchange.note(self, visitor)
        return self._tokens.make(visitor)


class FormTokenPolicy(TokenPolicy):
    """The same, and finds the token in forms at the `form_paths` of `token`."""

    def __init__(self, section: CSRFSettings, context: Context | None = None) -> None:
        super().__init__(section, context)
        token = section.token
        try:
            from secguard.csrf import forms  # noqa: PLC0415 - python-multipart need not be installed
        except ImportError:
            raise RuntimeError(
                "csrf.token.form_paths reads forms with python-multipart: pip install 'secguard-asgi[forms]'"
            ) from None
        self._forms = forms
        self._form_paths = PathRules([token.form_paths if token else ()])
        self._field = token.field.encode() if token else b""

    def missing(self, exchange: Exchange) -> Verdict:
        """Put the decision off until the form is there, where there will be one."""
        content_type = exchange.headers.get(_CONTENT_TYPE, b"")
        if not (self._form_paths.match(exchange.paths) and self._forms.is_form(content_type)):
            return super().missing(exchange)
        exchange.memory[self] = self._forms.FormScanner(content_type, self._field)
        return None

    def look_ahead(self, exchange: Exchange) -> Callable[[Message], bool | Reply] | None:
        """Return what looks for the token in a form, before the app runs."""
        scanner = exchange.memory.pop(self, None)
        if scanner is None:
            return None

        def look(message: Message) -> bool | Reply:
            if message["type"] != "http.request":
                # An app need not read a body to act, so it is not run for a client that left before its token came.
                return self.refuse(exchange, "csrf.token", "the client was gone before its token came")
            scanner.feed(message.get("body", b""), last=not message.get("more_body"))
            if not scanner.over:
                return False
            if scanner.value is not None:
                return self.judge(exchange, scanner.value) or True
            field = self._field.decode()
            reason = f"no token came: {self._by_header}, or as the field {field}, within the first 64 KiB of the form"
            return self.refuse(exchange, "csrf.token", reason)

        return look


class CSRFMiddleware(Guard):
    """The check alone, for any ASGI 3 app. Its keywords are the fields of `Context`.

    Example:
        >>> app.add_middleware(CSRFMiddleware, settings=CSRFSettings(trusted_origins=["https://login.example.com"]))
    """

    def __init__(self, app: ASGIApp, settings: CSRFSettings | None = None, **options: Unpack[ContextOptions]) -> None:
        super().__init__(app, policies=[CSRFPolicy(settings or CSRFSettings(), Context(**options))])
