"""What answers tell of their limits, in one of three dialects, and what a refusal says.

draft-11     RateLimit-Policy: "default";q=100;w=60        draft-ietf-httpapi-ratelimit-headers-11
RateLimit: "default";r=57;t=23
draft-7      RateLimit-Policy: 100;w=60                    draft-ietf-httpapi-ratelimit-headers-07
RateLimit: limit=100, remaining=57, reset=23
x-ratelimit  X-RateLimit-Limit: 100                        nowhere specified, widely understood
X-RateLimit-Remaining: 57
X-RateLimit-Reset: 1767225623                 seconds since the epoch
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import ceil
from typing import Final, TypeAlias

from secguard._http import Line, Lines
from secguard.rate_limit.settings import Dialect
from secguard.store.quota import Quota, Standing, Told

_POLICY, _LIMIT = b"ratelimit-policy", b"ratelimit"
_X: Final = (b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset")

_ROUNDED: Final = 1e-5  # seconds

Tell: TypeAlias = Callable[[Sequence[Told], Lines], None]
"""Adds what there is to be told."""

NAMES: Final[dict[Dialect, tuple[bytes, ...]]] = {
    "draft-11": (_POLICY, _LIMIT),
    "draft-7": (_POLICY, _LIMIT),
    "x-ratelimit": _X,
    "off": (),
}


def until(standing: Told) -> int:
    """Return the whole seconds after which there is more; a request that was refused passes then."""
    _, _, wait, refused, _ = standing
    # A wait is the time that has to be over, and has been rounded, as the clock has.
    return int(wait + _ROUNDED) + 1 if refused else ceil(wait)


def _draft_11() -> Tell:
    parts: dict[Quota, tuple[Line, bytes]] = {}  # the line of a policy that is the only one, and what its state is like

    def of(quota: Quota) -> tuple[Line, bytes]:
        name = b'"%b"' % quota.label.encode()  # RFC 9651 section 3.3.3: a String
        policy = b"%b;q=%d;w=%d" % (name, quota.amount, quota.seconds)
        made = parts[quota] = (_POLICY, policy), name.replace(b"%", b"%%") + b";r=%d;t=%d"
        return made

    def tell(standings: Sequence[Told], headers: Lines) -> None:
        if len(standings) == 1:
            quota, remaining, wait, refused, _ = standings[0]
            line, state = parts.get(quota) or of(quota)
            headers += (line, (_LIMIT, state % (remaining, until(standings[0]) if refused else ceil(wait))))
            return
        policies, states = [], []
        for told in standings:
            (_, policy), state = parts.get(told[0]) or of(told[0])
            policies.append(policy)
            states.append(state % (told[1], until(told)))
        headers += ((_POLICY, b", ".join(policies)), (_LIMIT, b", ".join(states)))

    return tell


def tightest(standings: Sequence[Told]) -> Standing:
    """Return the one that a client runs into first."""
    return min((Standing(*told) for told in standings), key=lambda it: (not it.refused, it.remaining, -it.wait))


def _draft_7(standings: Sequence[Told], headers: Lines) -> None:
    first = tightest(standings)
    policy = b", ".join(b"%d;w=%d" % (quota.amount, quota.seconds) for quota, *_ in standings)
    state = b"limit=%d, remaining=%d, reset=%d" % (first.quota.amount, first.remaining, until(first))
    headers += [(_POLICY, policy), (_LIMIT, state)]


def _x_ratelimit(clock: Callable[[], float]) -> Tell:
    def tell(standings: Sequence[Told], headers: Lines) -> None:
        first = tightest(standings)
        values = (first.quota.amount, first.remaining, int(clock()) + until(first))
        headers += [(name, b"%d" % value) for name, value in zip(_X, values, strict=True)]

    return tell


def dialect(name: Dialect, clock: Callable[[], float]) -> Tell | None:
    """Return what tells of limits in this dialect, or None where nothing is told."""
    told: dict[Dialect, Tell] = {"draft-11": _draft_11(), "draft-7": _draft_7, "x-ratelimit": _x_ratelimit(clock)}
    return told.get(name)


TYPE: Final = "application/problem+json"  # RFC 9457 section 3
PROBLEM: Final[Line] = (b"content-type", TYPE.encode())
BODY: Final = {
    "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
    "title": "Too Many Requests",
    "status": 429,
}


def problem(standings: Sequence[Standing], told: str) -> bytes:
    """Return the body of a refusal: the problem type that the draft registers, and the limits that were exceeded."""
    violated = [standing.quota.label for standing in standings if standing.refused]
    return json.dumps({**BODY, "violated-policies": violated, **({"detail": told} if told else {})}).encode()
