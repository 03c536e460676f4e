"""The `headers` section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from secguard._http import is_field_name, is_field_value
from secguard._paths import PathPattern
from secguard.events import on_one_line
from secguard.headers.permissions import DENIED, IN_WRITING, PermissionsPolicy
from secguard.headers.removal import WORDS
from secguard.policy import Profile, Section
from secguard.policy.section import COMMAS, Several

YEAR: Final = 365 * 24 * 60 * 60

# Headers that frame the message or carry the app's own meaning: neither removed nor set for every response alike.
_NOT_OURS: Final = frozenset(
    "connection content-encoding content-length content-range content-type date location set-cookie te trailer "
    "transfer-encoding upgrade www-authenticate".split()
)
_OWN_FIELD: Final = {
    "strict-transport-security": "hsts",
    "x-frame-options": "frame_options",
    "x-content-type-options": "content_type_options",
    "referrer-policy": "referrer_policy",
    "permissions-policy": "permissions_policy",
    "cross-origin-opener-policy": "cross_origin_opener_policy",
    "cross-origin-embedder-policy": "cross_origin_embedder_policy",
    "cross-origin-resource-policy": "cross_origin_resource_policy",
    "origin-agent-cluster": "origin_agent_cluster",
    "cache-control": "cache_control",
}
_OWN_SECTION: Final = dict.fromkeys(
    ("content-security-policy", "content-security-policy-report-only"), "csp.directives or csp.report_only"
)


class Hsts(Section):
    """Strict-Transport-Security (RFC 6797), sent on https only.

    Example:
        >>> Hsts(max_age=63072000, include_subdomains=True).value
        'max-age=63072000; includeSubDomains'
    """

    max_age: int = Field(default=YEAR, ge=0)
    """Seconds for which browsers insist on https. `0` withdraws what they remember."""
    include_subdomains: bool = False
    """Whether every subdomain is meant too. Each of them must then answer on https."""
    preload: bool = False
    """Whether browsers may build the name in. Hard to undo: needs a year and the subdomains."""

    @model_validator(mode="after")
    def _preload_needs_all(self) -> Self:
        if self.preload and not (self.max_age >= YEAR and self.include_subdomains):
            raise PydanticCustomError(
                "hsts-preload",
                "preload needs max_age of {year} or more and include_subdomains=true (hstspreload.org)",
                {"year": YEAR},
            )
        return self

    @property
    def value(self) -> str:
        """The header's value."""
        subdomains = "; includeSubDomains" if self.include_subdomains else ""
        return f"max-age={self.max_age}{subdomains}{'; preload' if self.preload else ''}"


def _header_name(name: str) -> str:
    if not (name.isascii() and is_field_name(name.encode())) or name.lower() in _NOT_OURS:
        raise PydanticCustomError(
            "header-name", "{name} is no name of a header that every response could share", {"name": on_one_line(name)}
        )
    return name


def _header_value(value: str) -> str:
    if not (value.isascii() and is_field_value(value.encode())):
        raise PydanticCustomError(
            "header-value", "{value} is not visible ASCII on one line, without CR, LF or NUL", {"value": repr(value)}
        )
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]

Referrer = Literal[
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
]


class HeaderFields(Section):
    """The headers themselves, as `headers` and each of its rules may set them. `None` does not send one."""

    hsts: Hsts | None = Hsts()
    """Strict-Transport-Security."""
    frame_options: Annotated[Literal["DENY", "SAMEORIGIN"], BeforeValidator(_upper)] | None = "SAMEORIGIN"
    """X-Frame-Options: who may frame a page, for browsers without `frame-ancestors` (RFC 7034)."""
    content_type_options: Literal["nosniff"] | None = "nosniff"
    """X-Content-Type-Options: no guessing of types (Fetch section 3.6)."""
    referrer_policy: Annotated[Several[Referrer], COMMAS] | None = ("strict-origin-when-cross-origin",)
    """Referrer-Policy: of several, a browser obeys the last one it knows."""
    permissions_policy: PermissionsPolicy | None = Field(default_factory=dict)
    """Permissions-Policy, laid over the profile's by feature: `none`, `self`, `*` or origins; `off` leaves it alone."""
    cross_origin_opener_policy: (
        Literal["unsafe-none", "same-origin-allow-popups", "same-origin", "noopener-allow-popups"] | None
    ) = "same-origin-allow-popups"
    """Cross-Origin-Opener-Policy: which windows keep a hold on this one (HTML section 7.1.3)."""
    cross_origin_embedder_policy: Literal["unsafe-none", "require-corp", "credentialless"] | None = None
    """Cross-Origin-Embedder-Policy: what may be embedded without its consent (HTML section 7.1.4)."""
    cross_origin_resource_policy: Literal["same-site", "same-origin", "cross-origin"] | None = "same-site"
    """Cross-Origin-Resource-Policy: who may embed this response (Fetch section 3.8)."""
    origin_agent_cluster: bool | None = True
    """Origin-Agent-Cluster: a process and a heap of the origin's own (HTML section 7.1.2)."""
    cache_control: HeaderValue | None = None
    """Cache-Control, where the app sends none."""
    remove: Annotated[Several[HeaderName], COMMAS] = tuple(WORDS)
    """Headers to take out: names, or `owasp` (version leaks) and `relics` (obsolete and harmful)."""
    extra: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Further headers for every response, which override the app's."""

    @model_validator(mode="after")
    def _extra_has_no_twin(self) -> Self:
        if len({name.lower() for name in self.extra}) < len(self.extra):
            raise PydanticCustomError("header-twice", "extra names a header twice, in different letter case")
        for name in self.extra:
            if name.lower() in _OWN_SECTION:
                raise PydanticCustomError(
                    "header-twice",
                    "{name} has a section of its own: set {section}",
                    {"name": name, "section": _OWN_SECTION[name.lower()]},
                )
            field = _OWN_FIELD.get(name.lower())
            if field and getattr(self, field):
                raise PydanticCustomError(
                    "header-twice",
                    "{name} has a field of its own: set {field}, or switch that off",
                    {"name": name, "field": field},
                )
        return self


class HeaderRule(HeaderFields):
    """Headers for some paths. What the rule sets takes the place of the section's; mappings are merged by name."""

    paths: Annotated[Several[PathPattern], COMMAS, Field(min_length=1)]
    """Path patterns, compared with the path as routed."""


class HeadersSettings(HeaderFields):
    """The response headers of every page, file and error.

    Example:
        >>> popups = HeaderRule(paths=["/oauth"], cross_origin_opener_policy="unsafe-none")
        >>> HeadersSettings(frame_options="DENY", rules=[popups]).frame_options
        'DENY'
    """

    rules: Several[HeaderRule] = ()
    """Exceptions by path; of several that match, the most specific has the last word."""

    profiles: ClassVar[Mapping[Profile, Mapping[str, Any]]] = {
        "web": {"permissions_policy": DENIED},
        "strict": {
            "hsts": {"max_age": 2 * YEAR, "include_subdomains": True},
            "frame_options": "DENY",
            "permissions_policy": {**DENIED, **IN_WRITING},
            "cross_origin_opener_policy": "same-origin",
            "cross_origin_embedder_policy": "credentialless",
            "cross_origin_resource_policy": "same-origin",
        },
        "api": {
            "frame_options": "DENY",
            "referrer_policy": "no-referrer",
            "permissions_policy": {**DENIED, **IN_WRITING},
            "cross_origin_opener_policy": "same-origin",
            "cross_origin_resource_policy": "same-origin",
            "cache_control": "no-store",
        },
    }
