"""The tests that read one header: files of the same names in `src/analyzer/tests/`."""

import re
from typing import Final
from urllib.parse import urlsplit

from tests.judges.observatory.csp import frames_are_named
from tests.judges.observatory.site import ORIGIN, Site

_PRIVATE: Final = ("no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin")
_LEAKY: Final = ("origin", "origin-when-cross-origin", "unsafe-url", "no-referrer-when-downgrade")

# Six months are 15,768,000 seconds. Many sites took 180 days for that, and are forgiven.
_SIX_MONTHS: Final = 15_552_000

# An item of structured fields that is a token, with parameters (RFC 8941, sections 3.1.2, 3.3 and 3.3.4).
_TOKEN: Final = r"[A-Za-z*][\w!#$%&'*+.^`|~:/-]*"
_BARE: Final = rf'(?:{_TOKEN}|"(?:[ !#-\[\]-~]|\\["\\])*"|-?\d+(?:\.\d+)?|\?[01]|:[A-Za-z0-9+/=]*:)'
_ITEM: Final = re.compile(rf"({_TOKEN})(?:; *[a-z*][a-z0-9_.*-]*(?:={_BARE})?)*", re.ASCII)

_OPENER: Final = ("same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none")
_EMBEDDER: Final = ("require-corp", "credentialless", "unsafe-none")
_RESOURCE: Final = ("same-origin", "same-site", "cross-origin")


def referrer(site: Site) -> str:
    value = site.header("referrer-policy")
    if value is None:
        return "referrer-policy-not-implemented"
    # The last one that it knows counts, as in browsers: the others are for older ones.
    known = [word for part in value.split(",") if (word := part.strip().lower()) in _PRIVATE + _LEAKY]
    if not known:
        return "referrer-policy-header-invalid"
    return f"referrer-policy-{'private' if known[-1] in _PRIVATE else 'unsafe'}"


def hsts(site: Site) -> str:
    if site.preloaded:
        return "hsts-preloaded"
    value = site.header("strict-transport-security")
    if value is None:
        return "hsts-not-implemented"
    ages = [part[8:] for part in map(str.strip, value.lower().split(";")) if part.startswith("max-age=")]
    if not ages or "," in value:
        return "hsts-header-invalid"
    # A quoted age, which RFC 6797 allows (section 6.1), is no number to them, and what is none is not less than one.
    age = re.match(r"[+-]?\d+", ages[-1].strip())
    too_short = age is not None and int(age[0]) < _SIX_MONTHS
    return f"hsts-implemented-max-age-{'less-than' if too_short else 'at-least'}-six-months"


def nosniff(site: Site) -> str:
    value = site.header("x-content-type-options")
    if not value:
        return "x-content-type-options-not-implemented"
    return f"x-content-type-options-{'nosniff' if value.strip().lower() == 'nosniff' else 'header-invalid'}"


def frames(site: Site) -> str:
    if frames_are_named(site):
        return "x-frame-options-implemented-via-csp"
    value = (site.header("x-frame-options") or "").strip().lower()
    if value in ("deny", "sameorigin"):
        return "x-frame-options-sameorigin-or-deny"
    if value.startswith("allow-from"):
        return "x-frame-options-allow-from-origin"
    return f"x-frame-options-{'header-invalid' if value else 'not-implemented'}"


def resource_policy(site: Site) -> str:
    value = site.header("cross-origin-resource-policy")
    return _named("corp", value, (value or "").strip().lower(), _RESOURCE)


def opener_policy(site: Site) -> str:
    value = site.header("cross-origin-opener-policy")
    return _named("coop", value, _token(value), _OPENER)


def embedder_policy(site: Site) -> str:
    value = site.header("cross-origin-embedder-policy")
    return _named("coep", value, _token(value), _EMBEDDER)


def _token(value: str | None) -> str:
    item = _ITEM.fullmatch((value or "").strip())
    return item[1] if item else ""


def _named(test: str, value: str | None, word: str, known: tuple[str, ...]) -> str:
    if not value:
        return f"{test}-not-implemented"
    return f"{test}-implemented-with-{word}" if word in known else f"{test}-header-invalid"


def sharing(site: Site) -> str:
    answer = {name.lower(): value for name, value in site.cors}
    allowed = answer.get("access-control-allow-origin", "").strip()
    if not allowed:
        return "cross-origin-resource-sharing-not-implemented"
    with_credentials = answer.get("access-control-allow-credentials", "").strip().lower() == "true"
    if allowed == "*":
        access = "public"
    elif allowed == ORIGIN and with_credentials:
        access = "universal"
    else:
        access = "restricted"
    return f"cross-origin-resource-sharing-implemented-with-{access}-access"


def redirection(site: Site) -> str:
    if not site.route:
        return "redirection-not-needed-no-http"
    steps = [urlsplit(url) for url in site.route]
    if len(steps) == 1:
        return "redirection-missing"
    if steps[-1].scheme != "https":
        return "redirection-not-to-https"
    if steps[1].scheme != "https":
        return "redirection-not-to-https-on-initial-redirection"
    if steps[0].hostname != steps[1].hostname:
        return "redirection-off-host-from-http"
    preloaded = site.preloaded and {step.hostname for step in steps} == {site.host}
    return "redirection-all-redirects-preloaded" if preloaded else "redirection-to-https"
