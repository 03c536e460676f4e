"""What Chromium really sends from our own pages, from a sibling's and from a stranger's, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from tests.serving import uvicorn

if TYPE_CHECKING:
    from playwright.sync_api import Page

APP = """
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route, WebSocketRoute
from secguard import protect

arrived = []

async def page(request):
    headers = {"referrer-policy": "no-referrer"} if request.url.path == "/secretive" else {}
    return HTMLResponse("<!doctype html><title>-</title>", headers=headers)

async def arrive(request):
    arrived.append(request.method)
    return HTMLResponse("<!doctype html><title>arrived</title>")

async def listen(socket):
    arrived.append("websocket")
    await socket.accept()
    await socket.close()

async def told(request):
    return JSONResponse(arrived)

app = protect(Starlette(routes=[
    Route("/", page),
    Route("/secretive", page),
    Route("/arrive", arrive, methods=["GET", "POST"]),
    Route("/told", told),
    WebSocketRoute("/listen", listen),
]))
"""

OURS, STRANGERS, NEXT_DOOR, SIBLINGS = "127.0.0.1", "localhost", "site.localhost", "other.site.localhost"

ACTIONS = {
    "form": """async address => {
        const form = document.createElement("form")
        form.method = "post"
        form.action = `http://${address}/arrive`
        const frame = document.createElement("iframe")
        frame.name = form.target = "answer"
        document.body.append(frame, form)
        const loaded = new Promise(told => { frame.onload = told })
        form.submit()
        await loaded
    }""",
    "fetch": 'address => fetch(`http://${address}/arrive`, {method: "POST", mode: "no-cors"})',
    "websocket": "address => new Promise(told => { new WebSocket(`ws://${address}/listen`).onclose = told })",
    "image": """address => new Promise(told => {
        const image = new Image()
        image.onload = image.onerror = told
        image.src = `http://${address}/arrive`
    })""",
    "frame": """address => new Promise(told => {
        const frame = document.createElement("iframe")
        frame.onload = told
        frame.src = `http://${address}/arrive`
        document.body.append(frame)
    })""",
}

ON = {"SECGUARD_CSRF__ISOLATE": "true"}
TRUSTING = {"SECGUARD_CSRF__ALLOW_SAME_SITE": "true"}

# From a page of whom, to whom, what is set, what the page does, and whether it gets there.
ROWS: list[tuple[str, str, str, Mapping[str, str], str, bool]] = [
    ("own form", OURS, OURS, {}, "form", True),
    ("own fetch", OURS, OURS, {}, "fetch", True),
    ("own websocket", OURS, OURS, {}, "websocket", True),
    ("own form on a page with no-referrer", f"{OURS}/secretive", OURS, {}, "form", True),
    ("stranger's form", STRANGERS, OURS, {}, "form", False),
    ("stranger's fetch", STRANGERS, OURS, {}, "fetch", False),
    ("stranger's websocket", STRANGERS, OURS, {}, "websocket", False),
    ("stranger's image", STRANGERS, OURS, {}, "image", True),
    ("sibling's form", SIBLINGS, NEXT_DOOR, {}, "form", False),
    ("sibling's form where all are trusted", SIBLINGS, NEXT_DOOR, TRUSTING, "form", True),
    ("sibling's websocket where all are trusted", SIBLINGS, NEXT_DOOR, TRUSTING, "websocket", False),
    ("own image, isolated", OURS, OURS, ON, "image", True),
    ("own frame, isolated", OURS, OURS, ON, "frame", True),
    ("stranger's image, isolated", STRANGERS, OURS, ON, "image", False),
    ("stranger's frame, isolated", STRANGERS, OURS, ON, "frame", False),
]


@contextmanager
def serving(folder: Path, variables: Mapping[str, str]) -> Iterator[int]:
    folder.joinpath("arrivals.py").write_text(APP)
    # What Content-Security-Policy and X-Frame-Options refuse would not be told from what this section does.
    off = {"SECGUARD_CSP": "off", "SECGUARD_HEADERS": "off"}
    with uvicorn("arrivals:app", folder=folder, variables={**off, **variables}) as port:
        yield port


def arrived(port: int) -> list[str]:
    with urlopen(f"http://{OURS}:{port}/told") as answer:
        told: list[str] = json.load(answer)
    return told


@pytest.mark.parametrize(
    ("whose", "to", "variables", "action", "arrives"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_request(
    page: Page, tmp_path: Path, whose: str, to: str, variables: Mapping[str, str], action: str, arrives: bool
) -> None:
    with serving(tmp_path, variables) as port:
        host, _, path = whose.partition("/")
        page.goto(f"http://{host}:{port}/{path}")
        page.evaluate(ACTIONS[action], f"{to}:{port}")
        assert bool(arrived(port)) is arrives


def test_trusted_origin_posts_and_connects(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path, {}) as theirs:
        stranger = f"http://{STRANGERS}:{theirs}"
        with serving(tmp_path, {"SECGUARD_CSRF__TRUSTED_ORIGINS": stranger}) as port:
            page.goto(f"{stranger}/")
            for action in ("form", "fetch", "websocket"):
                page.evaluate(ACTIONS[action], f"{OURS}:{port}")
            assert arrived(port) == ["POST", "POST", "websocket"]


def test_isolated_page_opens_from_a_strangers_link(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path, ON) as port:
        page.goto(f"http://{STRANGERS}:{port}/")
        page.evaluate("address => { location = address }", f"http://{OURS}:{port}/arrive")
        page.wait_for_url(f"http://{OURS}:{port}/arrive")
        assert page.title() == "arrived"
