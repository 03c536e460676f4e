"""The `cors` section. Its fields are called as the parameters of Starlette's CORSMiddleware, and default alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations_with_replacement, zip_longest
from typing import Annotated, ClassVar, Final, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from secguard._http import is_field_name
from secguard._origins import check_origin_pattern
from secguard._paths import Matched, PathPattern, PathRules
from secguard.cors.regex import OriginRegex
from secguard.policy import RefusingSection, Section
from secguard.policy.section import COMMAS, Several

ALL: Final = "*"
METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY")
SAFELISTED: Final = ("Accept", "Accept-Language", "Content-Language", "Content-Type")
"""Request headers that scripts may set anyway, as long as their values are plain (Fetch section 2.2.2)."""

FORBIDDEN_METHODS: Final = frozenset({"CONNECT", "TRACE", "TRACK"})  # Fetch section 2.2.1
# Fetch section 2.2.2, "forbidden request-header" and "forbidden response-header name".
_FORBIDDEN_IN_REQUESTS: Final = frozenset(
    "accept-charset accept-encoding access-control-request-headers access-control-request-method connection "
    "content-length cookie cookie2 date dnt expect host keep-alive origin referer set-cookie te trailer "
    "transfer-encoding upgrade via".split()
)
_FORBIDDEN_IN_RESPONSES: Final = frozenset({"set-cookie", "set-cookie2"})


def _check_origin(entry: str) -> str:
    return entry if entry == ALL else check_origin_pattern(entry)


def _check_method(method: str) -> str:
    problem = ""
    if method == ALL:
        pass
    elif method.upper() in FORBIDDEN_METHODS:
        problem = "browsers let no script use it"
    elif not (method.isascii() and is_field_name(method.encode())):
        problem = "it is no method: write it like GET or PATCH"
    elif method not in METHODS and method.upper() in METHODS:
        problem = f"methods are case-sensitive: write {method.upper()}"
    if problem:
        raise PydanticCustomError("cors-method", "{method}: {problem}", {"method": repr(method), "problem": problem})
    return method


def _check_asked(name: str) -> str:
    kept = name.lower() in _FORBIDDEN_IN_REQUESTS or name.lower().startswith(("proxy-", "sec-"))
    return _check_name(name, "browsers set it themselves and never ask: take it away" if kept else "")


def _check_exposed(name: str) -> str:
    hidden = name.lower() in _FORBIDDEN_IN_RESPONSES
    return _check_name(name, "browsers show it to no script: take it away" if hidden else "")


def _check_name(name: str, problem: str) -> str:
    if not (name.isascii() and is_field_name(name.encode())):  # a `*` may stand in a name
        problem = "it is no name of a header: write it like X-Token"
    if problem:
        raise PydanticCustomError("cors-header", "{name}: {problem}", {"name": repr(name), "problem": problem})
    return name


class CORSFields(Section):
    """What `cors` and each of its rules may set.

    Raises:
        ValidationError: an origin is none (`origin`), a regular expression matches none or takes too long
            (`cors-regex`), a method or a header is one that no script may use (`cors-method`, `cors-header`).

    Example:
        >>> CORSFields(allow_origins=["https://app.example.com", "https://*.example.org"]).max_age
        600
    """

    allow_origins: Annotated[Several[Annotated[str, AfterValidator(_check_origin)]], COMMAS] = ()
    """Whose scripts may read the answers: origins, patterns such as `https://*.example.com`, or `*` for everybody's."""
    allow_origin_regex: OriginRegex | None = None
    """Further origins: those that match as a whole. Prefer patterns, for a `.` left unescaped lets strangers in."""
    allow_methods: Annotated[Several[Annotated[str, AfterValidator(_check_method)]], COMMAS] = ("GET",)
    """Methods that scripts may use; `*` for all. GET, HEAD and POST can come without a preflight that could fail."""
    allow_headers: Annotated[Several[Annotated[str, AfterValidator(_check_asked)]], COMMAS] = ()
    """Request headers that scripts may set, besides the safelisted ones and Content-Type; `*` for all."""
    allow_credentials: bool = False
    """Whether scripts may read what the app answers to cookies. They can then do what their visitor can."""
    expose_headers: Annotated[Several[Annotated[str, AfterValidator(_check_exposed)]], COMMAS] = ()
    """Response headers that scripts may read besides the seven of Fetch section 2.2.2; `*` for all."""
    max_age: int = Field(default=600, ge=0)
    """Seconds for which browsers remember the answer to a preflight. Each has a limit of its own."""
    embeddable: bool = True
    """Whether everybody may embed what everybody may read: `Cross-Origin-Resource-Policy: cross-origin`."""

    @property
    def everybody(self) -> bool:
        """Whether every origin is allowed."""
        return ALL in self.allow_origins

    @property
    def somebody(self) -> bool:
        """Whether any origin is allowed."""
        return bool(self.allow_origins) or self.allow_origin_regex is not None


class CORSRule(CORSFields):
    """What holds for some paths. What the rule sets takes the place of the section's; whom it allows it says anew.

    Raises:
        ValidationError: see `CORSFields`; and no path, or one that is no pattern (`path-pattern`).

    Example:
        >>> CORSRule(paths=["/assets"], allow_origins=["*"], allow_credentials=False).paths
        ('/assets',)
    """

    paths: Annotated[Several[PathPattern], COMMAS, Field(min_length=1)]
    """Path patterns, compared with the path as routed."""


class CORSSettings(CORSFields, RefusingSection):
    """Which pages of other origins may read what the app answers (Fetch section 3.3).

    Raises:
        ValidationError: see `CORSFields` and `CORSRule`; a `*` stands beside what it rules out (`cors-wildcard`), or
            nobody is allowed anywhere (`cors-nobody`).

    Example:
        >>> assets = CORSRule(paths=["/assets"], allow_origins=["*"], allow_credentials=False)
        >>> CORSSettings(allow_origins=["https://app.example.com"], allow_credentials=True, rules=[assets]).mode
        'enforce'
    """

    rules: Several[CORSRule] = ()
    """Exceptions by path; of several that match, the most specific has the last word."""

    gone: ClassVar[Mapping[str, str]] = {
        "allow_private_network": "browsers ask their user instead (Local Network Access), and no server has to answer"
    }

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        problems: dict[str, str] = {}
        somebody = False
        rules = PathRules(rule.paths for rule in self.rules)
        crossings = set(_crossings(pattern for rule in self.rules for pattern in rule.paths))
        for path in ("", *sorted(crossings, key=lambda path: (len(path), path))):
            fields = self.over(rules.match([path]) if path else ())
            somebody = somebody or fields.somebody
            for problem in _clashes(fields):
                problems.setdefault(problem, f" (at {path})" if path else "")
        if problems:
            told = "; ".join(problem + place for problem, place in problems.items())
            raise PydanticCustomError("cors-wildcard", "{told}", {"told": told})
        if not somebody:
            raise PydanticCustomError(
                "cors-nobody", "nobody is allowed anywhere: set allow_origins, or leave the section off"
            )
        return self

    def over(self, matched: Matched) -> CORSFields:
        """Return what holds where these rules do."""
        fields: CORSFields = self
        for at in matched:
            changes = {name: getattr(self.rules[at], name) for name in self.rules[at].model_fields_set - {"paths"}}
            if not changes.keys().isdisjoint({"allow_origins", "allow_origin_regex"}):
                changes = {"allow_origins": (), "allow_origin_regex": None, **changes}
            fields = fields.model_copy(update=changes)
        return fields


def _clashes(fields: CORSFields) -> Iterator[str]:
    """Yield what a `*` cannot stand beside."""
    if fields.everybody and (len(fields.allow_origins) > 1 or fields.allow_origin_regex is not None):
        yield "'*' allows everybody: take it away, or all the others"
    if fields.everybody and fields.allow_credentials:
        # Fetch section 4.10, step 3. Reflecting every origin instead would let each of them act as your visitor.
        yield "'*' goes with no credentials: name the origins, or set allow_credentials=false"
    if ALL in fields.expose_headers and fields.allow_credentials:
        yield "with credentials '*' exposes nothing (Fetch section 3.3.5): name the headers in expose_headers"


def _crossings(patterns: Iterable[str]) -> Iterator[str]:
    """Yield a path for each pattern, and one for each two that hold for the same path: where rules can meet."""
    split = [[part if part[0] not in "*{" else ALL for part in pattern.split("/") if part] for pattern in patterns]
    for one, two in combinations_with_replacement(split, 2):
        if all(first == second or ALL in {first, second} for first, second in zip(one, two, strict=False)):
            yield "/" + "/".join(
                first if second in {ALL, first} else second for first, second in zip_longest(one, two, fillvalue=ALL)
            )
