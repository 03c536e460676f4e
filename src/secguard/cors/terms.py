"""What the policy of one path says: whom it allows, what they are told, and what a preflight may ask for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from secguard._http import Declared, Line, elements, is_field_name, join, keep, names_above, override
from secguard._origins import LONGEST_ORIGIN, WILDCARD, Origin, parse_origin
from secguard.cors.settings import ALL, FORBIDDEN_METHODS, METHODS, SAFELISTED, CORSFields
from secguard.policy.exchange import Allowed

ALLOW_ORIGIN: Final = b"access-control-allow-origin"
EXPOSE_HEADERS: Final = b"access-control-expose-headers"
ALLOW_CREDENTIALS: Final = b"access-control-allow-credentials"
_METHODS: Final = b"access-control-allow-methods"
_HEADERS: Final = b"access-control-allow-headers"
_MAX_AGE: Final = b"access-control-max-age"
_NEVER_THE_APPS: Final = (ALLOW_CREDENTIALS, _METHODS, _HEADERS, _MAX_AGE, b"access-control-allow-private-network")

_LONGEST_LIST: Final = 4096  # bytes of Access-Control-Request-Headers: they may be sent back


@dataclass(frozen=True, slots=True)
class Grant:
    """What an allowed origin is told: on every response, and on the answer to a preflight besides."""

    allowed: Allowed
    lines: tuple[Line, ...]
    preflight: tuple[Line, ...]


class Terms:
    """The fields that hold for one path, ready to be looked up.

    Example:
        >>> terms = Terms(CORSFields(allow_origins=["https://app.example.com"]))
        >>> terms.grant(b"https://app.example.com").lines
        ((b'access-control-allow-origin', b'https://app.example.com'),)
        >>> terms.grant(b"https://evil.example") is None
        True
    """

    def __init__(self, fields: CORSFields, meets: Callable[[bytes], bool] | None = None) -> None:
        """Prepare the fields. `meets` is called with what the app sends as Access-Control-Allow-Origin, if it does."""
        self._fields = fields
        self._expose = ((EXPOSE_HEADERS, _listed(fields.expose_headers)),) if fields.expose_headers else ()
        self._methods = None if ALL in fields.allow_methods else frozenset(map(str.encode, fields.allow_methods))
        names = {name.lower(): name for name in (*SAFELISTED, *fields.allow_headers)}
        self._names = None if ALL in names else frozenset(map(str.encode, names))
        self._preflight = self._prepare(sorted(names.values()))
        self.declared = self._declare(meets)

        self.everybody = self._tell(ALL.encode(), "any") if fields.everybody else None
        patterns = [entry for entry in fields.allow_origins if WILDCARD in entry]
        exact = [entry.encode() for entry in fields.allow_origins if entry not in patterns]
        self.exact = {origin: self._tell(origin, "exact") for origin in exact}
        self._above = frozenset(parse_origin(entry.replace(WILDCARD, "", 1).encode()) for entry in patterns)
        self._matches = re.compile(fields.allow_origin_regex).fullmatch if fields.allow_origin_regex else None
        self._look = lru_cache(maxsize=1024)(self._judge) if patterns or self._matches else None

    def grant(self, origin: bytes) -> Grant | None:
        """Return what this Origin is told, or None where it is not allowed."""
        if self.everybody is not None:
            return self.everybody
        grant = self.exact.get(origin)
        # The length comes first: it bounds what is remembered, and what the regular expression may cost.
        if grant is None and self._look is not None and len(origin) <= LONGEST_ORIGIN:
            return self._look(origin)
        return grant

    def takes(self, method: bytes) -> bool:
        """Whether scripts may use this method."""
        if self._methods is not None:
            return method in self._methods
        return is_field_name(method) and method.decode().upper() not in FORBIDDEN_METHODS

    def strange(self, names: Sequence[bytes]) -> list[bytes]:
        """Return the names of headers that scripts may not set."""
        return [] if self._names is None else [name for name in names if name.lower() not in self._names]

    def answer(self, grant: Grant, method: bytes, names: Sequence[bytes]) -> tuple[Line, ...]:
        """Return the lines for a preflight that asks for nothing strange (Fetch section 4.8, step 7)."""
        lines = grant.preflight
        if self._methods is None:
            # A literal `*` would mean nothing to requests with credentials.
            others = () if method.decode() in METHODS else (method.decode(),)
            lines = (*lines, (_METHODS, _listed((*METHODS, *others))))
        if self._names is None and names:
            # Nor would `*` cover Authorization: what was asked for is named.
            lines = (*lines, (_HEADERS, b", ".join(names)))
        return lines

    def _judge(self, origin: bytes) -> Grant | None:
        parsed = parse_origin(origin)
        if parsed is None:
            return None
        matches = self._is_below(parsed) or (self._matches is not None and self._matches(str(parsed)) is not None)
        return self._tell(origin, "pattern") if matches else None

    def _is_below(self, origin: Origin) -> bool:
        return any(Origin(origin.scheme, above, origin.port) in self._above for above in names_above(origin.host))

    def _tell(self, origin: bytes, allowed: Allowed) -> Grant:
        lines: tuple[Line, ...] = ((ALLOW_ORIGIN, origin),)
        if self._fields.allow_credentials:
            lines = (*lines, (ALLOW_CREDENTIALS, b"true"))
        everywhere = () if allowed == "any" else (*lines, *self._expose)  # what everybody is told is declared
        return Grant(allowed, everywhere, (*lines, *self._preflight))

    def _prepare(self, names: Sequence[str]) -> tuple[Line, ...]:
        """Return the lines for every preflight. Those that name what was asked for are still to come."""
        varies = (
            None if self._fields.everybody else "Origin",
            "Access-Control-Request-Method" if self._methods is None else None,
            "Access-Control-Request-Headers" if self._names is None else None,
        )
        lines = (
            None if self._methods is None else (_METHODS, _listed(self._fields.allow_methods)),
            None if self._names is None else (_HEADERS, _listed(names)),
            (_MAX_AGE, b"%d" % self._fields.max_age),
            (b"vary", _listed([name for name in varies if name])) if any(varies) else None,
        )
        return tuple(line for line in lines if line)

    def _declare(self, meets: Callable[[bytes], bool] | None) -> tuple[Declared, ...]:
        """Return the lines of every response. Where everybody is allowed they are the same for all.

        Fetch, "CORS protocol and HTTP caches": a `*` is always sent, and then nothing varies; else Origin is named in
        Vary on every response, so that no cache gives a page what was answered to another one, or to none.
        """
        never = tuple(override(name, None) for name in _NEVER_THE_APPS)
        if not self._fields.everybody:
            return (
                override(ALLOW_ORIGIN, None, unless=meets),
                override(EXPOSE_HEADERS, None),
                *never,
                join(b"vary", b"Origin"),
            )
        embeds = (keep(b"cross-origin-resource-policy", b"cross-origin"),) if self._fields.embeddable else ()
        exposed = self._expose[0][1] if self._expose else None
        return override(ALLOW_ORIGIN, b"*", unless=meets), override(EXPOSE_HEADERS, exposed), *never, *embeds


def asked_for(values: Sequence[bytes]) -> tuple[bytes, ...] | None:
    """Return the names in Access-Control-Request-Headers, each once, or None where it is no list of names.

    Browsers send one line, in lower case, sorted (Fetch section 4.8, step 5). Several are taken as one.

    Example:
        >>> asked_for([b"content-type,x-token"])
        (b'content-type', b'x-token')
    """
    if sum(map(len, values)) > _LONGEST_LIST:
        return None
    names = tuple(dict.fromkeys(name for value in values for name in elements(value)))
    return names if all(map(is_field_name, names)) else None


def _listed(names: Sequence[str]) -> bytes:
    return ", ".join(names).encode()
