"""Debian's own Chromium (or Chrome) through Playwright, which is never asked to download one."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


def missing(what: str) -> NoReturn:
    """Skip, or fail where everything ought to be there."""
    reason = f"{what} is missing; `make browser` brings Playwright, and `apt install chromium` a browser"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((found for name in names if (found := shutil.which(name))), None)
    if executable is None:
        missing("Chromium")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        yield (chromium := playwright.chromium.launch(executable_path=executable, args=FLAGS + sandbox))
        chromium.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def complaints(page: "Page") -> list[str]:
    """Return a list that fills with whatever the browser complains of."""
    heard: list[str] = []

    def hear_refusals(answer: "Response") -> None:
        if not answer.ok:
            heard.append(f"{answer.status}: {answer.url}")

    page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("requestfailed", lambda failed: heard.append(f"failed: {failed.url}: {failed.failure}"))
    page.on("response", hear_refusals)
    return heard
