"""`csrf.isolate`: other sites open pages, and load nothing that CORS does not allow."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.csrf import CSRFMiddleware, CSRFSettings
from secguard.policy.exchange import Allowed
from tests.csrf_requests import (
    CROSS_SITE,
    EMBEDDED,
    FETCHED,
    FOREIGN,
    FRAMED,
    ISOLATED,
    LOADED,
    NONE,
    OPENED,
    SAME_ORIGIN,
    SAME_SITE,
    SIBLING,
    SIBLINGS,
    TRUSTING,
    site,
    verdict,
)
from tests.helpers import Line, answering, drive, http_scope

# A GET under `isolate`.
GOT: list[tuple[str, dict[str, Any], tuple[Line, ...], str]] = [
    ("no Sec-Fetch-Site", {}, (), "passes"),
    ("old browser from another site", {}, (FOREIGN,), "passes"),
    ("own script", {}, (SAME_ORIGIN, *LOADED), "passes"),
    ("address typed in", {}, (NONE, *OPENED), "passes"),
    ("link from another site", {}, (CROSS_SITE, *OPENED), "passes"),
    ("script on another site", {}, (CROSS_SITE, *LOADED), "isolate"),
    ("fetch by another site", {}, (CROSS_SITE, FOREIGN, *FETCHED), "isolate"),
    ("frame on another site", {}, (CROSS_SITE, *FRAMED), "isolate"),
    ("object on another site", {}, (CROSS_SITE, *EMBEDDED), "isolate"),
    ("navigation to nobody knows where", {}, (CROSS_SITE, (b"sec-fetch-mode", b"navigate")), "isolate"),
    ("document that is not navigated to", {}, (CROSS_SITE, (b"sec-fetch-dest", b"document")), "isolate"),
    ("script on a sibling", {}, (SAME_SITE, *LOADED), "isolate"),
    ("link from a sibling", {}, (SAME_SITE, *OPENED), "passes"),
    ("script on a sibling where all are trusted", SIBLINGS, (SAME_SITE, *LOADED), "passes"),
    ("script on another site where siblings are trusted", SIBLINGS, (CROSS_SITE, *LOADED), "isolate"),
    ("fetch by a trusted origin", TRUSTING, (CROSS_SITE, SIBLING, *FETCHED), "passes"),
    ("fetch by another origin than the trusted ones", TRUSTING, (CROSS_SITE, FOREIGN, *FETCHED), "isolate"),
    ("value of Sec-Fetch-Site that nobody knows", {}, (site(b"same-planet"), *LOADED), "isolate"),
    ("two Sec-Fetch-Site that disagree", {}, (CROSS_SITE, SAME_ORIGIN, *LOADED), "contradiction"),
    ("two Sec-Fetch-Dest that disagree", {}, (CROSS_SITE, *FRAMED, OPENED[1]), "contradiction"),
    ("two cookies", {}, (CROSS_SITE, *OPENED, (b"cookie", b"a=1"), (b"cookie", b"b=2")), "passes"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "lines", "expected"), [row[1:] for row in GOT], ids=[row[0] for row in GOT])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_isolated(section: dict[str, Any], lines: tuple[Line, ...], expected: str, method: str) -> None:
    assert verdict({**section, **ISOLATED}, *lines, method=method) == expected
    assert verdict(section, *lines, method=method) == "passes"


def test_options_opens_no_page() -> None:
    assert verdict(ISOLATED, CROSS_SITE, *OPENED, method="OPTIONS") == "isolate"
    assert verdict(ISOLATED, SAME_ORIGIN, *FETCHED, method="OPTIONS") == "passes"


@pytest.mark.parametrize("allowed", ["exact", "pattern", "any"])
def test_what_cors_lets_others_read_they_may_load(allowed: Allowed) -> None:
    assert verdict(ISOLATED, CROSS_SITE, FOREIGN, *FETCHED, allowed=allowed) == "passes"
    # `*` goes for a request without Origin as well: a script or an image of everybody's.
    assert verdict(ISOLATED, CROSS_SITE, *LOADED, allowed=allowed) == "passes"


def vary(section: dict[str, Any], path: str = "/") -> bytes | None:
    app = CSRFMiddleware(answering(headers=[(b"vary", b"Accept")]), CSRFSettings.model_validate(section), sinks=())
    return drive(app, http_scope(path)).header(b"vary")


def test_caches_are_told_what_isolation_depends_on() -> None:
    assert vary({}) == b"Accept"
    assert vary(ISOLATED) == b"Accept, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest"
    assert vary({**ISOLATED, **TRUSTING}) == b"Accept, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest, Origin"
    public = {**ISOLATED, "dangerously_exempt_paths": ["/static"]}
    assert vary(public, "/static/a.js") == b"Accept"
    assert vary(public) == b"Accept, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest"
