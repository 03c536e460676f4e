"""The grammar of sources (CSP 3 section 2.3.1): what one may be, and which of them make sense together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from secguard.csp.hashes import hash_file, in_small_letters, is_hash, problem_of_hash
from secguard.csp.words import (
    NONCE,
    NONE,
    REPORT_SAMPLE,
    SELF,
    STRICT_DYNAMIC,
    UNSAFE_EVAL,
    UNSAFE_HASHES,
    UNSAFE_INLINE,
    WASM_UNSAFE_EVAL,
)
from secguard.events import on_one_line
from secguard.policy.section import Several

AT_ANSWER: Final = object()
"""The context of a validation that a request brings about."""

_FILE: Final = re.compile(r"'hash:(.+)'", re.DOTALL)
# In quotes whatever follows; without them only what could be meant, for a host may begin like that.
_IN_ANY_CASE: Final = re.DOTALL | re.IGNORECASE | re.ASCII
_FIXED_NONCE: Final = re.compile(r"['\"]nonce-.*|nonce-[a-z0-9+/_=\-]+", _IN_ANY_CASE)
_HASHLIKE: Final = re.compile(r"['\"]sha\d*-.*|sha(?:256|384|512)-[a-z0-9+/_=\-]+", _IN_ANY_CASE)
_SEPARATOR: Final = re.compile(r"[\s;,]")

# host-part, port-part and path-part of CSP 3 section 2.3.1. `;` and `,` end a directive and a policy, wherever they
# stand, so a path that has them carries them percent-encoded.
_SCHEME_SOURCE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+\-]*:")  # RFC 3986 allows a dot, and no scheme has one
_HOST_SOURCE: Final = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.\-]*://)?"
    r"(?:\*|(?:\*\.)?[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.?)"
    r"(?::(?P<port>[0-9]{1,5}|\*))?"
    r"(?:/(?!/)(?:[A-Za-z0-9\-._~!$&'()*+=:@/]|%[0-9A-Fa-f]{2})*)?"
)
_IPV6: Final = re.compile(r"(?:[a-z][a-z0-9+.\-]*://)?(?:\[[0-9a-f:.]+\].*|[0-9a-f]*(?::[0-9a-f]*){2,})", _IN_ANY_CASE)
# What would be a host of that name, and what to write in its place.
_MEANT: Final = {
    **{scheme: f"{scheme}:" for scheme in "about blob data filesystem http https mediastream ws wss".split()},
    **dict.fromkeys(("all", "any", "on", "true", "yes"), "* for any host, or name the hosts that are meant"),
    **dict.fromkeys(("false", "no", "off"), "'none' to allow nothing, or None (off) for no such directive"),
}

_PLAIN: Final = frozenset({NONE, SELF})
_ATTRIBUTE: Final = frozenset({NONE, UNSAFE_HASHES, UNSAFE_INLINE, REPORT_SAMPLE})
_STYLE: Final = _PLAIN | _ATTRIBUTE | {NONCE}
_DEFAULT: Final = _STYLE | {
    UNSAFE_EVAL,
    WASM_UNSAFE_EVAL,
    "'inline-speculation-rules'",
    "'report-sha256'",
    "'report-sha384'",
    "'report-sha512'",
    "'trusted-types-eval'",
}
_SCRIPT: Final = _DEFAULT | {STRICT_DYNAMIC}
_KEYWORDS: Final = _SCRIPT


def without_nonce(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a list says where no element carries the nonce: never more than it said with one.

    Beside `'strict-dynamic'` browsers ignore hosts, schemes, `'self'` and `'unsafe-inline'` (CSP 3 section 8.2), and
    without it they would obey them. It stands in lists of scripts only, so nothing but scripts is lost by `'none'`.
    """
    if NONCE not in sources:
        return sources
    rest = tuple(source for source in sources if source != NONCE)
    if STRICT_DYNAMIC in rest and not any(map(is_hash, rest)):
        return (NONE,)
    return rest or (NONE,)


def is_place(source: str) -> bool:
    """Whether a source says where something may come from: a host, a scheme, or the page's own origin."""
    return source == SELF or source[0] != "'"


def obeyed(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Return a list without what the rest of it makes browsers ignore (CSP 3 sections 6.7.1.1 and 6.7.3.2)."""
    dynamic = STRICT_DYNAMIC in sources
    named = dynamic or NONCE in sources or any(map(is_hash, sources))
    return tuple(
        source for source in sources if not (source == UNSAFE_INLINE and named) and not (is_place(source) and dynamic)
    )


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of directive: the quoted words that mean something to it, and whether hashes do.

    Attributes load nothing, so that no place means anything to theirs, and hashes only beside `'unsafe-hashes'`
    (CSP 3 section 6.7.3.3).
    """

    keywords: frozenset[str]
    hashes: bool = True
    attributes: bool = False

    def knows(self, source: str) -> bool:
        """Whether a source means something to directives of this kind."""
        return source in self.keywords or (
            self.hashes if is_hash(source) else not (self.attributes or source[0] == "'")
        )

    def inherited(self, sources: tuple[str, ...], beside: tuple[str, ...]) -> tuple[str, ...]:
        """Return what a list says to a directive of this kind that is not there, and would have these beside it."""
        hashed = UNSAFE_HASHES in (*sources, *beside) or not self.attributes
        return tuple(source for source in obeyed(sources) if self.knows(source) and (hashed or not is_hash(source)))

    def check(self, written: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Return the sources in the form they are sent in, each once, or raise the error that says what is wrong.

        With `AT_ANSWER` for a context no file is read: half of what is written then may be a visitor's.
        """
        reads = self.hashes and info.context is not AT_ANSWER
        sources = tuple(dict.fromkeys(_normal(source, reads=reads) for source in written))
        problems = [problem for source in sources for problem in _of_one(source, self)]
        if problems:
            raise PydanticCustomError("csp-source", "{problems}", {"problems": on_one_line(". ".join(problems))})
        if problem := _of_all(sources, self):
            raise PydanticCustomError("csp-sources", "{problem}", {"problem": problem})
        return sources


def _normal(source: str, *, reads: bool) -> str:
    """Return a source with its keyword or algorithm in small letters, or the hash of the file that it names.

    The strings of a grammar have no letter case (RFC 5234 section 2.3).
    """
    if source.lower() in _KEYWORDS:
        return source.lower()
    if reads and (named := _FILE.fullmatch(source)):
        try:
            return hash_file(named[1])
        except (OSError, ValueError) as error:
            why = (isinstance(error, OSError) and error.strerror) or "it is no file of UTF-8 text"
            raise PydanticCustomError(
                "csp-hash",
                "{path} cannot be read ({why}); it is looked for from the working directory",
                {"path": repr(named[1]), "why": why},
            ) from None
    return in_small_letters(source)


def _of_one(source: str, kind: Kind) -> Iterator[str]:
    """Say what is wrong with one source, and what to write."""
    bare = source.strip("'\"").lower()
    if f"'{bare}'" in _KEYWORDS and source != f"'{bare}'":
        yield f"{source} would be a host: write '{bare}', in single quotes (a shell and .env need more: \"'{bare}'\")"
    elif source in _KEYWORDS:
        if source == STRICT_DYNAMIC and not kind.knows(source):
            yield f"{source} is for scripts alone: write it in script_src, with 'nonce' or a hash beside it"
        elif not kind.knows(source):
            yield f"{source} means nothing to this directive: browsers would ignore it"
    elif _FIXED_NONCE.fullmatch(source):
        yield f"{source} is the same for every response, so that an attacker knows it: write 'nonce'"
    elif _HASHLIKE.fullmatch(source):
        if problem := problem_of_hash(source):
            yield problem
        elif not kind.knows(source):
            yield f"{source} means nothing to this directive: hashes are for scripts and styles"
    elif _FILE.fullmatch(source):
        yield f"{source!r} is for scripts and styles, and for settings, which are read at start: hash_file() makes it"
    elif _SEPARATOR.search(source):
        yield f"{source!r} has a blank, ; or , in it: give each source an item of its own, and write %20, %3B or %2C"
    elif source[:1] in {"'", '"'}:
        yield f"{source} is no keyword: only keywords, nonces and hashes stand in quotes"
    elif bare in _MEANT:
        yield f"{source} would be a host of that name: write {_MEANT[bare]}"
    elif _IPV6.fullmatch(source):
        yield f"{source!r} is an IPv6 address, for which CSP has no word: write a name that leads there"
    elif not (_SCHEME_SOURCE.fullmatch(source) or _is_host(source)):
        yield (
            f"{source!r} is no source: write one like https://cdn.example.com, *.example.com:8443 or data:, "
            "without query, fragment or user, and a name that is not ASCII as xn--…"
        )
    elif not kind.knows(source):
        yield f"{source} means nothing to this directive: attributes load nothing. Write 'unsafe-hashes', and hashes"


def _is_host(source: str) -> bool:
    match = _HOST_SOURCE.fullmatch(source)
    return match is not None and int((match["port"] or "0").replace("*", "0")) < 65536


def _of_all(sources: tuple[str, ...], kind: Kind) -> str:
    """Say why sources that are right by themselves are wrong together."""
    if not sources:
        return "it is empty: write 'none' to allow nothing, or None (off) to leave the directive out"
    if NONE in sources and len(sources) > 1:
        return "'none' stands alone: take it away, or everything else"
    hashed = any(map(is_hash, sources))
    if STRICT_DYNAMIC in sources and not (NONCE in sources or hashed):
        return "'strict-dynamic' alone lets no script run: put 'nonce' or a hash beside it"
    if {UNSAFE_INLINE, NONCE} <= set(sources) and not (STRICT_DYNAMIC in sources or hashed):
        return (
            "'unsafe-inline' would take effect on every page that does not read its nonce, and on no other: "
            "take one of the two away"
        )
    if hashed and kind.attributes and UNSAFE_HASHES not in sources:
        return "a hash holds for attributes beside 'unsafe-hashes' only: put it there"
    return ""


_PLAIN_KIND: Final = Kind(_PLAIN, hashes=False)
# CSP 3 section 8.2 allows 'strict-dynamic' here too. But a list that has it says 'none' on a page that does not read
# its nonce, and this list holds for images and frames as well.
_DEFAULT_KIND: Final = Kind(_DEFAULT)
_SCRIPT_KIND: Final = Kind(_SCRIPT)
_STYLE_KIND: Final = Kind(_STYLE)
_ATTRIBUTE_KIND: Final = Kind(_ATTRIBUTE, attributes=True)
_KINDS: Final = {"default": _DEFAULT_KIND, "script": _SCRIPT_KIND, "style": _STYLE_KIND}


def kind_of(name: str) -> Kind:
    """Return the kind of a fetch directive, by its field's name."""
    if name.endswith("_attr"):
        return _ATTRIBUTE_KIND
    return _KINDS.get(name.partition("_")[0], _PLAIN_KIND)


def _listed(value: object) -> object:
    # A text is one item and is never taken apart: half of it may be a visitor's.
    return (value,) if isinstance(value, str) else value


ONE_OR_SEVERAL: Final = BeforeValidator(_listed)

PlainSources: TypeAlias = Annotated[Several[str], ONE_OR_SEVERAL, AfterValidator(_PLAIN_KIND.check)]
DefaultSources: TypeAlias = Annotated[Several[str], ONE_OR_SEVERAL, AfterValidator(_DEFAULT_KIND.check)]
ScriptSources: TypeAlias = Annotated[Several[str], ONE_OR_SEVERAL, AfterValidator(_SCRIPT_KIND.check)]
StyleSources: TypeAlias = Annotated[Several[str], ONE_OR_SEVERAL, AfterValidator(_STYLE_KIND.check)]
AttributeSources: TypeAlias = Annotated[Several[str], ONE_OR_SEVERAL, AfterValidator(_ATTRIBUTE_KIND.check)]
