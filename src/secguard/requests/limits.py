"""Limits on methods, bodies, time and concurrency, behind everything else that may refuse a request.

1. What a request says of itself is judged before the app runs: its method, and its Content-Length.
2. What comes in is counted as it comes. Nothing is buffered.
3. A body may come slowly: `body_timeout` seconds of waiting are free, each part earns more, at `body_min_rate`, and no
   silence may be longer than `body_timeout`. Only waiting counts, not what the app does between two parts.
4. Who finds no slot free waits in a short line for a short time. A slot is given back whatever becomes of its request.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from http import HTTPStatus
from math import inf
from typing import Final

from secguard._http import Line
from secguard.policy import Context, Exchange, Message, Outcome, Policy, Reply, TimeLimit, Verdict
from secguard.requests.gate import Gate
from secguard.requests.rules import LimitRules, Limits
from secguard.requests.settings import RequestsSettings

# What each hook is there for.
_FIELDS_OF: Final = {
    "admit": {"methods", "max_body_size", "max_concurrency", "max_websockets"},
    "patience": {"body_timeout", "websocket_idle_timeout"},
    "on_wait": {"body_timeout"},
    "on_receive": {"max_body_size", "max_message_size"},
    "limit": {"timeout"},
    "done": {"max_concurrency", "max_websockets"},
}
_CLOSE: Final[Line] = (b"connection", b"close")
# RFC 6455 section 7.4.1; the last one is from the registry of section 11.7.
_GOING_AWAY, _TOO_BIG, _TRY_AGAIN_LATER = 1001, 1009, 1013
_LONGEST_LETTER: Final = 4  # bytes, in UTF-8 (RFC 3629 section 3)


@dataclass(slots=True)
class _Course:
    """What there is to remember of a request until it is done."""

    limits: Limits
    waited: float = 0.0  # seconds, for the body
    silent: float = 0.0  # seconds, since the last part of it
    received: int = 0  # bytes of it
    complete: bool = False
    passed: int = 0  # bytes of it that the app has got
    large: bool = False  # what it was refused for: a rehearsal tells of it once
    late: bool = False


class RequestLimitsPolicy(Policy):
    """Refuses requests that take more than a RequestsSettings allows.

    Events: `requests.method` (405), `requests.length` (400), `requests.body` (413), `requests.slow-body` (408),
    `requests.timeout` and `requests.busy` (503), and, for websockets, `requests.message` and `requests.idle`.

    Example:
        >>> policy = RequestLimitsPolicy(RequestsSettings(methods=["GET"]))
        >>> policy.admit(exchange).headers
        ((b'content-type', b'text/plain; charset=utf-8'), (b'allow', b'GET, HEAD'))
    """

    section: RequestsSettings

    def __init__(self, section: RequestsSettings, context: Context | None = None) -> None:
        super().__init__(context)
        self.section = section
        used = {name for name in RequestsSettings.model_fields if getattr(section, name) is not None}
        used |= {name for rule in section.rules for name in rule.model_fields_set if getattr(rule, name) is not None}
        self.unneeded = frozenset(hook for hook, fields in _FIELDS_OF.items() if not fields & used)
        self._has_gates = "done" not in self.unneeded
        self._rules = LimitRules(section, rehearses=self.rehearses)
        self._slot = object()  # under which an exchange remembers the gate that it came in by
        # Methods of requests that need no closer look, where they have no body.
        limits = self._everywhere = self._rules.everywhere
        self._usual = limits.methods if limits and limits.methods and not self._has_gates else frozenset()

    def admit(self, exchange: Exchange) -> Verdict | Awaitable[Verdict]:
        """Judge what the request says of itself, and let it in where there is a slot."""
        if exchange.method in self._usual and b"content-length" not in exchange.headers:
            return None
        return self._judge(exchange)

    def _judge(self, exchange: Exchange) -> Verdict | Awaitable[Verdict]:
        limits = self._everywhere or self._course(exchange).limits
        if limits.methods is not None and exchange.method not in limits.methods:
            return self._wrong_method(exchange, limits.methods)
        length = exchange.headers.get(b"content-length")
        if length is not None and (reply := self._wrong_length(exchange, length, limits.max_body_size)):
            return reply
        if self._has_gates and (gate := limits.gate(exchange.kind)):
            entered = gate.enter()
            return self._pass(exchange, gate, entered) if entered or gate.is_full else self._queue(exchange, gate)
        return None

    async def _queue(self, exchange: Exchange, gate: Gate) -> Verdict:
        return self._pass(exchange, gate, await gate.wait())

    def _pass(self, exchange: Exchange, gate: Gate, entered: bool) -> Verdict:
        if not entered:
            return self._busy(exchange, gate)
        exchange.memory[self._slot] = gate
        return None

    def patience(self, exchange: Exchange) -> TimeLimit | None:
        """Return how long the app may wait for more of a body, or for a message of a websocket."""
        course = self._course(exchange)
        limits, seconds = course.limits, inf
        if course.late:
            return None
        if exchange.kind == "websocket":
            seconds = limits.websocket_idle_timeout
        elif not course.complete:  # else the app waits for its client to leave, which may take hours
            earned = course.received / limits.body_min_rate if limits.body_min_rate else inf
            seconds = min(limits.body_timeout - course.silent, limits.body_timeout + earned - course.waited)
        return None if seconds == inf else TimeLimit(max(seconds, 0.0), self._late)

    def on_wait(self, exchange: Exchange, seconds: float, message: Message | None) -> None:
        """Add up the waiting, and what came of it."""
        course = self._course(exchange)
        course.waited += seconds
        course.silent += seconds  # an app may give up waiting and begin anew
        if message is not None:
            course.silent = 0.0
            course.received += len(message.get("body", b""))
            course.complete = not message.get("more_body")

    def on_receive(self, exchange: Exchange, message: Message) -> Verdict:
        """Count the bytes of a body, and weigh a websocket's message."""
        course = self._course(exchange)
        if course.large:
            return None
        if message["type"] == "http.request":
            course.passed += len(message.get("body", b""))
            course.large = course.passed > course.limits.max_body_size
            return self._large_body(exchange, course.limits.max_body_size) if course.large else None
        course.large = _is_heavier(message, course.limits.max_message_size)
        return self._large_message(exchange, course.limits.max_message_size) if course.large else None

    def limit(self, exchange: Exchange) -> TimeLimit | None:
        """Return how long the app may take."""
        seconds = (self._everywhere or self._course(exchange).limits).timeout
        return None if seconds == inf else TimeLimit(seconds, self._overrun)

    def done(self, exchange: Exchange, outcome: Outcome) -> None:
        """Give the slot back, where one was taken."""
        gate: Gate | None = exchange.memory.pop(self._slot, None)
        if gate is not None:
            gate.leave()

    def _course(self, exchange: Exchange) -> _Course:
        course: _Course | None = exchange.memory.get(self)
        if course is None:
            course = exchange.memory[self] = _Course(self._rules.of(exchange))
        return course

    # --- refusals ---

    def _wrong_method(self, exchange: Exchange, methods: frozenset[str]) -> Reply:
        allow = (b"allow", ", ".join(sorted(methods)).encode())  # RFC 9110 section 15.5.6: a MUST
        reason = "the method is not in requests.methods (SECGUARD_REQUESTS__METHODS)"
        return self.context.refuse(exchange, HTTPStatus.METHOD_NOT_ALLOWED, "requests.method", reason, allow)

    def _wrong_length(self, exchange: Exchange, length: bytes, most: float) -> Reply | None:
        """Return the refusal of a Content-Length that is none, or larger than allowed."""
        if exchange.kind == "websocket":
            return None
        if not length.isdigit():  # RFC 9110 section 8.6: 1*DIGIT, and so neither a sign nor a list
            status, reason = HTTPStatus.BAD_REQUEST, "Content-Length is no number (RFC 9110 section 8.6)"
            return self.context.refuse(exchange, status, "requests.length", reason, *_closing(exchange), length=length)
        # As texts: int() would take a time that grows with the square of their length.
        digits, limit = length.lstrip(b"0"), b"%d" % most if most < inf else b""
        if limit and (len(digits), digits) > (len(limit), limit):
            return self._large_body(exchange, most, length=length)
        return None

    def _large_body(self, exchange: Exchange, most: float, **detail: object) -> Reply:
        return self.context.refuse(
            exchange,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "requests.body",
            "the body is larger than requests.max_body_size (SECGUARD_REQUESTS__MAX_BODY_SIZE)",
            *_closing(exchange),
            max_body_size=most,
            **detail,
        )

    def _large_message(self, exchange: Exchange, most: float) -> Reply:
        reply = self.context.refuse(
            exchange,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "requests.message",
            "the message is larger than requests.max_message_size (SECGUARD_REQUESTS__MAX_MESSAGE_SIZE)",
            max_message_size=most,
        )
        return replace(reply, close_code=_TOO_BIG)

    def _late(self, exchange: Exchange) -> Reply:
        course = self._course(exchange)
        course.late = True
        if exchange.kind == "websocket":
            reason = "no message came or went for longer than requests.websocket_idle_timeout"
            reply = self.context.refuse(exchange, HTTPStatus.REQUEST_TIMEOUT, "requests.idle", reason)
            return replace(reply, close_code=_GOING_AWAY)
        return self.context.refuse(
            exchange,
            HTTPStatus.REQUEST_TIMEOUT,
            "requests.slow-body",
            "the body comes more slowly than requests.body_timeout and body_min_rate allow",
            *_closing(exchange),
            received=course.received,
        )

    def _overrun(self, exchange: Exchange) -> Reply:
        # Neither 408, which blames the client, nor 504, which blames a server further in (RFC 9110 section 15).
        reason = "the answer was not complete within requests.timeout (SECGUARD_REQUESTS__TIMEOUT)"
        return self.context.refuse(exchange, HTTPStatus.SERVICE_UNAVAILABLE, "requests.timeout", reason)

    def _busy(self, exchange: Exchange, gate: Gate) -> Reply:
        field = "max_concurrency" if exchange.kind == "http" else "max_websockets"
        reply = self.context.refuse(
            exchange,
            HTTPStatus.SERVICE_UNAVAILABLE,
            "requests.busy",
            f"requests.{field} are being served (SECGUARD_REQUESTS__{field.upper()})",
            (b"retry-after", b"%d" % gate.retry_after),  # RFC 9110 section 10.2.3
        )
        return replace(reply, close_code=_TRY_AGAIN_LATER)


def _closing(exchange: Exchange) -> tuple[Line, ...]:
    """Return what tells the server to read no more of the request. From HTTP/2 on, a stream just ends.

    There the field is forbidden (RFC 9113 section 8.2.2). granian writes "1" for HTTP/1.0.
    """
    return (_CLOSE,) if exchange.http_version.startswith("1") else ()


def _is_heavier(message: Message, most: float) -> bool:
    """Whether a websocket's message has more bytes. Only where it cannot be told otherwise, its text is encoded."""
    text: str | None = message.get("text")
    if text is None:
        return len(message.get("bytes") or b"") > most
    if len(text) * _LONGEST_LETTER <= most:
        return False
    return len(text) > most or len(text.encode("utf-8", "surrogatepass")) > most
