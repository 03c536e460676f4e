"""examples/quickstart: the app in process, and as a user meets it, served by uvicorn on loopback."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from examples.quickstart.app import app
from tests.serving import ROOT, clean_environment, uvicorn

QUICKSTART = "examples.quickstart.app:app"
STATIC = ["/static/style.css", "/static/page.js", "/static/favicon.svg"]
PAGES = ["/", "/csp", "/csp/deliberately-vulnerable?said=hello"]


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("path", [*PAGES, *STATIC, "/api/request", "/docs", "/redoc"])
def test_everything_is_served_and_hardened(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_missing_is_hardened_too(client: TestClient) -> None:
    answer = client.get("/missing")
    assert answer.status_code == 404
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_json_endpoint_tells_what_it_saw(client: TestClient) -> None:
    assert client.get("/api/request").json() == {
        "method": "GET",
        "scheme": "http",
        "host": "testserver",
        "path": "/api/request",
        "client": "testclient",
    }


def test_websocket_echoes(client: TestClient) -> None:
    with client.websocket_connect("/ws/echo") as socket:
        for text in ("one", "two"):
            socket.send_text(text)
            assert socket.receive_text() == text


@pytest.mark.parametrize("path", PAGES)
def test_every_script_of_a_page_has_the_nonce_of_its_header(client: TestClient, path: str) -> None:
    page = client.get(path)
    (nonce,) = set(re.findall(r"'nonce-([^']+)'", page.headers["content-security-policy"]))
    scripts = re.findall(r"<script[^>]*>", page.text)
    assert scripts
    assert all(f'nonce="{nonce}"' in script for script in scripts)
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_inline_handler_or_style_and_loads_nothing_from_elsewhere(client: TestClient, path: str) -> None:
    page = client.get(path).text
    assert not re.search(r"<style|\sstyle=|<[^>]*\son\w+=", page)
    resources = re.findall(r'<(?:link|script|img)[^>]*\s(?:href|src)="([^"]*)"', page)
    assert resources
    assert set(resources) <= set(STATIC)


def test_only_the_vulnerable_page_forgets_to_escape(client: TestClient) -> None:
    markup = "<b>&amp;</b>"
    page = client.get("/csp/deliberately-vulnerable", params={"said": markup}).text
    assert f'<div class="unescaped">{markup}</div>' in page
    assert f"{escape(markup)}</textarea>" in page
    assert client.get("/csp/deliberately-vulnerable", params={"said": "x" * 1001}).status_code == 422
    assert "<b>" not in client.get("/csp", params={"said": markup}).text


def test_the_script_that_the_page_shows_is_the_one_that_it_runs() -> None:
    template = Path(ROOT, "examples/quickstart/templates/csp.html").read_text()
    shown = re.search(r"<pre[^>]*><code>(.*?)</code></pre>", template, re.DOTALL)
    assert shown
    assert without_indent(unescape(shown[1])) in without_indent(template)


def without_indent(text: str) -> str:
    return re.sub(r"(?m)^ +", "", text)


def test_real_server_answers_like_the_app() -> None:
    with uvicorn(QUICKSTART, "--no-server-header") as port, httpx2.Client() as client:
        site = f"http://127.0.0.1:{port}"
        page = client.get(f"{site}/")
        assert page.status_code == 200
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "server" not in page.headers
        assert "strict-transport-security" not in page.headers
        assert client.get(f"{site}/api/request").json()["client"] == "127.0.0.1"
        assert client.get(f"{site}//api/request").status_code == 400


def test_demo_says_where_it_is_and_ends_on_interrupt_even_where_the_port_is_taken() -> None:
    with socket.socket() as somebody_else:
        somebody_else.bind(("127.0.0.1", 0))
        somebody_else.listen()
        taken = somebody_else.getsockname()[1]
        demo = subprocess.Popen(
            [sys.executable, "-m", "examples.quickstart", "--port", str(taken)],
            cwd=ROOT,
            env=clean_environment(SECGUARD_ENVIRONMENT="development"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert demo.stdout is not None
        assert demo.stderr is not None
        said = "".join(iter(demo.stdout.readline, "  Ctrl-C stops it.\n"))
        found = re.search(r"quickstart: (http://127\.0\.0\.1:(\d+))", said)
        assert found
        while "startup complete" not in demo.stderr.readline():
            pass
        try:
            assert int(found[2]) != taken
            assert httpx2.get(found[1]).status_code == 200
            assert httpx2.get(found[1], headers={"host": "evil.example"}).status_code == 400
        finally:
            demo.send_signal(signal.SIGINT)
            _, errors = demo.communicate(timeout=10)
        assert f"port {taken} is taken" in said
        assert "Traceback" not in errors
        assert demo.returncode == 0
