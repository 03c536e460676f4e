"""What is injected into the quickstart dies under every profile, and does harm where there is no policy."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.serving import uvicorn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

QUICKSTART = "examples.quickstart.app:app"
VULNERABLE = "/csp/deliberately-vulnerable?said="
PROFILES = ["web", "strict", "api"]
WITHOUT = {"SECGUARD_CSP": "off"}

# What is injected, and the harm it would do: it talks to the console, or something is asked of the stranger. Where
# there is a link or a button in it, the visitor uses it. No alert(): a dialog holds up every journey away from it.
INJECTED = {
    "an inline script": ("<script>console.log(1)</script>", "console"),
    "an inline module": ("<script type=module>console.log(1)</script>", "console"),
    "a script with an empty nonce": ("<script nonce=''>console.log(1)</script>", "console"),
    "a script with a guessed nonce": ("<script nonce=AAAAAAAAAAAAAAAAAAAAAAAA>console.log(1)</script>", "console"),
    "a data: script": ("<script src='data:text/javascript,console.log(1)'></script>", "console"),

    "a stranger's script": ("<script src='STRANGER/steal.js'></script>", "response"),
    "a stranger's module": ("<script type=module src='STRANGER/steal.js'></script>", "response"),
    "a stranger's module, imported": ("<script type=module>import 'STRANGER/steal.js'</script>", "response"),

    "an event handler": ("<img src=x alt='' onerror=console.log(1)>", "console"),
    "an event handler of a drawing": ("<svg onload=console.log(1)></svg>", "console"),
    "an event handler of a button": ("<button onclick=console.log(1)>Win</button>", "console"),

    "a javascript: link": ("<a href='javascript:console.log(1)'>Win</a>", "console"),
    "a javascript: form": ("<form action='javascript:console.log(1)'><button>Win</button></form>", "console"),
    "a javascript: frame": ("<iframe src='javascript:console.log(1)'></iframe>", "console"),
    "a frame with a script in it": ("<iframe srcdoc='<script>console.log(1)</script>'></iframe>", "console"),

    "a base": ("<base href='STRANGER/'><a href='next'>Win</a>", "response"),
    "a form to a stranger": ("<form action='STRANGER/'><button>Win</button></form>", "response"),
    "a button that moves its form": ("<form action='/'><button formaction='STRANGER/'>Win</button></form>", "response"),
    "a stranger's frame": ("<iframe src='STRANGER/'></iframe>", "response"),
    "a stranger's style": ("<link rel=stylesheet href='STRANGER/'>", "response"),
    "a style that tells": ("<style>body { background: url(STRANGER/) }</style>", "response"),
    "a style attribute that tells": ("<p style='background: url(STRANGER/)'>told</p>", "response"),
    "an image that tells": ("<img src='STRANGER/' alt=''>", "response"),
}  # fmt: skip
HARM: dict[str, Callable[[Any, str], bool]] = {
    "console": lambda message, stranger: message.text == "1",
    "response": lambda answer, stranger: answer.url.startswith(stranger),
}


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    with uvicorn("tests.browser.sites:stranger") as port:
        yield f"http://localhost:{port}"


@pytest.fixture(scope="module")
def quickstarts() -> Iterator[dict[str, str]]:
    """Serve the quickstart under each profile, and without a policy."""
    with ExitStack() as stack:
        served = {name: {"SECGUARD_PROFILE": name} for name in PROFILES} | {"off": WITHOUT}
        ports = {name: stack.enter_context(uvicorn(QUICKSTART, variables=those)) for name, those in served.items()}
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}


@pytest.fixture(scope="module")
def context(browser: "Browser") -> Iterator["BrowserContext"]:
    """Return one context for all tests: a page of its own is all that each of them needs."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def page(context: "BrowserContext") -> Iterator["Page"]:
    """Return a page of the test's own: what another test injected may still be at work in another test's."""
    page = context.new_page()
    yield page
    page.close()


@pytest.fixture(scope="module")
def told_anyway(browser: "Browser", quickstarts: dict[str, str]) -> dict[str, set[str]]:
    """Return what the console says before anything is injected: `api` lets not even the page's own scripts run."""
    return {profile: console_of(browser, f"{quickstarts[profile]}/csp") for profile in PROFILES}


def console_of(browser: "Browser", address: str) -> set[str]:
    said = set()
    page = browser.new_page()
    page.on("console", lambda message: said.add(message.text))
    page.goto(address, wait_until="networkidle")
    page.close()
    return said


@pytest.fixture
def harm(page: "Page", stranger: str) -> list[str]:
    """Return a list that fills with the harm that is done."""
    done: list[str] = []

    def hear(kind: str, told: Any) -> None:
        if HARM[kind](told, stranger):
            done.append(kind)

    page.on("console", partial(hear, "console"))
    page.on("response", partial(hear, "response"))
    return done


def attack(page: "Page", address: str, markup: str) -> None:
    page.goto(address + quote(markup), wait_until="commit")
    if "Win" in markup:
        page.get_by_text("Win", exact=True).dispatch_event("click")


@pytest.mark.parametrize("name", INJECTED)
def test_it_does_harm_where_there_is_no_policy(
    page: "Page", quickstarts: dict[str, str], stranger: str, harm: list[str], name: str
) -> None:
    markup, expected = INJECTED[name]
    with page.expect_event(expected, lambda told: HARM[expected](told, stranger)):
        attack(page, quickstarts["off"] + VULNERABLE, markup.replace("STRANGER", stranger))
    assert expected in harm


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", INJECTED)
def test_it_is_refused(
    page: "Page",
    quickstarts: dict[str, str],
    stranger: str,
    told_anyway: dict[str, set[str]],
    harm: list[str],
    name: str,
    profile: str,
) -> None:
    def tells_of_it(message: "ConsoleMessage") -> bool:
        return "Content Security Policy" in message.text and message.text not in told_anyway[profile]

    markup, _ = INJECTED[name]
    with page.expect_console_message(tells_of_it):
        attack(page, quickstarts[profile] + VULNERABLE, markup.replace("STRANGER", stranger))
    page.wait_for_load_state("networkidle" if "Win" in markup else "load")
    assert harm == []


@pytest.mark.parametrize("profile", PROFILES)
def test_a_handler_that_a_script_puts_into_the_page_is_refused(
    page: "Page", quickstarts: dict[str, str], harm: list[str], profile: str
) -> None:
    page.goto(f"{quickstarts[profile]}/csp")
    with page.expect_console_message(lambda message: "event handler" in message.text):
        page.evaluate("document.querySelector('.unescaped').innerHTML = '<img src=x onerror=console.log(1)>'")
    page.wait_for_load_state("networkidle")
    assert harm == []


@pytest.mark.parametrize("path", ["/", "/csp", "/api/request", "/static/page.js"])
@pytest.mark.parametrize("profile", PROFILES)
def test_no_stranger_frames_it(
    page: "Page", quickstarts: dict[str, str], stranger: str, profile: str, path: str
) -> None:
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.goto(f"{stranger}/?frame={quickstarts[profile]}{path}")
    page.frames[1].wait_for_url("chrome-error://chromewebdata/")


@pytest.mark.parametrize("profile", [*PROFILES, "off"])
def test_a_tag_left_open_steals_no_nonce(page: "Page", stranger: str, harm: list[str], profile: str) -> None:
    """It swallows the tag of the next script, and with it the nonce: such an element has none (CSP 3 section 7.2)."""
    variables = WITHOUT if profile == "off" else {"SECGUARD_PROFILE": profile}
    with uvicorn("tests.browser.sites:site", variables=variables) as port:
        page.goto(f"http://127.0.0.1:{port}/dangling?said={quote(f'<script src={stranger}/steal.js ')}")
    assert bool(harm) == (profile == "off")
    assert page.title() == "-"


@pytest.mark.parametrize("profile", ["web", "strict"])
@pytest.mark.parametrize("path", ["/", "/csp", f"{VULNERABLE}{quote('<b>')}"])
def test_nonce_is_new_with_every_load_and_hidden(
    page: "Page", quickstarts: dict[str, str], profile: str, path: str
) -> None:
    seen = set()
    for _ in range(2):
        answer = page.goto(quickstarts[profile] + path)
        assert answer is not None
        nonces = set(re.findall(r"'nonce-([^']+)'", answer.headers["content-security-policy"]))
        scripts = page.locator("script").evaluate_all("all => all.map(one => [one.nonce, one.getAttribute('nonce')])")
        assert {(nonce, "") for nonce in nonces} == {tuple(script) for script in scripts}
        assert [page.locator(f"script[nonce^='{nonce[0]}']").count() for nonce in nonces] == [0]
        assert answer.headers["cache-control"] == "no-store"
        seen |= nonces
    assert len(seen) == 2
