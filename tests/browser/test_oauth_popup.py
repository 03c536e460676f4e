"""docs/how-to/oauth-popups.md, tried: a popup goes to another origin, comes back, and tells its opener."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serving import uvicorn

if TYPE_CHECKING:
    from playwright.sync_api import Page

APP = """
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from secguard import protect

def page(script):
    async def answer(request):
        nonce = getattr(request.state, "csp_nonce", "")
        return HTMLResponse(f"<!doctype html><title>-</title><script nonce='{nonce}'>{script}</script>")
    return answer

OPENER = "addEventListener('message', event => document.title = event.data)"
CALLBACK = "opener ? opener.postMessage('told', '*') : document.title = 'cut'"
app = protect(Starlette(routes=[
    Route("/login", page(OPENER)),
    Route("/login/callback", page(CALLBACK)),
]))
provider = Starlette(routes=[Route("/", page("location = new URLSearchParams(location.search).get('back')"))])
"""

CALLBACK_RULE = '{"paths": ["/login/callback"], "cross_origin_opener_policy": "unsafe-none"}'
OPENER_RULE = '{"paths": ["/login"], "cross_origin_opener_policy": "same-origin-allow-popups"}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.joinpath("popup.py").write_text(APP)
    return tmp_path


@pytest.fixture
def provider(folder: Path) -> Iterator[str]:
    with uvicorn("popup:provider", folder=folder) as port:
        yield f"http://localhost:{port}/"


@pytest.mark.parametrize(
    ("profile", "rules", "told"),
    [
        ("web", f"[{CALLBACK_RULE}]", True),
        ("web", "[]", False),
        ("strict", f"[{CALLBACK_RULE}, {OPENER_RULE}]", True),
        ("strict", f"[{CALLBACK_RULE}]", False),
    ],
)
def test_recipe(page: "Page", folder: Path, provider: str, profile: str, rules: str, told: bool) -> None:
    variables = {"SECGUARD_PROFILE": profile, "SECGUARD_HEADERS__RULES": rules}
    from playwright.sync_api import expect  # evaluates nothing in the page, as wait_for_function does

    with uvicorn("popup:app", folder=folder, variables=variables) as port:
        site = f"http://127.0.0.1:{port}"
        page.goto(f"{site}/login")
        with page.context.expect_page() as opened:
            page.evaluate("url => { open(url, '_blank', 'popup') }", f"{provider}?back={site}/login/callback")
        opened.value.wait_for_url(f"{site}/login/callback")
        watched, title = (page, "told") if told else (opened.value, "cut")
        expect(watched).to_have_title(title)
