"""The test of Content-Security-Policy: `src/analyzer/tests/csp.js` and `src/analyzer/cspParser.js`."""

from typing import Final, TypeAlias

from tests.judges.observatory.site import Site

Directives: TypeAlias = dict[str, set[str]]

_BROAD: Final = frozenset("ftp: http: https: * http://* http://*.* https://* https://*.*".split())
_UNSAFE: Final = _BROAD | {"'unsafe-inline'", "data:"}
_PLAIN: Final = ("http:", "ftp:")
_NONCE_OR_HASH: Final = ("'nonce-", "'sha256-", "'sha384-", "'sha512-")
_PASSIVE: Final = frozenset({"img-src", "media-src"})
_SHORTEST: Final = len("img-src") - 1


def directives_of(policy: str) -> tuple[Directives, bool] | None:
    """Return the directives, and whether one that may be was repeated; None for a policy that cannot be read."""
    directives: Directives = {}
    repeated = False
    if len(policy.strip()) < _SHORTEST:
        return None
    for part in policy.lower().split(";"):
        name, *sources = part.split() or [""]
        if not name:
            continue
        if name in directives:
            # Browsers take the first. The Observatory wants it to be noticed.
            if name not in ("report-uri", "report-to"):
                return None
            repeated = True
        directives[name] = set(sources) or {"'none'"}
    return directives, repeated


def csp(site: Site) -> str:
    policy = site.header("content-security-policy")
    read = ({}, False) if policy is None else directives_of(policy)
    if read is None:
        return "csp-header-invalid"
    directives, repeated = read
    if not directives:
        reports = site.header("content-security-policy-report-only")
        return f"csp-not-implemented{'-but-reporting-enabled' if reports else ''}"
    result, passed = _judged(directives)
    return "csp-implemented-but-duplicate-directives" if passed and repeated else result


def frames_are_named(site: Site) -> bool:
    """Whether the policy can be read and has frame-ancestors, whatever they are."""
    read = directives_of(site.header("content-security-policy") or "")
    return read is not None and "frame-ancestors" in read[0]


def _judged(directives: Directives) -> tuple[str, bool]:
    """Return the first thing that is wrong with a policy, and whether that still passes."""
    fallback = directives.get("default-src", {"*"})
    scripts, styles, objects = (directives.get(name, fallback) for name in ("script-src", "style-src", "object-src"))
    for sources in (scripts, styles):
        if _has_nonce_or_hash(sources):
            sources.discard("'unsafe-inline'")
    if "'strict-dynamic'" in scripts:
        if not _has_nonce_or_hash(scripts):
            return "csp-header-invalid", False
        scripts -= {source for source in scripts if source == "'self'" or source.startswith(tuple(_BROAD))}

    active: set[str] = set().union(*(directives[name] for name in directives.keys() - _PASSIVE))
    passive: set[str] = set().union(*(directives.get(name, directives.get("default-src", set())) for name in _PASSIVE))
    if scripts & _UNSAFE or objects & _BROAD:
        return "csp-implemented-with-unsafe-inline", False
    if any(source.startswith(_PLAIN) for source in active):
        return "csp-implemented-with-insecure-scheme", False
    if "'unsafe-eval'" in scripts | styles:
        return "csp-implemented-with-unsafe-eval", False
    if any(source.startswith(_PLAIN) for source in passive):
        return "csp-implemented-with-insecure-scheme-in-passive-content-only", True
    if styles & _UNSAFE:
        return "csp-implemented-with-unsafe-inline-in-style-src-only", True
    if directives.get("default-src") == {"'none'"}:
        return "csp-implemented-with-no-unsafe-default-src-none", True
    return "csp-implemented-with-no-unsafe", True


def _has_nonce_or_hash(sources: set[str]) -> bool:
    return any(source.startswith(_NONCE_OR_HASH) for source in sources)
