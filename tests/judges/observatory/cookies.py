"""The test of cookies: `src/analyzer/tests/cookies.js`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tests.judges.observatory.site import Site

# From bad to worst: the worst counts.
_WORSE: Final = (
    "cookies-without-secure-flag-but-protected-by-hsts",
    "cookies-without-secure-flag",
    "cookies-session-without-secure-flag-but-protected-by-hsts",
    "cookies-samesite-flag-invalid",
    "cookies-anticsrf-without-samesite-flag",
    "cookies-session-without-httponly-flag",
    "cookies-session-without-secure-flag",
)
_SAME_SITE: Final = ("lax", "strict", "none")


def cookies(site: Site, *, hsts: bool) -> str:
    read = [_read(line) for line in site.cookies()]
    kept = {name: flags for name, flags in read if not _browsers_refuse(name, flags)}
    if not kept:
        return "cookies-not-found"
    faults = [fault for _, flags in read if (fault := _same_site_fault(flags))]
    faults += [fault for name, flags in kept.items() for fault in _faults(name.lower(), flags, hsts=hsts)]
    if faults:
        return max(faults, key=_WORSE.index)
    all_limited = all(_same_site(flags) for flags in kept.values())
    return f"cookies-secure-with-httponly-sessions{'-and-samesite' if all_limited else ''}"


def _read(line: str) -> tuple[str, Mapping[str, str]]:
    pair, *attributes = line.split(";")
    split: Sequence[tuple[str, str, str]] = [attribute.partition("=") for attribute in attributes]
    return pair.partition("=")[0].strip(), {name.strip().lower(): value.strip() for name, _, value in split}


def _browsers_refuse(name: str, flags: Mapping[str, str]) -> bool:
    """Whether the name's prefix demands more than the line says (RFC 6265bis, section 4.1.3).

    Browsers also want the path in writing; the Observatory's cookie jar does not.
    """
    if name.startswith("__Host-"):
        return "secure" not in flags or "domain" in flags or flags.get("path", "/") != "/"
    return name.startswith("__Secure-") and "secure" not in flags


def _same_site(flags: Mapping[str, str]) -> str:
    value = flags.get("samesite", "").lower()
    return value if value in _SAME_SITE else ""


def _same_site_fault(flags: Mapping[str, str]) -> str:
    return "cookies-samesite-flag-invalid" if "samesite" in flags and not _same_site(flags) else ""


def _faults(name: str, flags: Mapping[str, str], *, hsts: bool) -> Iterator[str]:
    session = "login" in name or "sess" in name
    protected = "-but-protected-by-hsts" if hsts else ""
    if "secure" not in flags:
        yield f"cookies-without-secure-flag{protected}"
        if session:
            yield f"cookies-session-without-secure-flag{protected}"
        if _same_site(flags) == "none":
            yield "cookies-samesite-flag-invalid"
    if "csrf" in name and not _same_site(flags):
        yield "cookies-anticsrf-without-samesite-flag"
    if session and "httponly" not in flags:
        yield "cookies-session-without-httponly-flag"
