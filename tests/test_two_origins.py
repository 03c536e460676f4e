"""examples/two_origins: the API as the page's browser asks it, and as a stranger's does. Chromium has its own tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest
from starlette.testclient import TestClient

from examples.two_origins.api import PAGE, app
from examples.two_origins.page import app as page
from tests.servers import free_port
from tests.serving import LOOPBACK, uvicorn

STRANGER = "http://127.0.0.1:8001"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


def from_page(origin: str) -> dict[str, str]:
    return {"origin": origin, "sec-fetch-site": "same-site" if origin == PAGE else "cross-site"}


@pytest.mark.parametrize(("origin", "status"), [(PAGE, 201), (STRANGER, 403)])
@pytest.mark.parametrize("path", ["/notes", "/forms/notes"])
def test_only_the_page_may_write(client: TestClient, path: str, origin: str, status: int) -> None:
    sent = {"content": "text=hello"} if path == "/forms/notes" else {"json": {"text": "hello"}}
    assert client.post(path, headers=from_page(origin), **sent).status_code == status


def test_only_the_page_may_read_with_its_cookie(client: TestClient) -> None:
    client.cookies.set("visitor", "ada")
    allowed, refused = (client.get("/notes", headers=from_page(origin)) for origin in (PAGE, STRANGER))
    assert allowed.json()["visitor"] == "ada"
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert allowed.headers["access-control-allow-credentials"] == "true"
    assert not [name for name in refused.headers if name.startswith("access-control-")]
    assert "Origin" in refused.headers["vary"]


def test_everybody_may_read_what_is_public(client: TestClient) -> None:
    logo = client.get("/public/logo.svg", headers=from_page(STRANGER))
    assert logo.headers["access-control-allow-origin"] == "*"
    assert logo.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "origin" not in logo.headers.get("vary", "").lower()


@pytest.mark.parametrize(
    ("origin", "method", "status", "said"),
    [
        (PAGE, "POST", 200, "OK"),
        (PAGE, "DELETE", 403, "method DELETE"),
        (STRANGER, "POST", 403, f"origin {STRANGER}"),
    ],
)
def test_preflight(client: TestClient, origin: str, method: str, status: int, said: str) -> None:
    asked = {"origin": origin, "access-control-request-method": method}
    answer = client.options("/notes", headers=asked)
    assert answer.status_code == status
    assert said in answer.text


def test_page_names_the_api_in_its_policy() -> None:
    policy = TestClient(page).get("/").headers["content-security-policy"]
    assert "connect-src 'self' http://localhost:8000 ws://localhost:8000" in policy


def test_both_are_served_side_by_side() -> None:
    api_port, page_port = free_port(), free_port()
    variables = {"API_ORIGIN": f"http://localhost:{api_port}", "PAGE_ORIGIN": f"http://localhost:{page_port}"}
    with ExitStack() as stack:
        for name, port in (("api", api_port), ("page", page_port)):
            stack.enter_context(uvicorn(f"examples.two_origins.{name}:app", variables=variables, port=port))
        api = f"http://{LOOPBACK}:{api_port}"
        assert httpx2.get(f"http://{LOOPBACK}:{page_port}/").status_code == 200
        answer = httpx2.get(f"{api}/notes", headers={"origin": variables["PAGE_ORIGIN"]})
        assert answer.headers["access-control-allow-origin"] == variables["PAGE_ORIGIN"]
        assert answer.status_code == 200
