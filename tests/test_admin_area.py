"""examples/admin_area: who reaches the area, in process and as uvicorn serves it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from examples.admin_area.app import build
from secguard import Settings
from tests.serving import LOOPBACK, ROOT, clean_environment
from tests.settings_helpers import settings

RULES = json.dumps([{"paths": ["/admin"], "allow": ["10.0.0.0/8", "2001:db8::/32"]}])
AREA = ["/admin", "/admin/", "/admin/users/ada", "/admin/nothing"]
OWN = ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"]
STRANGERS = ["203.0.113.9", "11.0.0.1", "::ffff:203.0.113.9", "2001:db9::7", "testclient"]


def made(**variables: str) -> Starlette:
    section = settings({"SECGUARD_IP_ACCESS__RULES": RULES, **variables})
    return build(Settings(_env_file=None, ip_access=section.ip_access, proxies=section.proxies))


def client_at(address: str, app: Starlette) -> TestClient:
    return TestClient(app, client=(address, 50000))


@pytest.mark.parametrize("address", OWN)
def test_own_network_reaches_the_area(address: str) -> None:
    client = client_at(address, made())
    assert client.get("/admin/").text == "The administrative area.\n"
    assert client.get("/admin/users/ada").text == "The account of ada.\n"
    with client.websocket_connect("/admin/live") as live:
        assert live.receive_text() == "ada, grace"


@pytest.mark.parametrize("address", STRANGERS)
def test_strangers_reach_the_public_page_only(address: str) -> None:
    client = client_at(address, made())
    assert client.get("/").text == "Welcome. This page is for everybody.\n"
    for path in AREA:
        refused = client.get(path)
        assert refused.status_code == 403
        assert refused.headers["cache-control"] == "no-store"
        assert refused.headers["x-content-type-options"] == "nosniff"
    with pytest.raises(WebSocketDenialResponse) as caught, client.websocket_connect("/admin/live"):
        pass
    assert caught.value.status_code == 403


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip"])
def test_a_stranger_who_claims_to_be_inside_stays_outside(header: str) -> None:
    claim = {header: "for=10.1.2.3" if header == "forwarded" else "10.1.2.3"}
    assert client_at("203.0.113.9", made()).get("/admin/", headers=claim).status_code == 403
    behind = client_at("192.0.2.5", made(SECGUARD_PROXIES__TRUSTED="192.0.2.5"))
    claim["x-forwarded-for"] = "10.1.2.3, 203.0.113.9"
    assert behind.get("/admin/", headers=claim).status_code == 403


def test_behind_a_trusted_proxy_the_clients_address_decides() -> None:
    client = client_at("192.0.2.5", made(SECGUARD_PROXIES__TRUSTED="192.0.2.5"))
    assert client.get("/admin/", headers={"x-forwarded-for": "10.1.2.3"}).status_code == 200
    assert client.get("/admin/", headers={"x-forwarded-for": "203.0.113.9"}).status_code == 403
    assert client.get("/admin/").status_code == 403


def test_it_does_not_start_open() -> None:
    with pytest.raises(RuntimeError, match="SECGUARD_IP_ACCESS__RULES"):
        build(Settings(_env_file=None, ip_access=None))


def test_demo_serves_it_and_ends_on_interrupt() -> None:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    rules = [{"paths": ["/admin"], "allow": [LOOPBACK]}, {"paths": ["/admin/users"], "allow": ["10.0.0.0/8"]}]
    demo = subprocess.Popen(
        [sys.executable, "-m", "examples.admin_area", "--port", str(port)],
        cwd=ROOT,
        env=clean_environment(SECGUARD_IP_ACCESS__RULES=json.dumps(rules)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    assert demo.stderr is not None
    try:
        while "startup complete" not in (line := demo.stderr.readline()):
            assert line, "it did not start"
        claim = {"x-forwarded-for": "10.1.2.3"}
        with httpx2.Client(base_url=f"http://{LOOPBACK}:{port}") as client:
            assert client.get("/").status_code == 200
            assert client.get("/admin/").text == "The administrative area.\n"
            assert client.get("/admin/users/ada").status_code == 403
            assert client.get("/admin/users/ada", headers=claim).status_code == 403
            assert client.get("/", headers=claim).status_code == 200
    finally:
        demo.send_signal(signal.SIGINT)
        said, errors = demo.communicate(timeout=10)
    assert f"http://{LOOPBACK}:{port}/admin/" in said
    assert "ip_access.not-allowed" in errors
    assert "Traceback" not in errors
    assert demo.returncode == 0


@pytest.mark.parametrize("address", STRANGERS)
@pytest.mark.parametrize("path", AREA)
def test_a_hidden_area_looks_like_a_page_that_is_not_there(address: str, path: str) -> None:
    client = client_at(address, made(SECGUARD_IP_ACCESS__REFUSAL="404"))
    hidden, missing = client.get(path), client.get("/no/such/page")
    assert (hidden.status_code, hidden.text) == (404, "There is no such page.\n")
    assert (hidden.status_code, hidden.text, hidden.headers) == (missing.status_code, missing.text, missing.headers)
    assert client_at(OWN[0], made(SECGUARD_IP_ACCESS__REFUSAL="404")).get("/admin/").status_code == 200


def test_a_hidden_websocket_is_closed_like_one_that_is_not_there() -> None:
    client = client_at(STRANGERS[0], made(SECGUARD_IP_ACCESS__REFUSAL="404"))
    closed = []
    for path in ("/admin/live", "/no/such/socket"):
        with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect(path):
            pass
        closed.append((type(caught.value), caught.value.code, caught.value.reason))
    assert closed[0] == closed[1]
