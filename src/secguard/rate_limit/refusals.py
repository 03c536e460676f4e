"""What a refused request is told."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from http import HTTPStatus
from math import ceil
from typing import Final

from secguard._http import Line, Lines
from secguard.policy import Context, Exchange, Reply
from secguard.rate_limit.dialects import PROBLEM, Tell, problem, until
from secguard.rate_limit.settings import RateLimitSettings
from secguard.store.quota import Standing

_TRY_AGAIN_LATER: Final = 1013  # of the registry of RFC 6455 section 11.7
_RETRY_STORE: Final[Line] = (b"retry-after", b"1")  # the longest time between two looks whether it is back

_EXCEEDED: Final = "the limit is reached (SECGUARD_RATE_LIMIT)"
_BLOCKED: Final = "the key is blocked, by whoever runs this app"
_OUT: Final = "nobody can count: the store is out, and on_store_error is deny (SECGUARD_RATE_LIMIT__ON_STORE_ERROR)"


class Refusals:
    """Makes the answers to requests that are too many, and their Events."""

    def __init__(self, context: Context, section: RateLimitSettings, tell: Tell | None) -> None:
        self._context = context
        self._section = section
        self._tell = tell

    def exceeded(self, exchange: Exchange, standings: Sequence[Standing]) -> Reply | Awaitable[Reply]:
        """Refuse what some of these limits refuse: in the app's own words, where it has some."""
        refused = [standing for standing in standings if standing.refused]
        blocked = any(standing.blocked for standing in refused)
        lot = random.uniform(0, self._section.jitter)  # noqa: S311 - it is nobody's secret
        after = max(map(until, refused)) + ceil(lot)
        code, reason = ("rate_limit.blocked", _BLOCKED) if blocked else ("rate_limit.exceeded", _EXCEEDED)
        labels = ", ".join(standing.quota.label for standing in refused)
        reply = self._context.refuse(
            exchange, HTTPStatus.TOO_MANY_REQUESTS, code, reason, limits=labels, retry_after=after
        )
        lines: Lines = [(b"retry-after", b"%d" % after)]
        if self._tell is not None:
            self._tell(exchange.standings or standings, lines)
        if self._section.refusal is not None:
            return _customize(self._section.refusal(exchange, standings), reply, lines)
        told = f"{code}: {reason}" if self._context.development else ""
        return replace(reply, headers=(PROBLEM, *lines), body=problem(refused, told), close_code=_TRY_AGAIN_LATER)

    def uncounted(self, exchange: Exchange) -> Reply:
        """Refuse what cannot be counted."""
        status = HTTPStatus.SERVICE_UNAVAILABLE
        reply = self._context.refuse(exchange, status, "rate_limit.store", _OUT, _RETRY_STORE)
        return replace(reply, close_code=_TRY_AGAIN_LATER)


async def _customize(made: Reply | Awaitable[Reply], ours: Reply, lines: Sequence[Line]) -> Reply:
    """Return the app's own refusal, with what every refusal tells."""
    reply = made if isinstance(made, Reply) else await made
    names = {name.lower() for name, _ in reply.headers}
    added = (line for line in lines if line[0] not in names)
    event = ours.event and replace(ours.event, status=reply.status)
    return replace(reply, headers=(*reply.headers, *added), event=event, cacheable=False)
