"""The Context that policies share, and the Replies it helps them make."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from http import HTTPStatus
from typing import Final, TypedDict

from secguard._http import NO_STORE, Line
from secguard._keys import Keys
from secguard.events import Action, Event, Sink, deliver, log_event
from secguard.policy.exchange import Exchange
from secguard.policy.peer import Direct, Resolver
from secguard.policy.section import Environment, Mode, Profile

PLAIN_TEXT: Final[Line] = (b"content-type", b"text/plain; charset=utf-8")
_DIRECT: Final = Direct()
_NO_KEYS: Final = Keys()
_BODILESS: Final = frozenset({*range(100, 200), 204, 304})


@dataclass(frozen=True, slots=True)
class Reply:
    """A ready answer that a policy gives instead of the app's.

    `no-store` is set on every Reply that does not say otherwise, for CDNs keep a 308, 404, 405 or 410 without being
    asked (RFC 9110 section 15.1). A Reply with an `event` is a refusal: it can be rehearsed. `close_code` closes a
    websocket that is already open (RFC 6455 section 7.4.1; 1008 is "policy violation"). `unfound` lets the app answer
    instead, as it does where it finds nothing; the Reply is what is sent where that is not possible.

    Example:
        >>> Reply(403).lines
        ((b'cache-control', b'no-store'), (b'content-length', b'0'))
    """

    status: int
    headers: tuple[Line, ...] = ()
    body: bytes = b""
    _: KW_ONLY
    event: Event | None = None
    cacheable: bool = False
    close_code: int = 1008
    unfound: bool = False

    @property
    def lines(self) -> tuple[Line, ...]:
        """All header lines, the ones that every Reply carries included."""
        # RFC 9110 section 8.6: no Content-Length beside a status that has no content.
        length = () if self.status in _BODILESS else ((b"content-length", b"%d" % len(self.body)),)
        return (*self.headers, *(() if self.cacheable else (NO_STORE,)), *length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What policies share besides their sections. Immutable; one for a Guard, or one for several.

    `clock` returns seconds since the epoch; tests inject their own.

    Example:
        >>> Context(environment="development").development
        True
    """

    environment: Environment = "production"
    profile: Profile = "web"
    mode: Mode = "enforce"
    keys: Keys = _NO_KEYS
    resolver: Resolver = _DIRECT
    sinks: tuple[Sink, ...] = (log_event,)
    clock: Callable[[], float] = time.time

    @property
    def development(self) -> bool:
        """Whether the app runs on its developer's machine."""
        return self.environment == "development"

    def emit(self, event: Event) -> None:
        """Hand an Event to every sink."""
        deliver(event, self.sinks)

    def notice(self, code: str, reason: str, exchange: Exchange | None = None, **detail: object) -> None:
        """Tell the sinks of something that refused nothing."""
        self.emit(self._event("noticed", code, reason, exchange, detail))

    def refuse(
        self, exchange: Exchange, status: HTTPStatus, code: str, reason: str, *headers: Line, **detail: object
    ) -> Reply:
        """Make a refusal: a plain body, which in development says why, and the Event, which always does."""
        told = f"\n{code}: {reason}" if self.development else ""
        event = self._event("refused", code, reason, exchange, detail)
        return Reply(
            status.value,
            (PLAIN_TEXT, *headers),
            f"{status.phrase}{told}\n".encode(),
            event=replace(event, status=status.value),
        )

    def _event(
        self, action: Action, code: str, reason: str, exchange: Exchange | None, detail: dict[str, object]
    ) -> Event:
        client = exchange and exchange.client
        return Event(
            code=code,
            action=action,
            reason=reason,
            time=self.clock(),
            client=str(client) if client else None,
            method=exchange.method if exchange else None,
            path=exchange.path if exchange else None,
            detail=detail,
        )


class ContextOptions(TypedDict, total=False):
    """The keywords that a stand-alone middleware takes besides its section: the fields of Context."""

    environment: Environment
    profile: Profile
    mode: Mode
    keys: Keys
    resolver: Resolver
    sinks: tuple[Sink, ...]
    clock: Callable[[], float]
