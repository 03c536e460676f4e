"""What is injected into the quickstart dies under every profile, and does harm where there is no policy."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.serving import uvicorn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Response

QUICKSTART = "examples.quickstart.app:app"
VULNERABLE = "/csp/deliberately-vulnerable?said="
PROFILES = ["web", "strict", "api"]
WITHOUT = {"SECGUARD_CSP": "off"}

# What is injected, and the harm it would do: a dialog opens, or something is asked of the stranger. Where there is a
# link or a button in it, the visitor uses it.
INJECTED = {
    "an inline script": ("<script>alert(1)</script>", "dialog"),
    "an inline module": ("<script type=module>alert(1)</script>", "dialog"),
    "a script with an empty nonce": ("<script nonce=''>alert(1)</script>", "dialog"),
    "a script with a guessed nonce": ("<script nonce=AAAAAAAAAAAAAAAAAAAAAAAA>alert(1)</script>", "dialog"),
    "a data: script": ("<script src='data:text/javascript,alert(1)'></script>", "dialog"),

    "a stranger's script": ("<script src='STRANGER/steal.js'></script>", "response"),
    "a stranger's module": ("<script type=module src='STRANGER/steal.js'></script>", "response"),
    "a stranger's module, imported": ("<script type=module>import 'STRANGER/steal.js'</script>", "response"),

    "an event handler": ("<img src=x alt='' onerror=alert(1)>", "dialog"),
    "an event handler of a drawing": ("<svg onload=alert(1)></svg>", "dialog"),
    "an event handler of a button": ("<button onclick=alert(1)>Win</button>", "dialog"),

    "a javascript: link": ("<a href='javascript:alert(1)'>Win</a>", "dialog"),
    "a javascript: form": ("<form action='javascript:alert(1)'><button>Win</button></form>", "dialog"),
    "a javascript: frame": ("<iframe src='javascript:alert(1)'></iframe>", "dialog"),
    "a frame with a script in it": ("<iframe srcdoc='<script>alert(1)</script>'></iframe>", "dialog"),

    "a base": ("<base href='STRANGER/'><a href='next'>Win</a>", "response"),
    "a form to a stranger": ("<form action='STRANGER/'><button>Win</button></form>", "response"),
    "a button that moves its form": ("<form action='/'><button formaction='STRANGER/'>Win</button></form>", "response"),
    "a stranger's frame": ("<iframe src='STRANGER/'></iframe>", "response"),
    "a stranger's style": ("<link rel=stylesheet href='STRANGER/'>", "response"),
    "a style that tells": ("<style>body { background: url(STRANGER/) }</style>", "response"),
    "a style attribute that tells": ("<p style='background: url(STRANGER/)'>told</p>", "response"),
    "an image that tells": ("<img src='STRANGER/' alt=''>", "response"),
}  # fmt: skip


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
def page(browser: "Browser") -> Iterator["Page"]:
    """Return one page for all tests, which takes half the time: each goes somewhere first."""
    context = browser.new_context()
    context.set_default_timeout(10_000)
    page = context.new_page()
    # For as long as the page lives: a dialog that opens when a test is over would hold up the next one's journey.
    page.on("dialog", lambda dialog: dialog.dismiss())
    yield page
    context.close()


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
def harm(page: "Page", stranger: str) -> Iterator[list[str]]:
    """Return a list that fills with the harm that is done."""
    done: list[str] = []

    def hear_dialogs(dialog: "Dialog") -> None:
        done.append("dialog")

    def hear_the_stranger(answer: "Response") -> None:
        if answer.url.startswith(stranger):
            done.append("response")

    page.on("dialog", hear_dialogs)
    page.on("response", hear_the_stranger)
    yield done
    page.remove_listener("dialog", hear_dialogs)
    page.remove_listener("response", hear_the_stranger)


def attack(page: "Page", address: str, markup: str) -> None:
    page.goto(address + quote(markup), wait_until="commit")
    if "Win" in markup:
        page.get_by_text("Win", exact=True).dispatch_event("click")


@pytest.mark.parametrize("name", INJECTED)
def test_it_does_harm_where_there_is_no_policy(
    page: "Page", quickstarts: dict[str, str], stranger: str, harm: list[str], name: str
) -> None:
    markup, expected = INJECTED[name]
    with page.expect_event(expected, lambda told: expected == "dialog" or told.url.startswith(stranger)):
        attack(page, quickstarts["off"] + VULNERABLE, markup.replace("STRANGER", stranger))
    if expected == "response" and "Win" in markup:
        page.wait_for_url(f"{stranger}/**")  # or the journey there would interrupt the next test's
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
        page.evaluate("document.querySelector('.unescaped').innerHTML = '<img src=x onerror=alert(1)>'")
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
