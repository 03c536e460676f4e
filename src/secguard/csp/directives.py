"""The directives of a policy, typed: their names, what each may hold, and how they are written out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from secguard.csp.sources import (
    ONE_OR_SEVERAL,
    AttributeSources,
    DefaultSources,
    PlainSources,
    ScriptSources,
    StyleSources,
    without_nonce,
)
from secguard.csp.words import ALLOW_DUPLICATES, NONCE, NONE
from secguard.policy import Section
from secguard.policy.section import Several

SandboxToken: TypeAlias = Literal[
    "allow-downloads",
    "allow-forms",
    "allow-modals",
    "allow-orientation-lock",
    "allow-pointer-lock",
    "allow-popups",
    "allow-popups-to-escape-sandbox",
    "allow-presentation",
    "allow-same-origin",
    "allow-scripts",
    "allow-storage-access-by-user-activation",
    "allow-top-navigation",
    "allow-top-navigation-by-user-activation",
    "allow-top-navigation-to-custom-protocols",
]

_POLICY_NAME: Final = re.compile(r"[A-Za-z0-9\-#=_/@.%]+|\*")  # Trusted Types section 4.5.2: tt-policy-name
_QUOTED_NAMES: Final = frozenset({NONE, ALLOW_DUPLICATES})
_ENDPOINT: Final = re.compile(r"[a-z*][a-z0-9_\-.*]*")  # RFC 8941 section 3.1.2: a key of Reporting-Endpoints
_REPORT_URI: Final = re.compile(r"(?:https?://|/)[A-Za-z0-9\-._~!$&'()*+=:@/?%\[\]]+")  # RFC 3986, less `;` and `,`


def by_field(written: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what is written of directives by the names of their fields, or raise where two are the same."""
    named = {str(name).replace("-", "_"): value for name, value in written.items()}
    if len(named) < len(written):
        raise PydanticCustomError("csp-twice", "a directive stands there twice, in two spellings: keep one of them")
    return named


def _check_policy_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if f"'{name}'" in _QUOTED_NAMES or not (name in _QUOTED_NAMES or _POLICY_NAME.fullmatch(name)):
            raise PydanticCustomError(
                "csp-source",
                "{name} names no Trusted Types policy: write a name like dompurify, *, 'none' or 'allow-duplicates'",
                {"name": repr(name)},
            )
    if NONE in names and len(names) > 1:
        raise PydanticCustomError("csp-sources", "'none' stands alone: take it away, or everything else")
    return names


def _check_endpoint(name: str) -> str:
    if not _ENDPOINT.fullmatch(name):
        like = name.lower() if _ENDPOINT.fullmatch(name.lower()) else "one like csp-reports"
        raise PydanticCustomError(
            "csp-source",
            "{name} is no name of an endpoint, which are in small letters: write {like}",
            {"name": repr(name), "like": like},
        )
    return name


def _check_report_uri(uri: str) -> str:
    if not _REPORT_URI.fullmatch(uri):
        raise PydanticCustomError(
            "csp-source",
            "{uri} is no address to send reports to: write one like /csp-reports or https://reports.example.com/csp, "
            "with %3B and %2C for ; and ,",
            {"uri": repr(uri)},
        )
    return uri


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _quoted(word: object) -> object:
    return f"'{word}'" if isinstance(word, str) and word[:1] != "'" else word


_SOME: Final = Field(min_length=1)
_UNIQUE: Final = AfterValidator(_unique)

Endpoint: TypeAlias = Annotated[str, AfterValidator(_check_endpoint)]
ReportUris: TypeAlias = Annotated[
    Several[Annotated[str, AfterValidator(_check_report_uri)]], ONE_OR_SEVERAL, _SOME, _UNIQUE
]
PolicyNames: TypeAlias = Annotated[Several[str], ONE_OR_SEVERAL, _UNIQUE, AfterValidator(_check_policy_names)]
Sandbox: TypeAlias = Annotated[Several[SandboxToken], ONE_OR_SEVERAL, _UNIQUE]
# These two have one word each, which cannot be mistaken for anything else, in quotes or not.
Sinks: TypeAlias = Annotated[
    Several[Annotated[Literal["'script'"], BeforeValidator(_quoted)]], ONE_OR_SEVERAL, _SOME, _UNIQUE
]
WebRTC: TypeAlias = Annotated[Literal["'allow'", "'block'"], BeforeValidator(_quoted)]


class Directives(Section):
    """The directives of one policy (CSP 3 section 6). `None` leaves a directive out.

    A source is written as in the header, keywords with their single quotes: `"'self'"`, or the sentinels `SELF`,
    `NONE`, `NONCE` and friends. A text is one source; several stand in a list. Names may be written `script-src`.

    Raises:
        ValidationError: a name is unknown or obsolete, a source is none (`csp-source`), sources make no sense together
            (`csp-sources`), or the file of a hash cannot be read (`csp-hash`).

    Example:
        >>> str(Directives(default_src=NONE, script_src=[SELF, "https://cdn.example.com"]))
        "default-src 'none'; script-src 'self' https://cdn.example.com"
    """

    default_src: DefaultSources | None = None
    """What holds for every kind of resource that has no directive of its own."""
    script_src: ScriptSources | None = None
    """Scripts: files, inline scripts, event handlers, and what evaluates text."""
    script_src_elem: ScriptSources | None = None
    """Script elements only."""
    script_src_attr: AttributeSources | None = None
    """Event handlers in attributes, such as `onclick`, only."""
    style_src: StyleSources | None = None
    """Styles: files, style elements and style attributes."""
    style_src_elem: StyleSources | None = None
    """Style elements and files only."""
    style_src_attr: AttributeSources | None = None
    """Style attributes only."""
    img_src: PlainSources | None = None
    """Images and icons."""
    media_src: PlainSources | None = None
    """Audio, video and captions."""
    font_src: PlainSources | None = None
    """Fonts."""
    connect_src: PlainSources | None = None
    """What scripts talk to: fetch, XMLHttpRequest, EventSource, beacons, and websockets."""
    frame_src: PlainSources | None = None
    """What the page may put into frames."""
    fenced_frame_src: PlainSources | None = None
    """What the page may put into fenced frames; Chromium only."""
    child_src: PlainSources | None = None
    """Frames and workers, where these have no directive of their own."""
    worker_src: PlainSources | None = None
    """Workers, shared workers and service workers."""
    manifest_src: PlainSources | None = None
    """The manifest of an app."""
    object_src: PlainSources | None = None
    """Plugins: `object` and `embed`."""
    base_uri: PlainSources | None = None
    """What `base` may name. An injected one would redirect every relative address."""
    form_action: PlainSources | None = None
    """Where forms may be sent, redirects on the way included."""
    frame_ancestors: PlainSources | None = None
    """Who may put the page into a frame. X-Frame-Options follows it."""
    sandbox: Sandbox | None = None
    """What a sandboxed page may still do; an empty list allows nothing."""
    require_trusted_types_for: Sinks | None = None
    """Refuse plain text where the DOM would make code of it."""
    trusted_types: PolicyNames | None = None
    """Which Trusted Types policies a script may create; an empty list allows none."""
    webrtc: WebRTC | None = None
    """Whether scripts may connect by WebRTC."""
    upgrade_insecure_requests: bool | None = None
    """Load what the page calls `http:` over https; sent on https only."""
    report_uri: ReportUris | None = None
    """Where browsers without `report_to` send their reports."""
    report_to: Endpoint | None = None
    """The name of the endpoint, in Reporting-Endpoints, that gets the reports."""

    gone: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "block_all_mixed_content": "browsers block or upgrade by themselves: use upgrade_insecure_requests",
            "navigate_to": "it was taken out of CSP 3: form_action is what remains of it",
            "plugin_types": "plugins are gone: use object_src",
            "prefetch_src": "it was taken out of CSP 3: default_src decides",
            "referrer": "use the header: SECGUARD_HEADERS__REFERRER_POLICY",
            "reflected_xss": "the filter it steered is gone: script_src does its work",
            "require_sri_for": "it was taken out of browsers: use the header Integrity-Policy, in headers.extra",
        }
    )

    @model_validator(mode="before")
    @classmethod
    def _take_the_names_of_the_header(cls, written: Any) -> Any:
        if not isinstance(written, Mapping):
            return written
        return by_field(written)

    def over(self, below: Directives) -> Directives:
        """Return these directives laid over others, directive by directive; `None` takes one away."""
        return below.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})

    def rehearsed(self) -> Directives:
        """Return what of these directives browsers take from a report-only policy.

        They ignore `sandbox` (CSP 3 section 6.3.2) and `upgrade-insecure-requests` (Upgrade Insecure Requests
        section 3.1).
        """
        return self.model_copy(update={"sandbox": None, "upgrade_insecure_requests": None})

    def lines(self, *, secure: bool, nonce: str | None) -> Iterator[str]:
        """Yield each directive as the header has it on a scheme, with a word for the nonce, or None to leave it out."""
        for name, value in self:
            if value is None or value is False or (value is True and not secure):
                continue
            words = (value,) if isinstance(value, str) else () if value is True else value
            said = [nonce if word == NONCE else word for word in words] if nonce else without_nonce(words)
            yield " ".join([name.replace("_", "-"), *said])

    def __str__(self) -> str:
        return "; ".join(self.lines(secure=True, nonce=NONCE))
