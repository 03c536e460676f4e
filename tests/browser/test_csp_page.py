"""The quickstart's page to be attacked, as a visitor sees it: what may run runs, and what may not is told."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.serving import uvicorn

if TYPE_CHECKING:
    from playwright.sync_api import Page

QUICKSTART = "examples.quickstart.app:app"
PAGE = "/csp"
OFFERED = {
    "an inline script": "A script (inline), by script-src-elem",
    "an event handler": "An event handler (inline), by script-src-attr",
    "a javascript: link": "A script (inline), by script-src-elem",
    "a script from elsewhere": "A script (https://evil.example/steal.js), by script-src-elem",
    "an image that tells on you": "An image (https://evil.example/you-were-here.gif), by img-src",
    "a form that leads away": "A form (https://evil.example/steal), by form-action",
    "a base that moves all links": "A base address (https://evil.example/), by base-uri",
    "a style that hides it all": "A style (inline), by style-src-elem",
}


@pytest.fixture(params=["web", "strict"], scope="module")
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with uvicorn(QUICKSTART, variables={"SECGUARD_PROFILE": request.param}) as port:
        yield f"http://127.0.0.1:{port}{PAGE}"


def test_its_own_script_runs_and_the_console_stays_empty(page: "Page", address: str, complaints: list[str]) -> None:
    page.goto(address)
    page.get_by_label("Your name").fill("<b>Ada</b>")
    page.get_by_role("button", name="Greet").click()
    page.get_by_text("Hello, <b>Ada</b>!").wait_for()
    page.get_by_text("Nothing so far.").wait_for()
    assert complaints == []


def test_what_it_offers_to_inject_is_refused(page: "Page", address: str) -> None:
    told = {}
    page.goto(address)
    for name, link in page.locator(".choices a").evaluate_all("links => links.map((a) => [a.innerText, a.href])"):
        page.goto(link)
        for bait in page.locator(".unescaped").locator("a, button").all():
            bait.dispatch_event("click")
        told[name] = page.locator("#refused li:not(.absent)").inner_text()
    assert told == OFFERED


def test_visitor_injects_something_of_his_own(page: "Page", address: str) -> None:
    markup = "<b>bold</b>\n<p onclick=alert(1)>Click</p>"
    page.goto(address)
    page.get_by_label("Your markup").fill(markup)
    page.get_by_role("button", name="Inject it").click()
    page.locator(".unescaped b").get_by_text("bold").wait_for()
    page.get_by_text("An event handler (inline), by script-src-attr").wait_for()
    assert page.get_by_label("Your markup").input_value() == markup


def test_a_comment_that_never_closes_hides_nothing(page: "Page", address: str) -> None:
    page.goto(f"{address}/deliberately-vulnerable?said=<img src=x onerror=alert(1)><!--")
    page.get_by_text("An event handler (inline), by script-src-attr").wait_for()


@pytest.mark.parametrize("path", ["", "/deliberately-vulnerable?said=<p>" + 200 * "x"])
def test_it_survives_a_narrow_screen(page: "Page", address: str, path: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(address + path)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_only_strict_would_refuse_is_told_while_it_is_rehearsed(page: "Page") -> None:
    with uvicorn(QUICKSTART, variables={"SECGUARD_CSP__ROLLOUT": "report"}) as port:
        page.goto(f"http://127.0.0.1:{port}{PAGE}/deliberately-vulnerable?said=<script src=/static/page.js></script>")
        told = page.get_by_text(re.compile("allowed still, but not by script-src-elem"))
        told.wait_for()


def test_without_a_policy_the_injected_script_runs(page: "Page") -> None:
    with uvicorn(QUICKSTART, variables={"SECGUARD_CSP": "off"}) as port:
        page.goto(f"http://127.0.0.1:{port}{PAGE}")
        with page.expect_event("dialog") as dialog:
            page.on("dialog", lambda dialog: dialog.dismiss())
            page.get_by_role("button", name="Inject it").click()
        assert dialog.value.message == "It ran"


def test_where_no_script_runs_it_can_be_read_and_says_so(page: "Page", complaints: list[str]) -> None:
    with uvicorn(QUICKSTART, variables={"SECGUARD_PROFILE": "api"}) as port:
        page.goto(f"http://127.0.0.1:{port}{PAGE}", wait_until="networkidle")
        page.get_by_role("link", name="an inline script").click()
        page.get_by_text("No script of this page has run").wait_for()
        assert page.get_by_role("img").count() == 0
        assert [told for told in complaints if not re.search("Content Security Policy|csp", told)] == []
