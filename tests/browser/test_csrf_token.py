"""A token in a form, in Chromium: the browser keeps the cookie that it belongs to, and sends both back."""

from __future__ import annotations

import secrets
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

FORM = '''<!doctype html><title>form</title>
<form method="post" action="/account" enctype="{kind}">
<input type="hidden" name="{field}" value="{token}"><input name="name" value="x"><input type="file" name="file">
<button>Send</button></form>'''

async def page(request):
    asked = request.query_params
    return HTMLResponse(FORM.format(kind=asked["kind"], field=asked["field"], token=request.state.csrf_token))

async def change(request):
    async with request.form() as form:
        return HTMLResponse(f"<!doctype html><title>changed {form['name']}</title>")

app = protect(Starlette(routes=[Route("/", page), Route("/account", change, methods=["POST"])]))
"""


@pytest.mark.parametrize("environment", ["production", "development"])
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_form(page: Page, tmp_path: Path, kind: str, environment: str) -> None:
    tmp_path.joinpath("tokens.py").write_text(APP)
    variables = {
        "SECGUARD_ENVIRONMENT": environment,
        "SECGUARD_SECRET_KEYS": secrets.token_urlsafe(32),
        "SECGUARD_CSRF__TOKEN__PATHS": "/account",
        "SECGUARD_CSRF__TOKEN__FORM_PATHS": "/account",
    }
    with uvicorn("tokens:app", folder=tmp_path, variables=variables) as port:
        site = f"http://localhost:{port}"
        for _ in range(2):  # the second page finds the cookie there
            page.goto(f"{site}/?kind={kind}&field=csrf_token")
            page.get_by_text("Send").click()
            page.wait_for_url(f"{site}/account")
            assert page.title() == "changed x"
        (cookie,) = page.context.cookies()
        assert cookie["name"] == ("csrf" if environment == "development" else "__Host-Http-csrf")
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")

        page.goto(f"{site}/?kind={kind}&field=another")
        with page.expect_response(f"{site}/account") as answer:
            page.get_by_text("Send").click()
        assert answer.value.status == 403
