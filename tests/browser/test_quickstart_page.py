"""The quickstart's first page in a real browser: it works, and the browser has nothing to say about it."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.serving import uvicorn

if TYPE_CHECKING:
    from playwright.sync_api import Page

QUICKSTART = "examples.quickstart.app:app"

where_scripts_run = pytest.mark.parametrize("address", ["web", "strict"], indirect=True)
where_none_does = pytest.mark.parametrize("address", ["api"], indirect=True)


@pytest.fixture(params=["web", "strict", "api"], scope="module")
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with uvicorn(QUICKSTART, variables={"SECGUARD_PROFILE": request.param}) as port:
        yield f"http://127.0.0.1:{port}/"


@where_scripts_run
def test_page_works_and_the_console_stays_empty(page: "Page", address: str, complaints: list[str]) -> None:
    page.goto(address)
    page.get_by_role("cell", name="nosniff").wait_for()
    page.get_by_text("open", exact=True).wait_for()
    page.get_by_label("Message").fill("as sent")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("list", name="Answers").get_by_text("as sent").wait_for()
    page.wait_for_load_state("networkidle")
    assert complaints == []


@where_none_does
def test_page_can_be_read_without_its_script_and_its_style(page: "Page", address: str, complaints: list[str]) -> None:
    page.goto(address, wait_until="networkidle")
    page.get_by_role("heading", name="This page is hardened").wait_for()
    page.get_by_text("The api profile lets none run.").wait_for()
    assert page.get_by_role("img").count() == 0
    assert [told for told in complaints if not re.search("Content Security Policy|csp", told)] == []


def test_permissions_policy_switches_off_what_it_says(page: "Page", address: str) -> None:
    answer = page.goto(address)
    assert answer is not None
    parts = dict(part.strip().split("=", 1) for part in answer.headers["permissions-policy"].split(","))
    off = [name for name, allowed in parts.items() if allowed == "()"]
    assert len(off) > 10
    assert page.evaluate("off => off.filter(name => document.featurePolicy.allowsFeature(name))", off) == []


def test_passkeys_clipboard_and_fullscreen_are_left_to_the_page(page: "Page", address: str) -> None:
    page.goto(address)
    left = ["publickey-credentials-get", "clipboard-write", "fullscreen", "storage-access", "screen-wake-lock"]
    refused = page.evaluate("left => left.filter(name => !document.featurePolicy.allowsFeature(name))", left)
    assert refused == []


def test_page_stays_its_own_origin_agent_cluster(page: "Page", address: str) -> None:
    page.goto(address)
    assert page.evaluate("window.originAgentCluster") is True


@where_scripts_run
def test_page_survives_a_narrow_screen(page: "Page", address: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(address)
    page.get_by_role("cell", name="nosniff").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
