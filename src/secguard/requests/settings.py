"""The `requests` section."""

from __future__ import annotations

import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from secguard._paths import PathPattern
from secguard.policy import RefusingSection, Section
from secguard.policy.section import COMMAS, Several

MEBIBYTE: Final = 1024 * 1024

_SINGLE: Final = frozenset({b"host", b"origin", b"content-length", b"content-type"})
_METHOD: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Z]+")  # RFC 9110 section 9.1: a token, and case-sensitive
# RFC 9110 section 9.3.6 makes CONNECT a tunnel, which an app is not; section 9.3.8 has TRACE echo what scripts may not
# read (cross-site tracing).
_NEVER: Final = frozenset({"CONNECT", "TRACE"})


def _check_method(method: str) -> str:
    problem = ""
    if method.upper() in _NEVER:
        problem = "no app has a use for it, and attackers have: take it out"
    elif not _METHOD.fullmatch(method):
        problem = f"a method is one word in capitals: write {'GET' if ' ' in method.strip() else method.upper()}"
    if problem:
        raise PydanticCustomError("request-method", "{method}: {problem}", {"method": repr(method), "problem": problem})
    return method


def _single_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not must_be_single(name.lower().encode()):
            known = ", ".join(sorted(single.decode() for single in _SINGLE))
            raise PydanticCustomError(
                "header-not-single",
                "{name} may repeat anyway; write some of {known}, sec-fetch-site",
                {"name": name, "known": known},
            )
    return tuple(name.lower() for name in names)


def must_be_single(name: bytes) -> bool:
    """Whether a second line of this name (lower case) lets two readers understand a request differently."""
    return name in _SINGLE or name.startswith(b"sec-fetch-")


class RequestsFields(Section):
    """The limits, as `requests` and each of its rules may set them. `None` is no limit."""

    methods: Annotated[Several[Annotated[str, AfterValidator(_check_method)]], COMMAS, Field(min_length=1)] | None = (
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
    )
    """Methods that are allowed; 405 for others. `GET` allows `HEAD`, and websockets, whose handshake is a GET."""
    max_body_size: int | None = Field(default=10 * MEBIBYTE, ge=0)
    """Bytes of a body; 413 beyond (RFC 9110 section 15.5.14)."""
    body_timeout: float | None = Field(default=30, gt=0, allow_inf_nan=False)
    """Seconds that the app may wait for the next part of a body; 408 beyond (RFC 9110 section 15.5.9)."""
    body_min_rate: float | None = Field(default=500, gt=0, allow_inf_nan=False)
    """Bytes a second that a body must come at, after `body_timeout` seconds of waiting; 408 below."""
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Seconds that the app may take until its answer is complete; 503 beyond, and the app is cancelled."""
    max_concurrency: int | None = Field(default=None, ge=1)
    """Requests that the app serves at once, in each process; further ones queue."""
    max_queue: int = Field(default=16, ge=0)
    """Requests that may wait for their turn; 503 with Retry-After beyond."""
    queue_timeout: float | None = Field(default=1, gt=0, allow_inf_nan=False)
    """Seconds that a request may wait for its turn; 503 with Retry-After beyond."""
    max_websockets: int | None = Field(default=None, ge=1)
    """Websockets that are open at once, in each process; 503 with Retry-After beyond. They do not queue."""
    max_message_size: int | None = Field(default=10 * MEBIBYTE, ge=0)
    """Bytes of one message of a websocket; closed with 1009 beyond."""
    websocket_idle_timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Seconds without a message, either way, while the app waits for one; closed with 1001 beyond."""


class RequestsRule(RequestsFields):
    """Limits for some paths. What the rule sets takes the place of the section's.

    A rule that sets `max_concurrency` or `max_websockets` counts for itself, apart from the section.

    Raises:
        ValidationError: a pattern is none (`path-pattern`), or a queue leads nowhere (`requests-queue`).

    Example:
        >>> RequestsRule(paths=["/uploads"], max_body_size=1024**3, methods=["POST"]).methods
        ('POST',)
    """

    paths: Annotated[Several[PathPattern], COMMAS, Field(min_length=1)]
    """Path patterns. What is looser counts where the path is routed so, what is stricter where it might be."""

    @model_validator(mode="after")
    def _queue_leads_somewhere(self) -> Self:
        queue = sorted({"max_queue", "queue_timeout"} & self.model_fields_set)
        if queue and self.max_concurrency is None:
            raise PydanticCustomError(
                "requests-queue",
                "{queue} is about the queue of a max_concurrency that this rule does not set: set it beside",
                {"queue": " and ".join(queue)},
            )
        return self


class RequestsSettings(RequestsFields, RefusingSection):
    """What a request must be like to be looked at, and what it may take.

    Raises:
        ValidationError: a method is none or may never be allowed (`request-method`), a name may repeat anyway
            (`header-not-single`), or a rule makes no sense.

    Example:
        >>> uploads = RequestsRule(paths=["/uploads"], max_body_size=1024**3)
        >>> RequestsSettings(max_header_count=50, max_body_size=65536, rules=[uploads]).rules[0].paths
        ('/uploads',)
    """

    rules: Several[RequestsRule] = ()
    """Other limits for some paths; of several rules that match, the most specific has the last word."""
    max_header_count: int = Field(default=100, ge=1)
    """Header lines; 431 beyond (RFC 6585 section 5)."""
    max_header_size: int = Field(default=65536, ge=1)
    """Bytes of all header names and values together; 431 beyond."""
    allow_repeated_headers: Annotated[Several[str], COMMAS, AfterValidator(_single_names)] = ()
    """Lines, of those that must be single, that may come twice."""
    allow_length_with_transfer_encoding: bool = False
    """Let Content-Length stand beside Transfer-Encoding: request smuggling."""
    allow_malformed_host: bool = False
    """Let a Host pass that is missing or no `host[:port]`: poisoned links and caches."""
    allow_rootless_paths: bool = False
    """Let paths pass that do not begin with a slash, such as absolute-form targets."""
    allow_empty_segments: bool = False
    """Let `//` pass: some frameworks route `//admin` as `/admin`."""
    allow_dot_segments: bool = False
    """Let `/./` and `/../` pass."""
    allow_control_bytes: bool = False
    """Let control bytes and NUL pass."""
    allow_backslashes: bool = False
    """Let backslashes pass: some readers take them for slashes."""
    allow_undecodable_paths: bool = False
    """Let paths pass that are not UTF-8, of which different ones look the same once decoded."""
    refuse_encoded_slashes: bool = False
    """Refuse `%2F` in the path as sent."""
