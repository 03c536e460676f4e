"""FastAPI's documentation in a real browser, under every profile: it works, and the browser has nothing to say."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from secguard.fastapi.assets import CDN
from tests.serving import LOOPBACK, uvicorn

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request, Response, Route

PROFILES = ["web", "strict", "api"]


@contextmanager
def shop(app: str = "protected", **variables: str) -> Iterator[str]:
    """Serve a shop that is told these variables, and yield its address."""
    with uvicorn(f"tests.browser.shop:{app}", "--factory", variables=variables) as port:
        yield f"http://{LOOPBACK}:{port}"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with uvicorn("tests.browser.shop:provider") as port:
        yield f"http://localhost:{port}"


@pytest.fixture(scope="module", params=PROFILES)
def site(request: pytest.FixtureRequest, provider: str) -> Iterator[str]:
    """Yield the address of a shop that serves the scripts of its documentation itself."""
    with shop(SECGUARD_PROFILE=request.param, PROVIDER=provider) as address:
        yield address


@pytest.fixture(scope="module", params=PROFILES)
def site_without_extra(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the address of a shop that lets its visitors fetch them from the CDN."""
    with shop(SECGUARD_PROFILE=request.param, WITHOUT_EXTRA="1") as address:
        yield address


@pytest.fixture(scope="module", params=["web", "strict"])
def site_in_a_guard(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the address of a shop that nobody has protected, with a Guard around it."""
    with shop("guarded", SECGUARD_PROFILE=request.param) as address:
        yield address


@pytest.fixture(scope="module", params=["web", "strict"])
def site_with_trusted_types(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the address of a shop that trusts nothing but what its own Trusted Types policy lets through."""
    trusted = {"require_trusted_types_for": "script", "trusted_types": ["shop"]}
    with shop(SECGUARD_PROFILE=request.param, SECGUARD_CSP__DIRECTIVES=json.dumps(trusted)) as address:
        yield address


def answer_as_the_cdn(route: "Route") -> None:
    """Answer with the file that the extra has installed: the CDN's is the same, byte for byte, or is not let in."""
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    name = route.request.url.rpartition("/")[2]
    route.fulfill(path=Path(spec.origin).parent / "static" / name, headers={"access-control-allow-origin": "*"})


@pytest.fixture
def heard(page: "Page") -> list[str]:
    """Return a list that fills with whatever the browser has to say."""
    said: list[str] = []
    listen(page, said)
    return said


def listen(page: "Page", said: list[str]) -> None:
    def hear_refusals(answer: "Response") -> None:
        if answer.status >= 400:
            said.append(f"{answer.status}: {answer.url}")

    def hear_strangers(request: "Request") -> None:
        if not re.match(rf"http://(127\.0\.0\.1|localhost):|{re.escape(CDN)}|data:|blob:", request.url):
            said.append(f"asked: {request.url}")

    def hear_console(message: "ConsoleMessage") -> None:
        # Advice that developer tools hide: Chromium would like the passwords of Swagger UI to stand in a form.
        if not message.text.startswith("[DOM]"):
            said.append(f"{message.type}: {message.text}")

    page.on("console", hear_console)
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("requestfailed", lambda failed: said.append(f"failed: {failed.url}: {failed.failure}"))
    page.on("request", hear_strangers)
    page.on("response", hear_refusals)


def open_operation(page: "Page", name: str) -> None:
    page.locator(".opblock", has=page.get_by_text(re.compile(rf"^{name}$"))).locator(".opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()


def try_swagger_ui(page: "Page", site: str) -> None:
    page.goto(f"{site}/docs")
    page.get_by_role("heading", name="What it sells").wait_for()
    open_operation(page, "Add")
    page.locator(".live-responses-table").get_by_text('"added"').wait_for()
    page.wait_for_load_state("networkidle")
    assert page.title() == "Shop - Swagger UI"


def try_redoc(page: "Page", site: str) -> None:
    page.goto(f"{site}/redoc")
    page.get_by_role("heading", name="What it sells").wait_for()
    page.get_by_role("textbox", name="Search").fill("picture")
    page.get_by_role("menuitem", name="picture").first.wait_for()
    page.wait_for_load_state("networkidle")
    assert page.title() == "Shop - ReDoc"
    assert page.evaluate("getComputedStyle(document.querySelector('.menu-content')).position") == "sticky"
    assert page.locator(".menu-content img").count() == 0


def test_swagger_ui_sends_a_request(page: "Page", site: str, heard: list[str]) -> None:
    try_swagger_ui(page, site)
    assert heard == []


def test_swagger_ui_in_a_guard_sends_a_request(page: "Page", site_in_a_guard: str, heard: list[str]) -> None:
    try_swagger_ui(page, site_in_a_guard)
    assert heard == []


def test_swagger_ui_is_excused_from_trusted_types(page: "Page", site_with_trusted_types: str, heard: list[str]) -> None:
    try_swagger_ui(page, site_with_trusted_types)
    assert heard == []


def test_swagger_ui_from_the_cdn_sends_a_request(page: "Page", site_without_extra: str, heard: list[str]) -> None:
    page.route(f"{CDN}**", answer_as_the_cdn)
    try_swagger_ui(page, site_without_extra)
    assert heard == []


def test_swagger_ui_shows_a_picture_that_it_was_answered_with(page: "Page", site: str, heard: list[str]) -> None:
    page.goto(f"{site}/docs")
    open_operation(page, "Picture")
    page.locator(".live-responses-table img").evaluate("image => image.decode()")
    assert heard == []


def test_redoc_renders_and_finds(page: "Page", site: str, heard: list[str]) -> None:
    try_redoc(page, site)
    assert heard == []


def test_redoc_in_a_guard_renders_and_finds(page: "Page", site_in_a_guard: str, heard: list[str]) -> None:
    try_redoc(page, site_in_a_guard)
    assert heard == []


def test_redoc_is_excused_from_trusted_types(page: "Page", site_with_trusted_types: str, heard: list[str]) -> None:
    try_redoc(page, site_with_trusted_types)
    assert heard == []


def test_redoc_from_the_cdn_renders_and_finds(page: "Page", site_without_extra: str, heard: list[str]) -> None:
    page.route(f"{CDN}**", answer_as_the_cdn)
    try_redoc(page, site_without_extra)
    assert heard == []


@pytest.mark.parametrize("site_without_extra", ["web"], indirect=True)
def test_file_that_the_cdn_has_changed_is_not_run(page: "Page", site_without_extra: str, heard: list[str]) -> None:
    page.route(
        f"{CDN}**",
        lambda route: route.fulfill(body="document.title = 'taken'", headers={"access-control-allow-origin": "*"}),
    )
    page.goto(f"{site_without_extra}/redoc")
    page.wait_for_load_state("networkidle")
    assert page.title() == "Shop - ReDoc"
    assert any("integrity" in said for said in heard)


def sign_in(page: "Page", site: str, client: str, heard: list[str]) -> "Page":
    """Go through Authorize, and return the popup once it has closed itself."""
    page.goto(f"{site}/docs")
    page.get_by_role("button", name="Authorize").click()
    page.get_by_label("client_id:").fill(client)
    with page.context.expect_page() as opened:
        page.locator(".auth-btn-wrapper .authorize").click()
    listen(opened.value, heard)
    if not opened.value.is_closed():
        opened.value.wait_for_event("close")
    return opened.value


def test_sign_in_comes_back_from_another_origin(page: "Page", site: str, heard: list[str]) -> None:
    sign_in(page, site, "docs", heard)
    page.get_by_role("button", name="Remove authorization").wait_for()
    page.locator(".btn-done").click()
    open_operation(page, "Me")
    page.locator(".live-responses-table").get_by_text('"for-ours"').wait_for()
    assert heard == []


@pytest.mark.parametrize("site", ["strict"], indirect=True)
def test_sign_in_without_a_code_comes_back_too(page: "Page", site: str, heard: list[str]) -> None:
    sign_in(page, f"{site}/without-code", "docs", heard)
    page.get_by_role("button", name="Remove authorization").wait_for()
    page.locator(".btn-done").click()
    open_operation(page, "Me Too")
    page.locator(".live-responses-table").get_by_text('"bearer for-nothing"').wait_for()
    assert heard == []


@pytest.mark.parametrize("site", ["strict"], indirect=True)
def test_sign_in_that_is_refused_says_why(page: "Page", site: str, heard: list[str]) -> None:
    sign_in(page, site, "refused", heard)
    page.get_by_text("access_denied: No way").first.wait_for()
    assert heard == []


@pytest.mark.parametrize("site", ["strict"], indirect=True)
def test_answer_to_somebody_elses_question_is_left_alone(page: "Page", site: str, heard: list[str]) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, site, "forged", heard)
    page.wait_for_load_state("networkidle")
    assert page.get_by_role("button", name="Remove authorization").count() == 0
    assert not any(address.endswith("/token") for address in asked)
    assert heard == []


@pytest.mark.parametrize("path", ["/injected/docs", "/injected/redoc"])
def test_script_in_a_description_does_not_run(page: "Page", site: str, path: str) -> None:
    page.goto(f"{site}{path}")
    page.get_by_text("Injected").first.wait_for()
    page.wait_for_load_state("networkidle")
    assert page.title().startswith("Injected")
