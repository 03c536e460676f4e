"""The policy that declares the headers of the section, and the middleware that holds nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, Unpack

from starlette.types import ASGIApp

from secguard._http import Declared, keep, override
from secguard._paths import Matched, PathRules
from secguard.guard import Guard
from secguard.headers.permissions import permissions_policy
from secguard.headers.removal import is_frame_option, removals
from secguard.headers.settings import HeaderFields, HeaderRule, HeadersSettings, Hsts
from secguard.policy import Context, ContextOptions, Policy

# RFC 6797 section 6.1: directives are separated by semicolons, their names have no case, a value may be quoted.
_MAX_AGE_ZERO: Final = re.compile(rb'(?:^|;)[ \t]*max-age[ \t]*=[ \t]*(?:0+|"0+")[ \t]*(?:;|\Z)', re.IGNORECASE)


class HeadersPolicy(Policy):
    """Declares the response headers of a HeadersSettings. It looks at no request unless the section has rules."""

    section: HeadersSettings

    def __init__(self, section: HeadersSettings, context: Context | None = None) -> None:
        super().__init__(context)
        self.section = section.under(self.context.profile)
        self.rules = PathRules(rule.paths for rule in self.section.rules)

    def declare(self, secure: bool, matched: Matched) -> Iterator[Declared]:
        """Yield the lines of every response, under the rules that hold for its path."""
        fields = self.section
        for at in matched:
            fields = _under_rule(fields, self.section.rules[at])
        yield from removals(fields.remove)
        yield self._hsts(fields.hsts, secure)
        for way, name, value in _lines(fields):
            yield way(name, value.encode() if value else None)
        if fields.cache_control:  # unlike the headers above it is the app's own business unless we send it
            yield _keep_list(b"cache-control", fields.cache_control.encode())
        for extra, fixed in fields.extra.items():
            yield override(extra.lower().encode(), fixed.encode())

    def _hsts(self, hsts: Hsts | None, secure: bool) -> Declared:
        # On plain http browsers ignore it (RFC 6797 section 8.1), and on a developer's machine it would pin every
        # port of the name to https.
        if hsts and secure and not self.context.development:
            return override(b"strict-transport-security", hsts.value.encode(), unless=_is_withdrawal)
        return keep(b"strict-transport-security", None)


_keep_list: Final = partial(keep, listed=True)


def _lines(fields: HeaderFields) -> Iterator[tuple[Callable[[bytes, bytes | None], Declared], bytes, str | None]]:
    """Yield each header, how it meets the app's own, and its value. One without a value is left to the app, once."""
    yield override if fields.content_type_options else keep, b"x-content-type-options", fields.content_type_options
    # ALLOW-FROM protects nobody: it is replaced, and where nothing takes its place it is a relic to remove.
    strict = fields.frame_options or "relics" in fields.remove
    yield partial(keep, only=is_frame_option if strict else None), b"x-frame-options", fields.frame_options
    yield _keep_list, b"referrer-policy", ", ".join(fields.referrer_policy or ())
    yield keep, b"cross-origin-opener-policy", fields.cross_origin_opener_policy
    yield keep, b"cross-origin-embedder-policy", fields.cross_origin_embedder_policy
    yield keep, b"cross-origin-resource-policy", fields.cross_origin_resource_policy
    yield keep, b"origin-agent-cluster", {True: "?1", False: "?0", None: None}[fields.origin_agent_cluster]
    yield _keep_list, b"permissions-policy", permissions_policy(fields.permissions_policy or {})


def _under_rule(fields: HeadersSettings, rule: HeaderRule) -> HeadersSettings:
    changes: dict[str, Any] = {name: getattr(rule, name) for name in rule.model_fields_set - {"paths"}}
    for name in {"permissions_policy", "extra"} & changes.keys():
        if changes[name] is not None:
            changes[name] = {**(getattr(fields, name) or {}), **changes[name]}
    return fields.model_copy(update=changes)


def _is_withdrawal(value: bytes) -> bool:
    return _MAX_AGE_ZERO.search(value) is not None


class HeadersMiddleware(Guard):
    """Sets the response headers of a HeadersSettings, and nothing else.

    Example:
        >>> from secguard.headers import HeadersMiddleware, HeadersSettings
        >>> app.add_middleware(HeadersMiddleware, settings=HeadersSettings(frame_options="DENY"))
    """

    def __init__(
        self, app: ASGIApp, settings: HeadersSettings | None = None, **options: Unpack[ContextOptions]
    ) -> None:
        super().__init__(app, policies=[HeadersPolicy(settings or HeadersSettings(), Context(**options))])
