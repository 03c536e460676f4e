"""What a page may do itself under each profile, tried in a browser. What a policy refuses, it refuses by name."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.serving import uvicorn

if TYPE_CHECKING:
    from playwright.sync_api import Page

WORKS = "works"

# What probes.js tries, and what comes of it under `web` and `strict`: it works, or a directive refuses it.
# A script of ours may start workers and load scripts under `strict`, because 'strict-dynamic' trusts it to.
TRIED = {
    "an inline script": (WORKS, WORKS),
    "a script": (WORKS, WORKS),
    "a module that imports": (WORKS, WORKS),
    "a module imported later": (WORKS, WORKS),
    "a script that a script adds": (WORKS, WORKS),
    "a stranger's script that a script adds": ("script-src-elem", WORKS),
    "a script made of text": ("script-src", "script-src"),
    "WebAssembly": ("script-src", "script-src"),

    "a style sheet": (WORKS, WORKS),
    "an inline style": (WORKS, WORKS),
    "a style that a script sets": (WORKS, WORKS),
    "a rule that a script adds": (WORKS, WORKS),
    "a style attribute": ("style-src-attr", "style-src-attr"),

    "a font": (WORKS, WORKS),
    "a data: font": ("font-src", "font-src"),
    "an image": (WORKS, WORKS),
    "a data: image": (WORKS, WORKS),
    "a blob: image": (WORKS, "img-src"),
    "a stranger's image": ("img-src", "img-src"),
    "a sound": (WORKS, "media-src"),
    "a blob: sound": ("media-src", "media-src"),

    "a request": (WORKS, WORKS),
    "a stranger's answer": ("connect-src", "connect-src"),
    "a beacon": (WORKS, WORKS),
    "events": (WORKS, WORKS),
    "a websocket": (WORKS, WORKS),
    "a stranger's websocket": ("connect-src", "connect-src"),
    "a prefetched page": (WORKS, WORKS),
    "a form answered in a frame": (WORKS, "frame-src"),
    "a form to a stranger": ("form-action", "form-action"),

    "a frame": (WORKS, "frame-src"),
    "a frame with its page in an attribute": (WORKS, WORKS),
    "a stranger's frame": ("frame-src", "frame-src"),
    "a plugin": ("object-src", "object-src"),
    "a worker": (WORKS, WORKS),
    "a blob: worker": (WORKS, WORKS),
    "a service worker": (WORKS, WORKS),

    "the clipboard": (WORKS, WORKS),
    "a passkey": (WORKS, WORKS),
}  # fmt: skip
PROFILES = ["web", "strict"]


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    with uvicorn("tests.browser.sites:stranger") as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def sites(stranger: str) -> Iterator[dict[str, str]]:
    """Serve the site under each profile, by a name: passkeys belong to names."""
    web, strict = [uvicorn("tests.browser.sites:site", variables={"SECGUARD_PROFILE": name}) for name in PROFILES]
    with web as first, strict as second:
        ports = zip(PROFILES, (first, second), strict=True)
        yield {name: f"http://localhost:{port}/?stranger={stranger}" for name, port in ports}


@pytest.fixture
def equipped(page: "Page") -> "Page":
    """Return a page whose visitor has allowed the clipboard, and touches the key whenever asked."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tools = page.context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    key = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": {**key, "isUserVerified": True}})
    return page


@pytest.mark.parametrize("profile", PROFILES)
def test_it_works_and_the_console_stays_empty(
    equipped: "Page", sites: dict[str, str], complaints: list[str], profile: str
) -> None:
    names = [name for name, told in TRIED.items() if told[PROFILES.index(profile)] == WORKS]
    equipped.goto(sites[profile], wait_until="networkidle")
    assert {name: equipped.evaluate("attempt", name) for name in names} == dict.fromkeys(names, WORKS)
    assert complaints == []


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_refused_is_refused_by_name(page: "Page", sites: dict[str, str], profile: str) -> None:
    expected = {name: told[PROFILES.index(profile)] for name, told in TRIED.items()}
    refused = {name: directive for name, directive in expected.items() if directive != WORKS}
    told = {}
    for name in refused:
        page.goto(sites[profile])  # afresh, for one attempt may be refused twice
        told[name] = page.evaluate("attempt", name)
    assert told == refused


def test_manifest_is_read(page: "Page", sites: dict[str, str], complaints: list[str]) -> None:
    for site in sites.values():
        page.goto(site, wait_until="networkidle")  # or leaving it cuts its icon short
        assert "site" in page.context.new_cdp_session(page).send("Page.getAppManifest")["data"]
    assert complaints == []


def test_every_probe_is_tried(page: "Page", sites: dict[str, str]) -> None:
    page.goto(sites["web"])
    assert page.evaluate("Object.keys(PROBES)") == list(TRIED)
