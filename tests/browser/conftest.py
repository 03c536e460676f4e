"""Debian's own Chromium (or Chrome) through Playwright, which is never asked to download one."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.helpers import skip_at_home

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

    Launch: TypeAlias = Callable[..., Browser]

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


@pytest.fixture(scope="session")
def launch() -> Iterator["Launch"]:
    """Return what starts a browser, with further options of the command line."""
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        skip_at_home("Playwright is missing; `make browser` brings it")
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((found for name in names if (found := shutil.which(name))), None)
    if executable is None:
        skip_at_home("Chromium is missing; `apt install chromium`")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=30_000)  # as long as Playwright waits for everything else: a machine may be busy
    with sync_playwright() as playwright:

        def start(*options: str) -> "Browser":
            return playwright.chromium.launch(executable_path=executable, args=[*FLAGS, *sandbox, *options])

        yield start


@pytest.fixture(scope="session")
def browser(launch: "Launch") -> Iterator["Browser"]:
    chromium = launch()
    yield chromium
    chromium.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
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
