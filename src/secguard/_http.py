"""Header bytes: the three ways to set a line, and the grammars every policy shares.

A header is a pair of byte strings, as ASGI carries it. Policies *declare* lines at start, and `compile_lines` turns
what they declared into one function from the app's lines to the response's. That function answers the common case,
where the app set nothing we own, with one scan and one concatenation, and goes line by line only otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import AddressValueError, IPv6Address
from typing import Final, TypeAlias

from secguard._memory import Memo

Line: TypeAlias = tuple[bytes, bytes]
Lines: TypeAlias = list[Line]


class How(Enum):
    """What happens when the app has already sent a header that a policy declares."""

    OVERRIDE = "override"  # ours replaces every line of the app's
    APPEND = "append"  # ours joins the app's as one more list element
    KEEP = "keep"  # the app's stands, and ours is not sent


@dataclass(frozen=True, slots=True)
class Declared:
    """One header line of a policy. `value=None` only polices what the app sent: it removes, or keeps a single line."""

    name: bytes
    value: bytes | None
    how: How
    # Settles by the app's own value instead of `how`: True keeps the app's line, False replaces or removes it.
    keeps: Callable[[bytes], bool] | None = None
    # Whether several lines of the app's say no less than one that lists them (RFC 9110 section 5.3).
    listed: bool = False

    def apply(self, lines: Lines) -> None:
        """Set this line among `lines`, in place. Afterwards the name stands there at most once."""
        first = next((value for name, value in lines if name.lower() == self.name), None)
        if first is None:
            if self.value is not None:
                lines.append((self.name, self.value))
        elif self.how is How.APPEND:
            append(lines, self.name, self.value or b"")
        elif self.keeps(first) if self.keeps else self.how is How.KEEP:
            self._make_single(lines)
        else:
            remove(lines, self.name)
            if self.value is not None:
                lines.append((self.name, self.value))

    def _make_single(self, lines: Lines) -> None:
        """Leave one line: all that the app said where it is a list, else what was said nearest to the endpoint."""
        held = [line for line in lines if line[0].lower() == self.name]
        if len(held) > 1:
            at = lines.index(held[0])
            remove(lines, self.name)
            values = list(dict.fromkeys(value for _, value in held))
            lines.insert(at, (held[0][0], b", ".join(values) if self.listed else values[0]))


def override(name: bytes, value: bytes | None, *, unless: Callable[[bytes], bool] | None = None) -> Declared:
    """Declare a line that replaces the app's, `unless` the app's value satisfies a test."""
    return Declared(name, value, How.OVERRIDE, unless)


def keep(
    name: bytes, value: bytes | None, *, only: Callable[[bytes], bool] | None = None, listed: bool = False
) -> Declared:
    """Declare a line that yields to the app's; with `only`, it yields to no value that fails the test."""
    return Declared(name, value, How.KEEP, only, listed)


def join(name: bytes, value: bytes) -> Declared:
    """Declare elements of a list-valued header (RFC 9110 section 5.6.1) that join the app's."""
    return Declared(name, value, How.APPEND)


# Names that apps send all the time. One set lookup spares them the lower-casing that strangers need.
_EVERYDAY: Final = frozenset(
    b"accept-ranges age allow cache-control content-disposition content-encoding content-language content-length "
    b"content-range content-security-policy content-type date etag expires last-modified link location retry-after "
    b"set-cookie transfer-encoding vary www-authenticate".split()
)

Merge: TypeAlias = Callable[[Iterable[Line]], Lines]


def compile_lines(declared: Sequence[Declared]) -> Merge:
    """Turn declared lines, innermost policy first, into a function from the app's lines to a fresh list with ours."""
    if not declared:
        return list
    names = [line.name for line in declared]
    owned = frozenset(names)
    unowned = _EVERYDAY - owned
    repeated = frozenset(name for name in owned if names.count(name) > 1)
    # Most names are declared to be removed, and hardly any of those is met: they wait in a mapping.
    removed = {line.name: line for line in declared if line.value is None and line.name not in repeated}
    others = [line for line in declared if line.name not in removed]
    ready: Lines = []
    for line in others:
        line.apply(ready)

    def merge(lines: Iterable[Line]) -> Lines:
        if type(lines) is not list:
            lines = list(lines)
        for name, _ in lines:
            if name not in unowned and name.lower() in owned:
                break
        else:
            return lines + ready  # a fresh list, at half the cost of [*lines, *ready]
        met = {name.lower() for name, _ in lines}
        merged = list(lines)
        for name in met & removed.keys():
            removed[name].apply(merged)
        for line in others:
            if line.name in met or line.name in repeated:
                line.apply(merged)
            else:
                merged.append((line.name, line.value or b""))  # it has one: those that have none are in `removed`
        return merged

    return merge


def finder(*names: bytes) -> Callable[[Lines], bool]:
    """Return what tells whether a line has one of these names (lower case), in whatever letter case."""
    owned = frozenset(names)
    unowned = _EVERYDAY - owned

    def find(lines: Lines) -> bool:
        for name, _ in lines:  # noqa: SIM110 - a generator costs more than all else here
            if name not in unowned and name.lower() in owned:
                return True
        return False

    return find


def append(lines: Lines, name: bytes, value: bytes) -> None:
    """Join the elements of `value` that are not there yet to the first line called `name`; no element twice.

    Elements are compared without case, which holds for the field names, methods and tokens that such lists carry.
    """
    present = [element for own, held in lines if own.lower() == name for element in elements(held)]
    merged: dict[bytes, bytes] = {}
    for element in present + elements(value):
        merged.setdefault(element.lower(), element)
    if name == b"vary" and b"*" in merged:
        merged = {b"*": b"*"}  # RFC 9110 section 12.5.5: "*" says all that could be said
    at = next((at for at, (own, _) in enumerate(lines) if own.lower() == name), len(lines))
    remove(lines, name)
    lines.insert(at, (name, b", ".join(merged.values())))


NO_STORE: Final[Line] = (b"cache-control", b"no-store")
_has_cache_control: Final = finder(b"cache-control")
_SHARED: Final = frozenset({b"public", b"s-maxage"})  # RFC 9111 sections 5.2.2.9 and 5.2.2.10


def keep_private(lines: Lines) -> None:
    """Let no shared cache keep a response that is for one visitor: `no-store`, or `private` in what the app says."""
    if not _has_cache_control(lines):
        lines.append(NO_STORE)
        return
    said = [element for name, value in lines if name.lower() == b"cache-control" for element in elements(value)]
    kept = [element for element in said if element.partition(b"=")[0].lower() not in _SHARED]
    words = {element.lower() for element in kept}
    # RFC 9111 section 5.2.2.3: a cache that understands the status ignores no-store beside must-understand.
    if b"private" not in words and (b"no-store" not in words or b"must-understand" in words):
        kept.append(b"private")
    if kept != said:
        remove(lines, b"cache-control")
        lines.append((b"cache-control", b", ".join(kept)))


def remove(lines: Lines, name: bytes) -> None:
    """Take every line called `name` (lower case) out of `lines`, whatever its letter case there."""
    lines[:] = [line for line in lines if line[0].lower() != name]


def cookie_values(lines: Iterable[bytes], name: bytes) -> list[bytes]:
    """Return the value of each cookie of exactly this name, in order (RFC 6265 section 4.2.1).

    Nothing but SP and HTAB is trimmed, and no case is folded: readers that take other blanks off as well let a sibling
    site shadow a prefixed name.
    """
    pairs = [pair.partition(b"=") for line in lines for pair in line.split(b";")]
    return [value.strip(b" \t") for own, equals, value in pairs if equals and own.strip(b" \t") == name]


def elements(value: bytes) -> list[bytes]:
    """Return the elements of a list (RFC 9110 section 5.6.1), without the empty ones."""
    return [element for part in value.split(b",") if (element := part.strip(b" \t"))]


# RFC 9110 section 5.1 (token) and section 5.5 (field-value): visible text, obs-text, inner blanks. No CR, LF or NUL.
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")


def is_field_name(name: bytes) -> bool:
    """Whether `name` is a token that may stand as a field name (RFC 9110 section 5.1)."""
    return _NAME.fullmatch(name) is not None


def with_head(methods: Iterable[str]) -> frozenset[str]:
    """Return the methods, and HEAD where GET is one: frameworks answer it by what is there for GET."""
    named = frozenset(methods)
    return named | {"HEAD"} if "GET" in named else named


def is_field_value(value: bytes) -> bool:
    """Whether `value` may stand as a field value (RFC 9110 section 5.5): not empty, no CR, LF, NUL or outer blanks."""
    return _VALUE.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Host:
    """A Host header taken apart: the name in lower case without a trailing dot, and the port if one was written."""

    name: str
    port: int | None

    def __str__(self) -> str:
        return self.name if self.port is None else f"{self.name}:{self.port}"


# RFC 9110 section 7.2: uri-host [ ":" port ]. Narrower than RFC 3986's reg-name on purpose: percent-encodings and
# sub-delims name no host that exists, and readers disagree about them. `_` is there for names such as Compose gives.
_HOST: Final = re.compile(
    rb"(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?"
)
DEFAULT_PORTS: Final = frozenset({80, 443})  # which clients leave out: RFC 9110 section 4.2.3
_LONGEST_NAME: Final = 253  # RFC 1035 section 2.3.4, in presentation form
LONGEST_HOST: Final = _LONGEST_NAME + len(".:65535")


def names_above(name: str) -> Iterator[str]:
    """Yield the names that a name is below: to look these up costs the same however long the list is."""
    while name := name.partition(".")[2]:
        yield name


def parse_host(value: bytes) -> Host | None:
    """Read a Host value, or None where it does not match `host[:port]`. Remembers up to 256 values."""
    return HOSTS[value]


def _parse_host(value: bytes) -> Host | None:
    match = _HOST.fullmatch(value) if len(value) <= LONGEST_HOST else None
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    name = match["name"].decode("ascii").lower()
    if match["v6"]:
        try:
            name = f"[{IPv6Address(match['v6'].decode('ascii'))}]"
        except AddressValueError:
            return None
    elif ".." in name or len(name.removesuffix(".")) > _LONGEST_NAME:
        return None
    if port is not None and not 0 < port < 65536:
        return None
    return Host(name.removesuffix("."), port)


HOSTS: Final = Memo(_parse_host, most=256, longest=LONGEST_HOST)
