"""A small browser: what the policies of a page allow, as CSP 3 decides it.

What the other tests of csp call "allowed" is judged here, by rules taken from the specification and not from the code
under test. A judge is to be tested first: so is this one, below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

import pytest

from tests.csp_pages import Policy, read

ORIGIN = urlsplit("https://example.com/")


# --- what may happen on a page ---


@dataclass(frozen=True)
class Inline:
    """Code or style in the page itself."""

    kind: Literal["script", "style", "script attribute", "style attribute", "navigation"]
    nonce: str | None = None
    hash: str | None = None


@dataclass(frozen=True)
class Script:
    """A script file: in the markup (`parsed`), or put there by a script that runs already."""

    url: str
    nonce: str | None = None
    parsed: bool = True


@dataclass(frozen=True)
class Fetch:
    """Whatever else is loaded, framed, sent or started, by its directive."""

    directive: str
    url: str


@dataclass(frozen=True)
class Eval:
    """Text or bytes turned into code while the page runs."""

    wasm: bool = False


Deed: TypeAlias = Inline | Script | Fetch | Eval

# CSP 3 section 6.8.3. Directives that are not here fall back on nothing.
_FALLBACKS = {
    "script-src-elem": ["script-src", "default-src"],
    "script-src-attr": ["script-src", "default-src"],
    "style-src-elem": ["style-src", "default-src"],
    "style-src-attr": ["style-src", "default-src"],
    "worker-src": ["child-src", "script-src", "default-src"],
    "frame-src": ["child-src", "default-src"],
    "fenced-frame-src": ["frame-src", "child-src", "default-src"],
}
_FALLBACKS |= {
    f"{kind}-src": ["default-src"]
    for kind in ("script", "style", "img", "media", "font", "connect", "child", "manifest", "object")
}
_INLINE = {
    "script": "script-src-elem",
    "navigation": "script-src-elem",
    "script attribute": "script-src-attr",
    "style": "style-src-elem",
    "style attribute": "style-src-attr",
}


def holding(policy: Mapping[str, tuple[str, ...]], directive: str) -> str | None:
    """The directive that holds in the place of one."""
    return next((name for name in [directive, *_FALLBACKS.get(directive, [])] if name in policy), None)


def allows(policies: list[Policy], deed: Deed) -> bool:
    """Whether a page with these policies may do this: where each of them lets it."""
    return all(_allows(policy, deed) for policy in policies)


def _allows(policy: Policy, deed: Deed) -> bool:
    name = holding(policy, _directive_of(deed))
    if name is None:
        return True
    sources = policy[name]
    match deed:
        case Inline():
            return _allows_inline(sources, deed)
        case Script():
            return _allows_script(sources, deed)
        case Eval(wasm):
            return "'unsafe-eval'" in sources or (wasm and "'wasm-unsafe-eval'" in sources)
        case Fetch(directive, url) if directive == "worker-src" and name == "script-src":
            return _allows_script(sources, Script(url, parsed=False))  # section 6.7.1.1
        case Fetch(_, url):
            return any(_matches(urlsplit(url), source) for source in sources)


def _directive_of(deed: Deed) -> str:
    match deed:
        case Inline(kind):
            return _INLINE[kind]
        case Script():
            return "script-src-elem"
        case Eval():
            return "script-src"
        case Fetch(directive):
            return directive


def _is_nonce(source: str) -> bool:
    return source.startswith("'nonce-")


def _is_hash(source: str) -> bool:
    return source.startswith("'sha")


def _allows_inline(sources: tuple[str, ...], deed: Inline) -> bool:
    # Section 6.7.3.2: Does a source list allow all inline behavior for type?
    scripting = deed.kind in {"script", "script attribute", "navigation"}
    strict = any(_is_nonce(source) or _is_hash(source) for source in sources)
    if "'unsafe-inline'" in sources and not strict and not (scripting and "'strict-dynamic'" in sources):
        return True
    # Section 6.7.3.3: Does element match source list for type and source?
    element = deed.kind in {"script", "style"}
    if element and deed.nonce and f"'nonce-{deed.nonce}'" in sources:
        return True
    return (element or "'unsafe-hashes'" in sources) and deed.hash in sources


def _allows_script(sources: tuple[str, ...], deed: Script) -> bool:
    # Section 6.7.1.1: Script directives pre-request check
    if deed.nonce and f"'nonce-{deed.nonce}'" in sources:
        return True
    if "'strict-dynamic'" in sources:
        return not deed.parsed
    return any(_matches(urlsplit(deed.url), source) for source in sources)


def _matches(url: SplitResult, source: str) -> bool:
    """Section 6.7.2.8: Does url match expression in origin?"""
    if source.startswith("'"):
        return source == "'self'" and url.netloc == ORIGIN.netloc and url.scheme in {"https", "wss"}
    if source == "*":
        return url.scheme in {"http", "https", "ws", "wss"}
    if source.endswith(":") and "/" not in source:
        return _upgrades(source[:-1].lower(), url.scheme)
    scheme, _, rest = source.rpartition("://")
    authority, slash, path = rest.partition("/")
    host, _, port = authority.partition(":")
    return (
        bool(url.hostname)
        and _upgrades(scheme.lower() or ORIGIN.scheme, url.scheme)
        and _names(host.lower().removesuffix("."), url.hostname or "")
        and (port == "*" or (int(port) if port else _PORTS.get(url.scheme)) == (url.port or _PORTS.get(url.scheme)))
        and (not slash or url.path == f"/{path}" or (rest.endswith("/") and url.path.startswith(f"/{path}")))
    )


_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


def _upgrades(written: str, scheme: str) -> bool:
    upgrades = {"http": {"https"}, "ws": {"wss", "http", "https"}, "wss": {"https"}}
    return scheme == written or scheme in upgrades.get(written, set())


def _names(pattern: str, host: str) -> bool:
    return pattern in {"*", host} or (pattern.startswith("*.") and host.endswith(pattern[1:]))


# --- everything that could be tried ---

HASH = "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
URLS = (
    "https://example.com/app.js",
    "https://cdn.example.com/lib/app.js",
    "http://cdn.example.com/lib/app.js",
    "https://cdn.example.com:8443/app.js",
    "https://evil.example/app.js",
    "data:text/plain,x",
    "blob:https://example.com/1",
    "wss://example.com/socket",
)
FETCHES = (
    "img-src media-src font-src connect-src frame-src fenced-frame-src child-src worker-src manifest-src object-src "
    "base-uri form-action frame-ancestors"
).split()


def deeds(nonce: str) -> Iterator[Deed]:
    """Whatever a page, or who got into it, might try."""
    kinds: tuple[Any, ...] = ("script", "style", "script attribute", "style attribute", "navigation")
    for kind in kinds:
        yield from (Inline(kind, own, digest) for own in (nonce, "guessed", None) for digest in (HASH, None))
    for url in URLS:
        yield from (Script(url, own, parsed) for own in (nonce, None) for parsed in (True, False))
        yield from (Fetch(directive, url) for directive in FETCHES)
    yield from (Eval(), Eval(wasm=True))


# --- the browser itself is right ---

INJECTED = Inline("script")
HANDLER = Inline("script attribute")
JUDGED: dict[str, tuple[str, Deed, bool]] = {
    "no policy allows an injected script": ("", INJECTED, True),
    "'self' stops it": ("script-src 'self'", INJECTED, False),
    "default-src stops it": ("default-src 'self'", INJECTED, False),
    "'unsafe-inline' lets it run": ("script-src 'unsafe-inline'", INJECTED, True),
    "'unsafe-inline' is ignored beside a nonce": ("script-src 'unsafe-inline' 'nonce-a'", INJECTED, False),
    "'unsafe-inline' is ignored beside a hash": (f"script-src 'unsafe-inline' {HASH}", INJECTED, False),
    "it is ignored beside 'strict-dynamic'": ("script-src 'strict-dynamic' 'unsafe-inline'", HANDLER, False),
    "but styles know no 'strict-dynamic'": ("default-src 'unsafe-inline' 'strict-dynamic'", Inline("style"), True),
    "an element with the nonce runs": ("script-src 'nonce-a'", Inline("script", "a"), True),
    "a handler has no nonce": ("script-src 'nonce-a'", Inline("script attribute", "a"), False),
    "an element with the hash runs": (f"script-src {HASH}", Inline("script", hash=HASH), True),
    "a handler with it does not": (f"script-src {HASH}", Inline("script attribute", hash=HASH), False),
    "except by 'unsafe-hashes'": (f"script-src {HASH} 'unsafe-hashes'", Inline("script attribute", hash=HASH), True),
    "the narrower directive holds": ("script-src 'none'; script-src-attr 'unsafe-inline'", HANDLER, True),
    "'strict-dynamic' ignores hosts": ("script-src 'strict-dynamic' 'nonce-a' https:", Script(URLS[0]), False),
    "and trusts scripts of scripts": ("script-src 'strict-dynamic' 'nonce-a'", Script(URLS[4], parsed=False), True),
    "a host allows its files": ("script-src https://cdn.example.com", Script(URLS[1]), True),
    "and no other host's": ("script-src https://cdn.example.com", Script(URLS[4]), False),
    "a wildcard allows below": ("img-src *.example.com", Fetch("img-src", URLS[1]), True),
    "and not beside": ("img-src *.example.com", Fetch("img-src", URLS[4]), False),
    "a port counts": ("img-src cdn.example.com", Fetch("img-src", URLS[3]), False),
    "any port may be meant": ("img-src cdn.example.com:*", Fetch("img-src", URLS[3]), True),
    "a folder allows what is in it": ("img-src cdn.example.com/lib/", Fetch("img-src", URLS[1]), True),
    "a file allows itself": ("img-src cdn.example.com/lib", Fetch("img-src", URLS[1]), False),
    "https stands for http": ("img-src http://cdn.example.com", Fetch("img-src", URLS[1]), True),
    "http does not stand for https": ("img-src https://cdn.example.com", Fetch("img-src", URLS[2]), False),
    "* is for networks only": ("img-src *", Fetch("img-src", "data:text/plain,x"), False),
    "a scheme is allowed as a whole": ("img-src data:", Fetch("img-src", "data:text/plain,x"), True),
    "'self' means one's own websocket too": ("connect-src 'self'", Fetch("connect-src", URLS[7]), True),
    "a frame falls back on child-src": ("default-src 'self'; child-src 'none'", Fetch("frame-src", URLS[0]), False),
    "a worker falls back on script-src": ("script-src 'strict-dynamic' 'nonce-a'", Fetch("worker-src", URLS[0]), True),
    "form-action falls back on nothing": ("default-src 'none'", Fetch("form-action", URLS[4]), True),
    "eval needs its word": ("script-src *", Eval(), False),
    "wasm needs a smaller one": ("script-src 'wasm-unsafe-eval'", Eval(wasm=True), True),
    "each of several policies must allow": ("img-src *, img-src 'none'", Fetch("img-src", URLS[0]), False),
}


@pytest.mark.parametrize(("header", "deed", "expected"), JUDGED.values(), ids=JUDGED)
def test_the_browser_judges_as_the_specification_does(header: str, deed: Deed, expected: bool) -> None:
    assert allows(read(header or None), deed) is expected


@pytest.mark.parametrize(
    "header", ["img-src 'self'; img-src *", "img-src *;", "; img-src *", "img-src *,", "img-src  *", "img-src *\n", ""]
)
def test_the_browser_takes_nothing_that_it_would_have_to_mend(header: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        read(header)
