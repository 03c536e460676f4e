"""Origins, as browsers write them into the Origin header, and as people write them into settings.

1. An origin is `scheme://host` or `scheme://host:port` (RFC 6454 section 6.2), in lower case, without the scheme's own
   port. Whatever else stands in an Origin header was not written by a browser, or is `null`: it equals nothing.
2. An entry of the settings is held to the same form, at start: one that no browser could ever send is a mistake.
3. `https://*.example.com` is a pattern, for every origin below that name. It is taken where a section says so.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from secguard._http import Host, parse_host

LONGEST_ORIGIN: Final = 300  # bytes; a name has at most 253 (RFC 1035 section 2.3.4)
WILDCARD: Final = "*."
SCHEME_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_ORIGIN: Final = re.compile(rb"([a-z][a-z0-9+.\-]*)://([^/?#@\s]+)")
ADDRESS: Final = re.compile(r"[0-9.]+|\[.*")
_SEPARATORS: Final = re.compile("[.\u3002\uff0e\uff61]")  # between labels: RFC 3490 section 3.1


@dataclass(frozen=True, slots=True)
class Origin:
    """An Origin header taken apart; `port` is None where the scheme's own is meant.

    Example:
        >>> str(parse_origin(b"https://example.com:8443"))
        'https://example.com:8443'
    """

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}" + ("" if self.port is None else f":{self.port}")

    def is_at(self, host: Host) -> bool:
        """Whether this origin is reached under that host, by name and port. The scheme is not compared."""
        own = SCHEME_PORTS.get(self.scheme)
        return self.host == host.name and (self.port or own) == (host.port or own)


def parse_origin(value: bytes) -> Origin | None:
    """Read an Origin header, or None where no browser writes one like it. Remembers the last 256 values."""
    # The length comes first, so that what is remembered stays small.
    return _parse_origin(value) if len(value) <= LONGEST_ORIGIN else None


@lru_cache(maxsize=256)
def _parse_origin(value: bytes) -> Origin | None:
    match = _ORIGIN.fullmatch(value)
    host = parse_host(match[2]) if match else None
    if match is None or host is None:
        return None
    origin = Origin(match[1].decode("ascii"), host.name, host.port)
    # One spelling each: no capitals, no trailing dot taken off, no port that goes without saying.
    if str(origin).encode("ascii") != value or origin.port == SCHEME_PORTS.get(origin.scheme, 0):
        return None
    return origin


def check_origin(entry: str) -> str:
    """Return the entry, or raise the start-up error that says what a browser would write instead."""
    return _checked(entry, "", entry)


def check_origin_pattern(entry: str) -> str:
    """Return the entry, which may be a pattern such as `https://*.example.com`, or raise the start-up error."""
    scheme, colon, rest = entry.partition("://")
    wildcard = WILDCARD if colon and rest.startswith(WILDCARD) else ""
    return _checked(entry, wildcard, f"{scheme}{colon}{rest.removeprefix(wildcard)}")


def _checked(entry: str, wildcard: str, origin: str) -> str:
    parsed = parse_origin(origin.encode("ascii", "replace"))
    problem = ""
    if parsed is None:
        problem = _clumsy(origin, wildcard)
    elif wildcard and ADDRESS.fullmatch(parsed.host):
        problem = f"an address has no subdomains: write {parsed}"
    elif wildcard and "." not in parsed.host and parsed.host != "localhost":
        problem = f"it stands for whoever owns a name under {parsed.host}: name the origins"
    if problem:
        raise PydanticCustomError("origin", "{entry}: {problem}", {"entry": repr(entry), "problem": problem})
    return entry


def _clumsy(entry: str, wildcard: str) -> str:
    """Say what is wrong with an entry that is no origin, as far as that can be recognised."""
    scheme, colon, rest = entry.partition("://")
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    name = authority.rpartition("@")[2]
    written = f"{scheme.lower()}://{wildcard}"
    problem = "it is no origin: write it like https://example.com or http://localhost:3000"
    if entry == "null":
        problem = "sandboxed frames, local files and redirects of strangers send it: nobody in particular"
    elif any(letter.isspace() for letter in entry):
        problem = "it has a blank in it: give each origin an entry of its own"
    elif entry == "*":
        problem = "it stands for everybody: name the origins"
    elif not colon and (bare := entry.lstrip("/").partition("/")[0]):
        problem = f"it has no scheme: write https://{bare}"
    elif "*" in rest:
        problem = f"only {scheme}://*.example.com stands for several origins, where patterns are taken"
    elif authority != rest:
        problem = f"an origin has no path, not even a trailing slash, and no query: write {written}{name}"
    elif name != authority:
        problem = f"an origin has no user: write {written}{name}"
    elif not rest.isascii():
        problem = f"browsers send its ASCII form (RFC 5890 section 2.3.2.1): write {written}{ascii_form(name)}"
    elif entry != entry.lower():
        problem = f"browsers send it in lower case: write {written}{name.lower()}"
    elif (host := parse_host(name.encode())) and f"{scheme}://{host}" != entry:
        problem = f"browsers write it in another way: write {written}{host}"
    elif host and host.port == SCHEME_PORTS.get(scheme):
        problem = f"browsers leave the scheme's own port out: write {written}{host.name}"
    return problem


def ascii_form(name: str) -> str:
    """Return a name with A-labels, as browsers make them: `ß` stays a letter of its own (UTS 46)."""
    labels = _SEPARATORS.split(unicodedata.normalize("NFKC", name.lower()))
    return ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)


OriginEntry: TypeAlias = Annotated[str, AfterValidator(check_origin)]
OriginPattern: TypeAlias = Annotated[str, AfterValidator(check_origin_pattern)]
