"""Which limits hold for a request.

1. What a rule sets takes the place of what the section says, where the path is routed so.
2. Where the path might be routed otherwise too, the rules for that can only make it stricter, each field for itself. So
   nobody gets more by making frameworks disagree about the path, and nobody gets around a limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any

from secguard._http import with_head
from secguard._paths import Matched, PathRules
from secguard.policy import Exchange
from secguard.requests.gate import Gate
from secguard.requests.settings import RequestsFields, RequestsSettings


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for one request. What is not limited is infinite, a rate of 0, or None."""

    methods: frozenset[str] | None
    max_body_size: float
    body_timeout: float
    body_min_rate: float
    timeout: float
    max_message_size: float
    websocket_idle_timeout: float
    requests: Gate | None
    websockets: Gate | None

    def gate(self, kind: str) -> Gate | None:
        """Return the gate before requests of this kind."""
        return self.requests if kind == "http" else self.websockets


def strictest(held: Sequence[Limits]) -> Limits:
    """Return what satisfies all of them."""
    methods = [limits.methods for limits in held if limits.methods is not None]
    return Limits(
        methods=frozenset.intersection(*methods) if methods else None,
        max_body_size=min(limits.max_body_size for limits in held),
        body_timeout=min(limits.body_timeout for limits in held),
        body_min_rate=max(limits.body_min_rate for limits in held),
        timeout=min(limits.timeout for limits in held),
        max_message_size=min(limits.max_message_size for limits in held),
        websocket_idle_timeout=min(limits.websocket_idle_timeout for limits in held),
        requests=_narrowest(limits.requests for limits in held),
        websockets=_narrowest(limits.websockets for limits in held),
    )


def _narrowest(gates: Iterable[Gate | None]) -> Gate | None:
    return min((gate for gate in gates if gate), key=lambda gate: gate.size, default=None)


class LimitRules:
    """The limits of a section, put together once for each combination of rules that requests meet.

    In a rehearsal nobody stands in line: whoever would, counts as being inside.
    """

    def __init__(self, section: RequestsSettings, *, rehearses: bool = False) -> None:
        self._section = section
        self._paths = PathRules(rule.paths for rule in section.rules)
        parts = (section, *section.rules)
        self._requests = [_requests_gate(part, section, rehearses=rehearses) for part in parts]
        self._websockets = [Gate(part.max_websockets) if part.max_websockets else None for part in parts]
        self._select = lru_cache(maxsize=1024)(self._compile)
        self.everywhere = None if section.rules else self._select((), ())
        """The limits of every request, where no path makes a difference."""

    def of(self, exchange: Exchange) -> Limits:
        """Return the limits of one request."""
        if self.everywhere is not None:
            return self.everywhere
        routed, match = exchange.routed, self._paths.match
        elsewhere = (match((path,)) for path in exchange.paths if path != routed)
        return self._select(match((routed,)), tuple(filter(None, elsewhere)))

    def _compile(self, matched: Matched, elsewhere: tuple[Matched, ...]) -> Limits:
        return strictest([self._limits(matched), *map(self._limits, elsewhere)])

    def _limits(self, matched: Matched) -> Limits:
        fields = _set_by(self._section, RequestsFields.model_fields)
        requests, websockets = self._requests[0], self._websockets[0]
        for at in matched:
            rule = self._section.rules[at]
            fields |= _set_by(rule, rule.model_fields_set)
            if "max_concurrency" in rule.model_fields_set:
                requests = self._requests[at + 1]
            if "max_websockets" in rule.model_fields_set:
                websockets = self._websockets[at + 1]
        return Limits(
            methods=_methods(fields["methods"]),
            max_body_size=_or_infinite(fields["max_body_size"]),
            body_timeout=_or_infinite(fields["body_timeout"]),
            body_min_rate=fields["body_min_rate"] or 0,
            timeout=_or_infinite(fields["timeout"]),
            max_message_size=_or_infinite(fields["max_message_size"]),
            websocket_idle_timeout=_or_infinite(fields["websocket_idle_timeout"]),
            requests=requests,
            websockets=websockets,
        )


def _set_by(part: RequestsFields, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(part, name) for name in names}


def _or_infinite(limit: float | None) -> float:
    return inf if limit is None else limit


def _methods(methods: Iterable[str] | None) -> frozenset[str] | None:
    return None if methods is None else with_head(methods)


def _requests_gate(part: RequestsFields, section: RequestsSettings, *, rehearses: bool) -> Gate | None:
    if part.max_concurrency is None:
        return None
    places = (part if "max_queue" in part.model_fields_set else section).max_queue
    seconds = (part if "queue_timeout" in part.model_fields_set else section).queue_timeout
    return Gate(part.max_concurrency + places) if rehearses else Gate(part.max_concurrency, places, seconds)
