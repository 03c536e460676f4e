"""Two origins on loopback in a real browser: what CORS lets a page read, and what csrf lets it do.

`localhost` and `127.0.0.1` are two sites; two ports of one name are two origins of one site.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.servers import free_port
from tests.serving import uvicorn

if TYPE_CHECKING:
    from playwright.sync_api import Page

WHAT = {
    "log in, with a cookie": "allowed",
    "write a note as JSON, after a preflight": "allowed",
    "read the notes, with the cookie": "allowed",
    "read what is for everybody": "allowed",
    "delete, which nobody may": "blocked",
    "open a websocket": "allowed",
}
STRANGERS = {what: "allowed" if what == "read what is for everybody" else "blocked" for what in WHAT}


@dataclass(frozen=True)
class Example:
    """examples/two_origins, served."""

    api: str
    page: str
    stranger: str


@pytest.fixture(scope="module")
def example() -> Iterator[Example]:
    api, page = f"http://localhost:{(api_port := free_port())}", f"http://localhost:{(page_port := free_port())}"
    variables = {"SECGUARD_ENVIRONMENT": "development", "API_ORIGIN": api, "PAGE_ORIGIN": page}
    with ExitStack() as stack:
        for name, port in (("api", api_port), ("page", page_port)):
            stack.enter_context(uvicorn(f"examples.two_origins.{name}:app", variables=variables, port=port))
        yield Example(api, page, page.replace("localhost", "127.0.0.1"))


def outcomes(page: Page, address: str) -> dict[str, str]:
    """What became of each attempt, and what was said about it."""
    from playwright.sync_api import expect  # evaluates nothing in the page, as wait_for_function does

    page.goto(address)
    expect(page).to_have_title("done")
    rows = page.locator("#results tr")
    told = {}
    for at in range(rows.count()):
        what, became = rows.nth(at).locator("td").all_inner_texts()
        told[what] = became
    return told


def words(told: dict[str, str]) -> dict[str, str]:
    return {what: became.partition(":")[0] for what, became in told.items()}


def test_page_that_is_allowed_may_do_what_it_is_allowed_to(page: Page, example: Example) -> None:
    told = outcomes(page, example.page)
    assert words(told) == WHAT
    assert '"visitor":"ada"' in told["read the notes, with the cookie"]
    assert "a note from the page" in told["read the notes, with the cookie"]
    assert told["open a websocket"] == "allowed: hello"


def test_stranger_may_read_only_what_is_for_everybody(page: Page, example: Example) -> None:
    assert words(outcomes(page, example.stranger)) == STRANGERS


def test_stranger_has_changed_nothing(page: Page, example: Example) -> None:
    page.goto(f"{example.api}/notes")
    before = page.inner_text("body")
    outcomes(page, example.stranger)
    page.goto(f"{example.api}/notes")
    assert page.inner_text("body") == before


@pytest.mark.parametrize(("origin", "status"), [("page", 201), ("stranger", 403)])
def test_form_is_taken_from_the_page_that_is_allowed_only(
    page: Page, example: Example, origin: str, status: int
) -> None:
    outcomes(page, getattr(example, origin))
    with page.expect_navigation() as navigation:
        page.get_by_role("button", name="Send").click()
    assert navigation.value is not None
    assert navigation.value.status == status
