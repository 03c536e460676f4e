"""The test of Subresource Integrity: `src/analyzer/tests/subresource-integrity.js`."""

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin, urlsplit

from tests.judges.observatory.site import Site

# From bad to worst: the worst counts. The order is theirs, and not that of the numbers.
_WORSE: Final = (
    "sri-implemented-but-external-scripts-not-loaded-securely",
    "sri-not-implemented-but-external-scripts-loaded-securely",
    "sri-not-implemented-and-external-scripts-not-loaded-securely",
)
_HTML: Final = ("text/html", "application/xhtml+xml")


class _Scripts(HTMLParser):
    """The attributes of every script element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.found.append(dict(attrs))


def integrity(site: Site) -> str:
    kind = (site.header("content-type") or "").split(";")[0]
    if kind and kind not in _HTML:
        return "sri-not-implemented-response-not-html"
    scripts = _Scripts(site.page).found
    if not scripts:
        return "sri-not-implemented-but-no-scripts-loaded"
    faults: list[str] = []
    foreign = own_hashed = False
    for script in scripts:
        source, hashed = script.get("src"), bool(script.get("integrity"))
        if source and _is_foreign(source, site):
            foreign = True
            faults += _faults(secure=_is_secure(source, site), hashed=hashed)
        elif source:
            own_hashed |= hashed and _is_secure(source, site)
    if faults:
        return max(faults, key=_WORSE.index)
    if own_hashed:
        return "sri-implemented-and-all-scripts-loaded-securely"
    if foreign:
        return "sri-implemented-and-external-scripts-loaded-securely"
    return "sri-not-implemented-but-all-scripts-loaded-from-secure-origin"


def _is_foreign(source: str, site: Site) -> bool:
    target, own = urlsplit(urljoin(site.url, source)), urlsplit(site.url)
    return (target.scheme, target.netloc) != (own.scheme, own.netloc)


def _is_secure(source: str, site: Site) -> bool:
    """Whether a script surely comes over https. Without a scheme, it comes as the page does (their issue 464)."""
    if source.startswith("//"):
        return not site.route or site.route[-1].startswith("https:")
    return urljoin(site.url, source).startswith("https:")


def _faults(*, secure: bool, hashed: bool) -> Iterator[str]:
    if not secure:
        yield f"sri-{'implemented-but' if hashed else 'not-implemented-and'}-external-scripts-not-loaded-securely"
    elif not hashed:
        yield "sri-not-implemented-but-external-scripts-loaded-securely"
